package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// Sizes of our choice, in bytes.
const (
	// smallFile: files up to this travel in packs. It is well below a block, so
	// that a pack is not mostly one file.
	smallFile = 64 << 10
	// packFiles bounds the files in one pack, and with it the time for which a
	// stream's other data waits behind them.
	packFiles = 256
)

// srcFile is a file which the sink wants, at the source.
type srcFile struct {
	id    uint64
	entry wire.Entry
	src   store.Source
	key   wire.Key // where others may want the same

	blockSize int64 // bytes
	began     time.Time

	// Guarded by sched.mu from here on.
	todo      blockList // still to be handed out
	todoBytes int64     // payload of todo
	unread    int64     // blocks not yet read to the end, or to be read again
	whole     bool      // unread has been 0
	waiting   int64     // blocks handed out or lost, not confirmed
	readers   int       // senders that use file now
	opening   bool      // somebody opens it, for all
	file      store.ReadFile
	gone      bool  // given up; nothing more is sent
	warm      bool  // was opened before its turn
	tries     int   // damaged frames so far
	confirmed int64 // payload bytes confirmed
	have      int64 // bytes that the sink had at the start
	replace   bool
}

// blocks is the number of blocks of the file.
func (f *srcFile) blocks() int64 { return (f.entry.Size + f.blockSize - 1) / f.blockSize }

// slice is the work for one frame: one block of a file, or a pack.
type slice struct {
	file  *srcFile
	block int64
	pack  []*srcFile
	bytes int64 // payload
	tries int   // how often block came damaged
}

// flight is a slice on its way, waiting for confirmation.
type flight struct {
	slice
	read bool // a block that has been read; counted off unread
	done bool // taken back by missed
}

// sched decides what goes next and knows what is on its way. Each wanted block
// is in exactly one place: still in its file's todo, in retry, in one
// flight, or confirmed.
type sched struct {
	packRoom int64 // bytes of a pack

	mu        sync.Mutex // guards all below and srcFile's fields
	cond      *sync.Cond
	opened    *sync.Cond // no file is being opened any more that was
	queue     []*srcFile // with blocks to hand out; the first is drawn from
	retry     []slice
	flights   map[uint32]*lane
	unconf    int64             // payload bytes in flights
	window    int64             // most of unconf
	wanted    int64             // payload bytes not yet handed out, retry included
	closed    error             // set: next returns it
	confBytes int64             // payload bytes confirmed
	open      map[*srcFile]bool // whose file is set

	// For a source that shares what it sends with others, see Cast.
	keyed  map[wire.Key]*srcFile // in queue; nil: nothing is shared
	cast   uint32                // stream on which the queue goes; 0: none, each stream takes from it
	alone  []*srcFile            // small files that no other source wants
	shared int64                 // payload bytes in flights of the cast, which count for no window
}

// lane is what is under way on one stream, oldest first.
type lane struct {
	flights []flight
	base    uint64 // frames confirmed before flights[0]
	stopped bool   // draw no more
	shared  bool   // with others
}

// underway counts payload that is under way on a lane.
func (s *sched) underway(l *lane, n int64) {
	if l.shared {
		s.shared += n
		return
	}
	s.unconf += n
}

func newSched(packRoom, window int64) *sched {
	s := &sched{packRoom: packRoom, window: window, flights: make(map[uint32]*lane), open: make(map[*srcFile]bool)}
	s.cond, s.opened = sync.NewCond(&s.mu), sync.NewCond(&s.mu)
	return s
}

// want queues blocks of f.
func (s *sched) want(f *srcFile, extents [][2]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range extents {
		f.todoBytes += s.span(f, e)
	}
	f.todo = newBlockList(extents, f.blocks())
	if f.entry.Size <= smallFile { // sent whole, however much of it is wanted
		f.todo, f.todoBytes = newBlockList([][2]int64{{0, 1}}, 1), f.entry.Size
	}
	f.unread += f.todo.left
	s.wanted += f.todoBytes
	s.queue = append(s.queue, f)
	if s.keyed != nil {
		s.keyed[f.key] = f
	}
	if f.entry.Size > smallFile && f.todo.left > 1 {
		s.cond.Broadcast() // work for several
		return
	}
	// One more sender may find work; packs want several files, so waking all
	// for each file would be wasteful.
	s.cond.Signal()
}

// span is the length in bytes of blocks e of f.
func (s *sched) span(f *srcFile, e [2]int64) int64 {
	return min(e[1]*f.blockSize, f.entry.Size) - e[0]*f.blockSize
}

// addStream makes a lane for stream id.
func (s *sched) addStream(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flights[id] = &lane{}
}

// resumeStream makes a lane for stream id, or opens the one that was stopped.
func (s *sched) resumeStream(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.flights[id]; l != nil {
		l.stopped = false
		return
	}
	s.flights[id] = &lane{}
}

// stopStream makes next return for stream id once it asks again.
func (s *sched) stopStream(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.flights[id]; l != nil {
		l.stopped = true
	}
	s.cond.Broadcast()
}

// next waits for work for stream id and notes it as under way there. ok is
// false when the stream shall end.
func (s *sched) next(id uint32) (sl slice, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	for {
		if l == nil || l.stopped || s.closed != nil {
			return slice{}, false
		}
		if s.unconf < s.window || s.unconf == 0 {
			if sl, ok := s.drawLocked(); ok {
				s.unconf += sl.bytes
				s.wanted -= sl.bytes
				l.flights = append(l.flights, flight{slice: sl})
				return sl, true
			}
		}
		s.cond.Wait()
	}
}

// drawLocked takes the next slice off the queues.
func (s *sched) drawLocked() (slice, bool) {
	for len(s.retry) > 0 {
		sl := s.retry[0]
		s.retry = s.retry[1:]
		if sl.file.gone {
			s.wanted -= sl.bytes
			sl.file.waiting--
			s.settleLocked(sl.file)
			continue
		}
		sl.file.readers++
		return sl, true
	}
	if f := s.headLocked(&s.alone); f != nil {
		return s.drawPackLocked(&s.alone), true
	}
	if s.cast != 0 {
		return slice{}, false
	}
	if f := s.headLocked(&s.queue); f != nil {
		if f.entry.Size <= smallFile {
			return s.drawPackLocked(&s.queue), true
		}
		b := f.todo.take()
		sl := slice{file: f, block: b, bytes: s.span(f, [2]int64{b, b + 1})}
		f.todoBytes -= sl.bytes
		if f.todo.left == 0 {
			s.queue = s.queue[1:]
			s.unkeyLocked(f)
		}
		f.waiting++
		f.readers++
		return sl, true
	}
	return slice{}, false
}

// headLocked gives the first file of a queue that has blocks to hand out, and drops
// those before it that are given up, or of which a cast has taken all.
func (s *sched) headLocked(q *[]*srcFile) *srcFile {
	for len(*q) > 0 {
		f := (*q)[0]
		if !f.gone && f.todo.left > 0 {
			return f
		}
		s.dropLocked(f)
		*q = (*q)[1:]
	}
	*q = nil // lets go of the old array
	return nil
}

// dropLocked forgets what of f, which is given up, has not been handed out.
func (s *sched) dropLocked(f *srcFile) {
	s.wanted -= f.todoBytes
	f.todo, f.todoBytes = blockList{}, 0
	s.unkeyLocked(f)
}

// unkeyLocked forgets the key of a file of which nothing is left to be handed out.
func (s *sched) unkeyLocked(f *srcFile) {
	if s.keyed != nil && s.keyed[f.key] == f {
		delete(s.keyed, f.key)
	}
}

// drawPackLocked takes small files from the head of a queue, as many as fit
// a block together.
func (s *sched) drawPackLocked(q *[]*srcFile) slice {
	sl := slice{}
	room := s.packRoom
	n := 0
	for _, f := range *q {
		if f.gone || f.todo.left == 0 {
			s.dropLocked(f)
			n++
			continue
		}
		if f.entry.Size > smallFile || len(sl.pack) == packFiles || (len(sl.pack) > 0 && room < f.entry.Size+wire.PackItemLen) {
			break
		}
		f.todo, f.todoBytes = blockList{}, 0
		s.unkeyLocked(f)
		f.waiting++
		room -= f.entry.Size + wire.PackItemLen
		sl.bytes += f.entry.Size
		sl.pack = append(sl.pack, f)
		n++
	}
	*q = (*q)[n:]
	return sl
}

// release says that the sender of stream id has read its block of f, the newest
// slice there. last is true when f has been read to the end by everybody, and for
// each block that is read again after that: the sink may have been told that f did
// not change, and would not wait for a later one. When the stream has died meanwhile
// the reading does not count: the block is read again by another one, which may then
// be the last.
func (s *sched) release(id uint32, f *srcFile) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.readers--
	l := s.flights[id]
	if l == nil || len(l.flights) == 0 || l.flights[len(l.flights)-1].file != f {
		s.settleLocked(f)
		return false
	}
	l.flights[len(l.flights)-1].read = true
	f.unread--
	f.whole = f.whole || f.unread == 0
	return f.whole
}

// unsent takes the newest slice of stream id back: it was not sent, as its file
// is given up.
func (s *sched) unsent(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	if l == nil || len(l.flights) == 0 {
		return
	}
	n := len(l.flights) - 1
	fl := l.flights[n]
	l.flights = l.flights[:n]
	s.unconf -= fl.bytes
	if fl.file != nil {
		fl.file.waiting--
		s.settleLocked(fl.file)
	}
	for _, f := range fl.pack {
		f.waiting--
	}
	s.cond.Broadcast()
}

// leave takes f out of the newest pack of stream id: it is not sent with it.
func (s *sched) leave(id uint32, f *srcFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	if l == nil || len(l.flights) == 0 {
		return
	}
	fl := &l.flights[len(l.flights)-1]
	for k, p := range fl.pack {
		if p == f {
			fl.pack = append(fl.pack[:k:k], fl.pack[k+1:]...)
			fl.bytes -= f.entry.Size
			s.unconf -= f.entry.Size
			f.waiting--
			return
		}
	}
}

// stored takes a confirmation: the sink has dealt with frames of stream id up
// to count. It returns the payload bytes that this newly confirmed; an
// impossible count is an error.
func (s *sched) stored(id uint32, count uint64) (bytes int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	if l == nil {
		return 0, nil // of a stream that died; its frames were taken back
	}
	if count > l.base+uint64(len(l.flights)) {
		return 0, wire.Failf(wire.ClassProtocol, "the other end confirmed more than was sent")
	}
	for l.base < count {
		bytes += s.landLocked(l, &l.flights[0])
		l.flights = l.flights[1:]
		l.base++
	}
	s.confBytes += bytes
	if bytes > 0 {
		s.cond.Broadcast()
	}
	return bytes, nil
}

// landLocked ends a flight and returns the bytes that are newly confirmed.
func (s *sched) landLocked(l *lane, fl *flight) int64 {
	s.underway(l, -fl.bytes)
	if fl.done { // already taken back by missed
		return 0
	}
	n := int64(0)
	if fl.file != nil {
		fl.file.waiting--
		if !fl.file.gone { // else it was counted, or taken back, as a whole
			fl.file.confirmed += fl.bytes
			n += fl.bytes
		}
		s.settleLocked(fl.file)
	}
	for _, f := range fl.pack {
		f.waiting--
		if !f.gone {
			f.confirmed = f.entry.Size
			n += f.entry.Size
		}
	}
	return n
}

// beginOpen gives the open file, or nil to the one who is to open it and then to call
// endOpen; others wait for that.
func (s *sched) beginOpen(f *srcFile) store.ReadFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f.opening {
		s.opened.Wait()
	}
	f.opening = f.file == nil
	return f.file
}

// endOpen takes what came of it; after an error the next one tries.
func (s *sched) endOpen(f *srcFile, r store.ReadFile, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.opening = false
	s.opened.Broadcast()
	if err == nil {
		f.file = r
		s.open[f] = true
	}
}

// settleLocked closes f when nobody reads it at present or is due to.
func (s *sched) settleLocked(f *srcFile) {
	if f.file != nil && f.readers == 0 && f.waiting == 0 && (f.gone || f.todo.left == 0) {
		f.file.Close()
		f.file = nil
		delete(s.open, f)
	}
}

// closeFiles closes what is still open when the run is over.
func (s *sched) closeFiles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.open {
		f.file.Close()
		f.file = nil
	}
	clear(s.open)
}

// missed takes a block back that came damaged over stream id; it is sent again
// by whoever asks next. ok is false when it has been tried too often or is not
// under way.
func (s *sched) missed(id uint32, file uint64, block int64) (f *srcFile, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	if l == nil {
		return nil, true
	}
	for i := range l.flights {
		fl := &l.flights[i]
		if fl.done {
			continue
		}
		if fl.read && fl.file.id == file && fl.block == block {
			fl.done = true
			return fl.file, s.againLocked(fl.slice)
		}
		for k, p := range fl.pack {
			if p.id == file {
				fl.pack = append(fl.pack[:k:k], fl.pack[k+1:]...)
				fl.bytes -= p.entry.Size
				s.underway(l, -p.entry.Size)
				return p, s.againLocked(slice{pack: []*srcFile{p}, bytes: p.entry.Size})
			}
		}
	}
	return nil, true
}

// maxTries is how often a damaged block is asked for again.
const maxTries = 5

func (s *sched) againLocked(sl slice) bool {
	ok := true
	if sl.file != nil {
		sl.tries++
		sl.file.unread++
		ok = sl.tries <= maxTries
		s.retry = append(s.retry, sl)
	}
	for _, f := range sl.pack {
		f.tries++
		ok = ok && f.tries <= maxTries
		f.waiting--
	}
	s.requeueLocked(sl.pack)
	s.wanted += sl.bytes
	s.cond.Broadcast()
	return ok
}

// requeueLocked lets small files be handed out again before all others.
func (s *sched) requeueLocked(list []*srcFile) {
	if len(list) == 0 {
		return
	}
	for _, f := range list {
		f.todo, f.todoBytes = newBlockList([][2]int64{{0, 1}}, 1), f.entry.Size
	}
	q := &s.queue
	if s.cast != 0 {
		q = &s.alone
	}
	*q = slices.Concat(list, *q)
}

// lost takes back everything under way on stream id, which is dead. It returns
// the payload bytes that will be sent again.
func (s *sched) lost(id uint32) (bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	if l == nil {
		return 0
	}
	delete(s.flights, id)
	l.stopped = true
	var small []*srcFile
	for i := range l.flights {
		fl := &l.flights[i]
		s.underway(l, -fl.bytes)
		if fl.done {
			continue
		}
		bytes += fl.bytes
		s.wanted += fl.bytes
		if fl.file != nil {
			if fl.read {
				fl.file.unread++
			}
			s.retry = append(s.retry, fl.slice)
		}
		for _, f := range fl.pack {
			f.waiting--
		}
		small = append(small, fl.pack...)
	}
	s.requeueLocked(small)
	s.cond.Broadcast()
	return bytes
}

// giveUp makes f gone and returns the bytes of it that were confirmed; none
// will be any more.
func (s *sched) giveUp(f *srcFile) (confirmed int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.gone = true
	s.settleLocked(f)
	s.cond.Broadcast()
	return f.confirmed
}

// idle tells whether stream id has nothing under way.
func (s *sched) idle(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	return l == nil || len(l.flights) == 0
}

// load is a snapshot: payload bytes to be handed out, and under way.
func (s *sched) load() (wanted, underway int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted, s.unconf + s.shared
}

// setWindow sets the most payload bytes that may be under way.
func (s *sched) setWindow(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n != s.window {
		s.window = n
		s.cond.Broadcast()
	}
}

// fail ends every next with ok false.
func (s *sched) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		s.closed = err
	}
	s.cond.Broadcast()
}
