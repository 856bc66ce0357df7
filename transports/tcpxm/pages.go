package tcpxm

// pageSize is that of pages in bytes. Ours: what a thousand idle sessions may take.
const pageSize = 64 << 10

// pages are the bytes of a stream from low on, up to a size, in pages that are there
// only while they hold something.
type pages struct {
	ring [][]byte
	free [][]byte
	low  int64
}

// newPages makes room for size bytes, and what a page more may take.
func newPages(size int64) pages {
	return pages{ring: make([][]byte, size/pageSize+2)}
}

// page gives the page of an offset, and where in it that is.
func (p *pages) page(off int64) (*[]byte, int) {
	return &p.ring[off/pageSize%int64(len(p.ring))], int(off % pageSize)
}

// write puts bytes at an offset, which with their end is within size of low.
func (p *pages) write(off int64, b []byte) {
	for len(b) > 0 {
		g, at := p.page(off)
		if *g == nil {
			if n := len(p.free); n > 0 {
				*g, p.free = p.free[n-1], p.free[:n-1]
			} else {
				*g = make([]byte, pageSize)
			}
		}
		n := copy((*g)[at:], b)
		off, b = off+int64(n), b[n:]
	}
}

// view gives what lies at an offset, as much as lies together, at most n bytes.
func (p *pages) view(off int64, n int) []byte {
	g, at := p.page(off)
	if *g == nil {
		return nil
	}
	return (*g)[at:min(at+n, pageSize)]
}

// read copies bytes from an offset; all of them were written.
func (p *pages) read(off int64, b []byte) {
	for len(b) > 0 {
		n := copy(b, p.view(off, len(b)))
		if n == 0 {
			return
		}
		off, b = off+int64(n), b[n:]
	}
}

// release forgets what lies before an offset.
func (p *pages) release(to int64) {
	for ; p.low/pageSize < to/pageSize; p.low += pageSize - p.low%pageSize {
		g, _ := p.page(p.low)
		if *g == nil {
			continue
		}
		if len(p.free) < 16 {
			p.free = append(p.free, *g)
		}
		*g = nil
	}
	p.low = max(p.low, to)
}
