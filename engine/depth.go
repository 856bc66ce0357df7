package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/tuner/retune"
	"github.com/gomover/gomover/wire"
)

// depthMost is how much of its stream's work one sender or receiver has under way at a
// file system at most, and depthAll how much all of them have together. Ours: that is
// what a few servers of a file system on a network take, and leaves room for other open
// files where there may be 1024: a file under way may have its directory open, too, and
// both ends may be in one process.
const (
	depthMost = 32
	depthAll  = 240
)

// shareOf is how much of n that are wanted each of so many streams may have.
func shareOf(n int, streams float64) int { return max(1, min(n, int(depthAll/max(1, streams)))) }

// fileWork is what a small file counts as besides its bytes where work is compared, in
// bytes: on most file systems opening or making it takes about as long.
const fileWork = 64 << 10

// depth is how much a sender reads at a time, or a receiver writes: files of a pack, and
// how far large ones are read ahead. Senders and receivers ask at; the rest belongs to
// the goroutine that looks.
type depth struct {
	n       atomic.Int32 // 0 is 1
	files   atomic.Int64 // small ones, done
	policy  *retune.Depth
	last    float64 // work done at the last look
	sharers int     // ends of the process that share what all may have under way; 0 is one
}

// at is how much there shall be at a time.
func (d *depth) at() int { return max(1, int(d.n.Load())) }

// look takes what an end did since the last look, with bytes as all that it has done.
// mode is Options.Retune.
func (d *depth) look(mode string, now, span time.Duration, bytes int64, e *end) (c retune.Change, ok bool) {
	if mode != retuneAuto && mode != retuneOn {
		return c, false
	}
	done := float64(bytes + fileWork*d.files.Load())
	if d.policy == nil { // what came before is of another span
		d.policy, d.last = retune.NewDepth(depthMost), done
		return c, false
	}
	w := retune.Work{At: now, Span: span, Done: max(0, done-d.last), Bound: e != nil && e.waits()}
	d.last = done
	c, ok = d.policy.Step(w)
	n := d.policy.At()
	if e != nil {
		n = shareOf(n, e.streams*float64(max(1, d.sharers)))
	}
	d.n.Store(int32(n))
	return c, ok
}

// waits tells that an end's streams wait for its files most of the time, and for no
// processor.
func (e *end) waits() bool { return e.busy() > mostly && !e.computes() }

// deepen looks at what the sink did since its last report, and gives what it writes at a
// time from now on.
func (s *Sink) deepen(own *wire.Report) int {
	if e, ok := between(&s.before, own); ok {
		s.depth.look(s.opts.Retune, time.Duration(own.Span), time.Duration(own.Span-s.before.Span), s.snapshot().Verified, &e)
	}
	s.before = *own
	return s.depth.at()
}

// tellDepth reports what came of a look: a trial has begun, or it has ended.
func (s *Source) tellDepth(what string, c retune.Change) {
	if c.After == 0 || s.depthID == 0 {
		s.depthID = s.tuneID()
	}
	s.emit(events.Tune{ID: s.depthID, What: what, From: int64(c.From), To: int64(c.To), Reason: c.Reason, BeforeBps: int64(c.Before), AfterBps: int64(c.After)})
}

// followDepth reports how the sink's depth has changed; was is what it had.
func (s *Source) followDepth(was, is int) {
	if was = max(1, was); is > 0 && is <= depthMost && is != was {
		s.emit(events.Tune{ID: s.tuneID(), What: "writers", From: int64(was), To: int64(is), Reason: "at the target: what it writes at a time"})
	}
}

// each calls f for 0 to n-1, so many at a time as atATime says then; with one at a time in
// order, and by the caller's goroutine.
func each(n int, atATime func() int, f func(i int)) {
	var next atomic.Int64
	var running atomic.Int32
	var wg sync.WaitGroup
	var work func()
	work = func() {
		for {
			limit := int32(atATime())
			now := running.Load()
			if now > limit && running.CompareAndSwap(now, now-1) {
				return
			}
			if now < limit && next.Load() < int64(n) && running.CompareAndSwap(now, now+1) {
				wg.Go(work)
			}
			i := next.Add(1) - 1
			if i >= int64(n) {
				return
			}
			f(int(i))
		}
	}
	running.Store(1)
	work()
	wg.Wait()
}

// aheadFiles takes the files that come next in the queue, of the first n those that are
// large and not open, for somebody to warm.
func (s *sched) aheadFiles(n int) (l []*srcFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.queue[:min(n, len(s.queue))] {
		if f.entry.Size > smallFile && f.file == nil && !f.gone && !f.warm {
			f.warm = true
			f.readers++
			l = append(l, f)
		}
	}
	return l
}

// warmed ends what aheadFiles began.
func (s *sched) warmed(f *srcFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.readers--
	s.settleLocked(f)
}

// readAhead opens the files that come next, n for each stream, and has the system begin
// to read them, each by a goroutine of its own: where a file system answers late, streams
// would wait for one after the other. What comes next is the same for all streams, so
// fewer than one each would leave them waiting as before.
func (s *Source) readAhead(n int) {
	for _, f := range s.sched.aheadFiles(n * max(1, len(s.streams.list()))) {
		s.wg.Go(func() {
			if r, err := s.opened(f); err == nil {
				r.Ahead(0, min(f.entry.Size, ahead))
			}
			// Who reads it finds the error, if there was one.
			s.sched.warmed(f)
		})
	}
}

// packed is a small file in a pack that is being filled.
type packed struct {
	file *srcFile
	at   int // where in the frame
	what string
	err  error
}

// readPack reads small files to where they are in a pack without gaps.
func (s *Source) readPack(body []byte, pack []*srcFile) []packed {
	list := make([]packed, len(pack))
	at := wire.PackHeadLen
	for i, p := range pack {
		list[i] = packed{file: p, at: at}
		at += wire.PackItemLen + int(p.entry.Size)
	}
	each(len(list), s.depth.at, func(i int) {
		p := &list[i]
		item := body[p.at:][:wire.PackItemLen+int(p.file.entry.Size)]
		p.what, p.err = s.readSmall(p.file, item)
		s.depth.files.Add(1) // each by itself: a pack may take seconds
	})
	return list
}

// storePack stores the small files of a pack, as many at a time as the depth says.
func (s *Sink) storePack(r *recvStream, b []byte) error {
	type item struct {
		wire.PackItem
		data []byte
		err  error
	}
	list := make([]item, 0, packFiles)
	if err := wire.ParsePack(b, func(p wire.PackItem, data []byte) error {
		list = append(list, item{PackItem: p, data: data})
		return nil
	}); err != nil {
		return err
	}
	each(len(list), s.depth.at, func(i int) { list[i].err = s.item(r, &list[i].PackItem, list[i].data) })
	for i := range list {
		if list[i].err != nil {
			return list[i].err
		}
	}
	return nil
}
