package engine

import (
	"bytes"
	"encoding/binary"
	"sort"
	"sync"
	"unsafe"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// Constants of our choice.
const (
	// lengthLen is the length in bytes of what stands before a frame of a cast's log.
	lengthLen = 4
	// castKept bounds the frames that are kept in memory, in bytes: what is under way
	// on a path of 1 Gbit/s and 100 ms, and a little more.
	castKept = 16 << 20
	// castSlack is how many bytes before those that somebody still needs are kept: the
	// transport vouches for blocks of up to that length, and mends them, as a whole.
	castSlack = 1 << 20
	// castHeads bounds what the log takes for frames that some member has not dealt with,
	// but for the bodies, in bytes: 40 GB in blocks, or a quarter of a million small
	// files. A member that is further behind goes on by itself.
	castHeads = 64 << 20
	// openMost bounds the files that one reader of a cast keeps open.
	openMost = 8
)

func putLength(frame []byte) { binary.BigEndian.PutUint32(frame, uint32(len(frame)-lengthLen)) }

func blockSum(data []byte, off, size int64) [32]byte { return integrity.Block(data, off, size) }

func wholeSum(data []byte) [32]byte { return integrity.Whole(data) }

// castLog is the frames of a cast. The latest are in memory, of others the heads, and
// where in which file the rest is.
type castLog struct {
	files openFiles // that are read again; its own lock

	mu     sync.Mutex // guards what follows
	frames []logFrame
	first  uint64 // number of frames[0]
	size   int64
	kept   int64 // bytes of bodies in memory
	heads  int64 // bytes that all frames take besides, about
	most   int64 // of heads, before somebody is too far behind
	oldest int   // frame that may have a body; those before have none
	near   int   // where the last read was
}

// logFrame is a frame of the log.
type logFrame struct {
	off, n int64
	body   []byte // nil: to be read again
	pieces []piece
}

// piece is a part of a frame: bytes, or a part of a file.
type piece struct {
	lit    []byte
	entry  *wire.Entry
	off, n int64
}

// head is about how many bytes of memory a frame takes besides its body.
func (f *logFrame) head() (n int64) {
	n = int64(unsafe.Sizeof(*f))
	for i := range f.pieces {
		p := &f.pieces[i]
		n += int64(unsafe.Sizeof(*p)) + int64(len(p.lit))
		if p.entry != nil {
			n += int64(unsafe.Sizeof(*p.entry)) + int64(len(p.entry.Name))
		}
	}
	return n
}

func (p *piece) len() int64 {
	if p.entry == nil {
		return int64(len(p.lit))
	}
	return p.n
}

// end is the number and the offset of the next frame.
func (l *castLog) end() (number uint64, off int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first + uint64(len(l.frames)), l.size
}

// full tells that somebody is too far behind.
func (l *castLog) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heads > l.most
}

// add puts a frame at the end.
func (l *castLog) add(body []byte, pieces []piece) {
	if pieces[0].lit != nil && len(pieces) == 2 {
		pieces[0].lit = append([]byte(nil), pieces[0].lit...) // not all of the body with it
	}
	if cap(body) > 2*len(body) { // a pack of very small files
		body = bytes.Clone(body)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frames = append(l.frames, logFrame{off: l.size, n: int64(len(body)), body: body, pieces: pieces})
	l.size += int64(len(body))
	l.kept += int64(len(body))
	l.heads += l.frames[len(l.frames)-1].head()
	for l.kept > castKept && l.oldest < len(l.frames)-1 {
		l.forget(l.oldest)
		l.oldest++
	}
}

// forget lets go of a frame's body.
func (l *castLog) forget(i int) {
	l.kept -= int64(len(l.frames[i].body))
	l.frames[i].body = nil
}

// release forgets the frames before number n, but for the last castSlack bytes of them.
func (l *castLog) release(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := int(min(n-min(n, l.first), uint64(len(l.frames))))
	end := l.size
	if k < len(l.frames) {
		end = l.frames[k].off
	}
	k = sort.Search(k, func(i int) bool { return l.frames[i].off+l.frames[i].n > end-castSlack })
	for i := range k {
		l.forget(i)
	}
	// Moved only now and then: each frame a few times at the most.
	if k == 0 || l.heads <= l.most && (k < 64 || k < len(l.frames)/2) {
		return
	}
	for i := range k {
		l.heads -= l.frames[i].head()
	}
	l.frames = append([]logFrame(nil), l.frames[k:]...)
	l.first += uint64(k)
	l.oldest, l.near = max(0, l.oldest-k), max(0, l.near-k)
}

// find gives the frame in which an offset lies; -1: it has been released, or is behind
// the end.
func (l *castLog) find(off int64) int {
	in := func(i int) bool {
		return i < len(l.frames) && l.frames[i].off <= off && off < l.frames[i].off+l.frames[i].n
	}
	for _, i := range [...]int{l.near, l.near + 1} {
		if in(i) {
			l.near = i
			return i
		}
	}
	i := sort.Search(len(l.frames), func(i int) bool { return l.frames[i].off > off }) - 1
	if i < 0 || !in(i) {
		return -1
	}
	l.near = i
	return i
}

// ReadAt reads a part of the log. What is not to be had is zeros.
func (l *castLog) ReadAt(b []byte, off int64) (int, error) {
	for n := 0; n < len(b); {
		l.mu.Lock()
		i := l.find(off + int64(n))
		if i < 0 {
			from := l.size
			if len(l.frames) > 0 && off+int64(n) < l.frames[0].off {
				from = l.frames[0].off
			}
			l.mu.Unlock()
			k := len(b) - n
			if gap := from - off - int64(n); gap > 0 {
				k = int(min(int64(k), gap))
			}
			clear(b[n : n+k])
			n += k
			continue
		}
		f := l.frames[i]
		l.mu.Unlock()
		at := off + int64(n) - f.off
		part := b[n:min(len(b), n+int(f.n-at))]
		if f.body != nil {
			copy(part, f.body[at:])
		} else {
			l.again(part, at, f.pieces)
		}
		n += len(part)
	}
	return len(b), nil
}

// again reads a part of a frame from its files.
func (l *castLog) again(b []byte, at int64, pieces []piece) {
	for i := range pieces {
		p := &pieces[i]
		n := p.len()
		if at >= n {
			at -= n
			continue
		}
		part := b[:min(int64(len(b)), n-at)]
		if p.entry == nil {
			copy(part, p.lit[at:])
		} else if _, err := l.files.read(p.entry, p.off+at, part); err != nil {
			clear(part)
		}
		if b = b[len(part):]; len(b) == 0 {
			return
		}
		at = 0
	}
}

func (l *castLog) close() { l.files.close() }

// openFiles keeps files open that are read in parts. Any goroutine may use it.
type openFiles struct {
	roots  []SourceRoot
	strict bool // they must be as they were listed when they are opened

	mu   sync.Mutex // guards what follows
	open []openFile // the latest first
}

type openFile struct {
	entry *wire.Entry // as which it was opened
	r     store.ReadFile
}

// is tells that it was opened as the same file in the same state: one that is listed
// anew may be another one of the same name.
func (f *openFile) is(e *wire.Entry) bool {
	o := f.entry
	return o.Root == e.Root && o.Name == e.Name && o.Ino == e.Ino && o.Size == e.Size && o.ModTime == e.ModTime
}

// read reads all of b from a file, and gives the open file, valid until the next call.
func (o *openFiles) read(e *wire.Entry, off int64, b []byte) (store.ReadFile, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, err := o.get(e)
	if err != nil {
		return nil, err
	}
	if off%ahead == 0 {
		r.Ahead(off+ahead, ahead)
	}
	if n, err := r.ReadAt(b, off); n < len(b) {
		return nil, err
	}
	return r, nil
}

// get gives an open file. The lock is held.
func (o *openFiles) get(e *wire.Entry) (store.ReadFile, error) {
	for i, f := range o.open {
		if f.is(e) {
			copy(o.open[1:i+1], o.open[:i])
			o.open[0] = f
			return f.r, nil
		}
	}
	r, err := o.roots[e.Root].Store.Open(e.Name)
	if err != nil {
		return nil, err
	}
	if o.strict {
		if err := listed(r, e); err != nil {
			r.Close()
			return nil, err
		}
	}
	if len(o.open) == openMost {
		o.open[openMost-1].r.Close()
		o.open = o.open[:openMost-1]
	}
	o.open = append([]openFile{{e, r}}, o.open...)
	return r, nil
}

// close closes them all.
func (o *openFiles) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.open {
		f.r.Close()
	}
	o.open = nil
}
