package engine

import "slices"

// endedFile is what a sink counted of a file that has ended.
type endedFile struct {
	id   uint64
	size int64
	done int64 // bytes that count as done; none of a file that failed
	ok   bool  // has its final name
}

// endedFiles remembers the files that ended last. A source may list a file anew
// because it changed, and hear only then that it has ended: then it counts once,
// not twice. Files end for the source in the order in which they ended here, so
// that it cannot speak of one that is further back than what it may have under
// way.
type endedFiles struct {
	ring []endedFile
	at   int // of the oldest, when ring is full
}

func (l *endedFiles) add(e endedFile) {
	if len(l.ring) < maxOutstanding {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[l.at] = e
	l.at = (l.at + 1) % len(l.ring)
}

// take removes the file with a number and returns it, if it is there.
func (l *endedFiles) take(id uint64) (e endedFile, ok bool) {
	i := slices.IndexFunc(l.ring, func(e endedFile) bool { return e.id == id })
	if i < 0 {
		return e, false
	}
	e = l.ring[i]
	l.ring[i] = endedFile{id: noFile}
	return e, true
}

// noFile is a number that no file has.
const noFile = 1<<64 - 1

// relist notes that the file with a number, which has ended here or is about
// to, is listed again by the source: what was counted of it does not count.
func (s *Sink) relist(id uint64) {
	s.mu.Lock()
	if f := s.files[id]; f != nil {
		f.relisted = true
		s.mu.Unlock()
		return
	}
	e, ok := s.lately.take(id)
	s.mu.Unlock()
	if ok {
		s.uncount(e)
	}
}

// uncount takes back what was counted of a file.
func (s *Sink) uncount(e endedFile) {
	s.update(func(t *Totals) {
		t.Files--
		t.Bytes -= e.size
		t.DoneBytes -= e.done
		if e.ok {
			t.OK--
			t.DoneFiles--
		} else {
			t.Failed--
		}
	})
}
