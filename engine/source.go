package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/wire"
)

// SourceRoot is one word of the command line at the source.
type SourceRoot struct {
	Store  store.Source
	Base   string // the base name it has inside a destination directory
	Inside bool   // its contents are meant, not itself
	Shown  string // as the user wrote it, for messages
}

// maxOutstanding bounds the entries that are not ended: without a verdict, or
// wanted and not done. It bounds memory at both ends; at 50 ms of round trip it
// permits 600,000 files a second.
const maxOutstanding = 32 << 10

// Source is the reading end of a job.
type Source struct {
	opts  Options
	paths Paths
	roots []SourceRoot
	link  Link
	emitter
	counters
	pulse   pulse
	sched   *sched
	inband  *inband
	limit   *limiter
	common  Common
	work    busy
	depth   depth
	depthID int // the ticker's: number of the last trial of depth, as it was told
	start   time.Time
	wg      sync.WaitGroup

	renew   atomic.Bool   // somebody has changed what the retuner must know
	nudge   chan struct{} // wakes the ticker for a change of the limit; capacity 1
	pacer   pacer         // the ticker's
	refused sync.Once     // the user was told of a congestion control that is not to be had

	mu       sync.Mutex // guards what follows
	cond     *sync.Cond // outstanding shrank, or end
	nextID   uint64
	pending  map[uint64]*wire.Entry // without verdict
	files    map[uint64]*srcFile    // wanted, not done
	retries  []*wire.Entry          // to be listed again
	listed   bool                   // all roots have been walked
	summing  map[uint64]bool        // whole files whose hash the sink waits for
	sumQueue []sumOrder
	summers  int // goroutines that hash them
	finished bool
	ended    error // why the run ends early
	farFail  bool  // the sink said so itself
	stop     func()
	far      wire.Report // the sink's latest
	pinged   time.Time
	rtt      time.Duration // least seen on the link
	streams  streamSet
	cc       string                      // congestion control chosen; "": the system's
	sysCC    string                      // the system's own
	ccPolicy tuner.CCPolicy              // the ticker's
	retuner  *retuner                    // the ticker's; nil until there are streams
	flow     flow                        // the ticker's
	chooser  *chooser                    // the ticker's; nil: nothing is left to choose
	known    atomic.Pointer[choice.Path] // for the chooser, what was learned of the path meanwhile
	batched  bool                        // a root is a store.Batcher; set before Run
	grown    bool                        // the ticker's: streams are retuned, though not asked to be
	bounds   [2]int                      // streams, at least and at most; 0: any
	priority string
	tunes    int // steps of tuning so far
}

// NewSource returns a source that reads roots. rec may be nil.
func NewSource(o Options, p Paths, l Link, roots []SourceRoot, rec events.Recorder) *Source {
	s := &Source{opts: o, paths: p, roots: roots, link: l, emitter: emitter{rec},
		sched: newSched(DefaultBlock, baseWindow), inband: newInband(l), limit: newLimiter(o.Rate),
		start: time.Now(), pending: make(map[uint64]*wire.Entry), files: make(map[uint64]*srcFile),
		summing: make(map[uint64]bool), rtt: p.RTT, bounds: [2]int{o.StreamsMin, o.StreamsMax}, priority: o.Priority,
		nudge: make(chan struct{}, 1)}
	s.cond = sync.NewCond(&s.mu)
	// The stream inside the link exists from the start, used or not, so that what
	// is said of it can be judged.
	s.sched.addStream(inbandID)
	s.sched.stopStream(inbandID)
	s.streams.init()
	if o.Shared {
		s.sched.keyed = make(map[wire.Key]*srcFile)
	}
	s.chooser = newChooser(&s.opts, &s.paths)
	for _, r := range roots {
		if _, ok := r.Store.(store.Batcher); ok {
			s.batched = true
		}
	}
	return s
}

// Totals returns a snapshot; any goroutine may call it.
func (s *Source) Totals() Totals {
	t := s.snapshot()
	t.Sent = s.work.sent.Load()
	s.mu.Lock()
	t.RTT = s.rtt
	s.mu.Unlock()
	return t
}

// Run does the source's part and returns when the sink has finished, or with
// the error that ended the job. It leaves the link open, unless the other end
// does not take what is left to say.
func (s *Source) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.stop = cancel
	s.mu.Unlock()

	walkDone := make(chan struct{})
	readDone := make(chan error, 1)
	go func() { readDone <- s.readLink() }() // ends when the owner closes the link, or at Finished
	s.wg.Go(func() { defer close(walkDone); s.list(ctx) })
	s.wg.Go(func() { s.manageStreams(ctx, walkDone) })
	s.wg.Go(func() { s.tick(ctx) })
	s.wg.Go(func() { s.pulse.watch(ctx, s.opts.stall(), s.fail) })

	var err error
	select {
	case err = <-readDone:
	case <-ctx.Done():
		s.mu.Lock()
		if err = s.ended; err == nil {
			err = context.Cause(ctx)
		}
		s.mu.Unlock()
		if isLost(err) && !s.paths.Passing {
			// What broke the link may have been said on it before.
			select {
			case said := <-readDone:
				err = better(err, said)
			case <-time.After(lastWords):
			}
		}
	}
	unhear := time.AfterFunc(lastWords, func() { s.link.Close() })
	defer unhear.Stop()
	if err != nil {
		s.fail(err)
		s.tellFail(err)
	} else {
		s.warnOfStreams()
		_ = s.link.Send([]byte{byte(wire.KindBye)}) // the sink leaves without it, later
	}
	cancel()
	s.mu.Lock()
	s.finished = true
	s.cond.Broadcast()
	s.mu.Unlock()
	s.sched.fail(errors.New("ended"))
	s.streams.closeAll()
	s.inband.Close()
	if s.paths.Endpoint != nil {
		s.paths.Endpoint.Close()
	}
	s.wg.Wait()
	s.sched.closeFiles()
	return err
}

// tellFail sends the reason to the sink, unless it came from there.
func (s *Source) tellFail(err error) {
	f := new(wire.Fail)
	if !errors.As(err, &f) {
		f = wire.Failf(wire.ClassStopped, "stopped")
	}
	s.mu.Lock()
	theirs := s.farFail
	s.mu.Unlock()
	if theirs || f.Class == wire.ClassLost {
		return
	}
	if b, jerr := wire.AppendJSON(nil, wire.KindFail, f); jerr == nil {
		_ = s.link.Send(b) // if the link is gone the sink knows
	}
}

// SetFar replaces what is known of how to reach the sink.
func (s *Source) SetFar(o transports.Offer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths.Far = o
}

func (s *Source) farOffer() transports.Offer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths.Far
}

// Drain stops sending and waits until what is under way is confirmed, d at
// most. What waits for the limit of the rate has not been sent, and is not.
func (s *Source) Drain(d time.Duration) {
	s.streams.mu.Lock()
	s.streams.draining = true
	s.streams.mu.Unlock()
	s.sched.fail(errors.New("draining"))
	s.limit.end()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, underway := s.sched.load(); underway == 0 || s.over() {
			return
		}
	}
}

func (s *Source) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished || s.ended != nil
}

// fail ends the run with err, unless something has ended it before.
func (s *Source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = err
	}
	if s.stop != nil {
		s.stop()
	}
	s.cond.Broadcast()
}

// readLink handles the sink's messages until it has finished.
func (s *Source) readLink() error {
	for {
		msg, err := s.pulse.listen(s.link.Recv)
		if err != nil {
			return lost(err)
		}
		k, body, err := wire.Split(msg)
		if err == nil {
			var done bool
			if done, err = s.handle(k, body); done {
				return nil
			}
		}
		if err != nil {
			return lost(err)
		}
	}
}

func (s *Source) handle(k wire.Kind, body []byte) (done bool, err error) {
	switch k {
	case wire.KindVerdicts:
		v, err := wire.ParseVerdicts(body)
		if err != nil {
			return false, err
		}
		for i := range v {
			if err := s.verdict(&v[i]); err != nil {
				return false, err
			}
		}
	case wire.KindStored:
		m, err := wire.ParseStored(body)
		if err != nil {
			return false, err
		}
		for _, c := range m {
			n, err := s.sched.stored(c.Stream, c.Frames)
			if err != nil {
				return false, err
			}
			s.update(func(t *Totals) { t.DoneBytes += n; t.Verified += n })
			s.streams.confirmed(c.Stream, n)
		}
	case wire.KindMissed:
		m, err := wire.ParseMissed(body)
		if err != nil {
			return false, err
		}
		s.update(func(t *Totals) { t.Repaired++ })
		if f, ok := s.sched.missed(m.Stream, m.File, m.Block); !ok {
			s.gone(f, wire.ClassIntegrity, "damaged on the way again and again", false)
		}
	case wire.KindDone:
		m, err := wire.ParseDone(body)
		if err != nil {
			return false, err
		}
		for i := range m {
			s.done(&m[i])
		}
	case wire.KindFinished:
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.listed || len(s.pending)+len(s.files)+len(s.retries) > 0 {
			return false, wire.Failf(wire.ClassProtocol, "the other end says that it has finished, and has not")
		}
		return true, nil
	case wire.KindFail:
		f := new(wire.Fail)
		if err := wire.ParseJSON(body, f); err != nil {
			return false, err
		}
		s.mu.Lock()
		s.farFail = true
		s.mu.Unlock()
		return false, f
	case wire.KindWarn:
		var w wire.Warn
		if err := wire.ParseJSON(body, &w); err != nil {
			return false, err
		}
		s.emit(events.Warn{Code: w.Code, Message: w.Text, Host: s.paths.Name, Path: string(w.Path)})
	case wire.KindStreams:
		var m wire.Streams
		if err := wire.ParseJSON(body, &m); err != nil {
			return false, err
		}
		if m.Way != "" {
			s.farTurned(m)
			break
		}
		s.streams.farFailed(m.Error)
	case wire.KindReport:
		var r wire.Report
		if err := wire.ParseJSON(body, &r); err != nil {
			return false, err
		}
		s.mu.Lock()
		s.far = r
		s.mu.Unlock()
	case wire.KindControl:
		if !s.paths.Obeys {
			return false, fmt.Errorf("%w: control by who may not", wire.ErrMalformed)
		}
		var c Control
		if err := wire.ParseJSON(body, &c); err != nil {
			return false, err
		}
		return false, s.Control(c)
	case wire.KindReady:
		if s.paths.Ready == nil {
			return false, fmt.Errorf("%w: ready twice", wire.ErrMalformed)
		}
		return false, s.paths.Ready(body)
	case wire.KindGroup:
		return false, s.paths.takeGroup(body)
	case wire.KindPing:
		return false, s.link.Send([]byte{byte(wire.KindPong)}, body)
	case wire.KindPong:
		s.mu.Lock()
		if d := time.Since(s.pinged); !s.pinged.IsZero() && (s.rtt == 0 || d < s.rtt) {
			s.rtt = d
		}
		s.pinged = time.Time{}
		s.mu.Unlock()
	default:
		return false, fmt.Errorf("%w: unexpected kind %d", wire.ErrMalformed, k)
	}
	return false, nil
}

// verdict acts on what the sink says of one entry.
func (s *Source) verdict(v *wire.EntryVerdict) error {
	s.mu.Lock()
	e, ok := s.pending[v.ID]
	if !ok || (e.Kind != byte(store.File) && (v.Verdict == wire.Want || v.Verdict == wire.Part || v.Verdict == wire.SendSum)) {
		s.mu.Unlock()
		return wire.Failf(wire.ClassProtocol, "the other end spoke of an entry which it was not asked about")
	}
	if v.Verdict == wire.SendSum {
		defer s.mu.Unlock()
		return s.orderSumLocked(v.ID, e)
	}
	delete(s.pending, v.ID)
	delete(s.summing, v.ID)
	var f *srcFile
	if v.Verdict == wire.Want || v.Verdict == wire.Part {
		f = &srcFile{id: v.ID, entry: *e, src: s.roots[e.Root].Store, have: v.Have, replace: v.Replace, began: time.Now()}
		f.blockSize = s.opts.BlockSizeFor(e.Size)
		if s.opts.Shared {
			f.key = wire.KeyOf(e)
		}
		s.files[v.ID] = f
	} else {
		s.cond.Broadcast()
	}
	s.mu.Unlock()

	path := s.shown(e)
	isFile := e.Kind == byte(store.File)
	switch v.Verdict {
	case wire.Want:
		s.sched.want(f, [][2]int64{{0, f.blocks()}})
	case wire.Part:
		for _, x := range v.Extents {
			if x[1] > f.blocks() {
				return wire.Failf(wire.ClassProtocol, "the other end wants more of a file than there is")
			}
		}
		if v.Have < 0 || v.Have > e.Size {
			return wire.Failf(wire.ClassProtocol, "the other end has more of a file than there is")
		}
		s.update(func(t *Totals) { t.DoneBytes += v.Have; t.Had += v.Have })
		if len(v.Extents) > 0 {
			s.sched.want(f, v.Extents)
		}
	case wire.Same:
		s.update(func(t *Totals) {
			if isFile {
				t.DoneFiles++
				t.DoneBytes += e.Size
				t.Had += e.Size
				t.Skipped++
			}
		})
		s.emit(events.File{Path: path, Dest: s.paths.Name, Action: "skip", SizeBytes: e.Size, Verified: "none"})
	case wire.Made:
		action := map[store.Kind]string{store.Dir: "dir", store.Symlink: "link", store.File: "new"}[store.Kind(e.Kind)]
		s.update(func(t *Totals) {
			if isFile {
				t.DoneFiles++
				t.OK++
			}
		})
		s.emit(events.File{Path: path, Dest: s.paths.Name, Action: action, Verified: "wire"})
	case wire.Ignored:
		s.update(func(t *Totals) {
			t.Ignored++
			if isFile {
				t.DoneFiles++
				t.DoneBytes += e.Size
				t.Had += e.Size
				t.Skipped++
			}
		})
		s.emit(events.File{Path: path, Dest: s.paths.Name, Action: "skip", SizeBytes: e.Size, Verified: "none", Error: v.Text})
	case wire.Failed:
		s.failed(e, v.Class, v.Text, time.Time{})
	}
	return nil
}

// shown is the path of an entry as the user would write it.
func (s *Source) shown(e *wire.Entry) string {
	r := s.roots[e.Root].Shown
	switch {
	case e.Name == "":
		return r
	case len(r) > 0 && r[len(r)-1] == '/':
		return r + e.Name
	}
	return r + "/" + e.Name
}

// failed counts and reports a file that will not be copied.
func (s *Source) failed(e *wire.Entry, class wire.Class, text string, began time.Time) {
	s.update(func(t *Totals) { t.Failed++ })
	ev := events.File{Path: s.shown(e), Dest: s.paths.Name, Action: "fail", SizeBytes: e.Size, Error: text, Verified: "none", Class: class}
	if !began.IsZero() {
		ev.Ms = time.Since(began).Milliseconds()
	}
	s.emit(ev)
}

// done takes the end of one file at the sink.
func (s *Source) done(d *wire.FileDone) {
	s.mu.Lock()
	f, ok := s.files[d.ID]
	delete(s.files, d.ID)
	s.cond.Broadcast()
	s.mu.Unlock()
	if !ok {
		return // given up by us already
	}
	confirmed := s.sched.giveUp(f) // nothing of it is needed any more
	if d.Class != wire.ClassNone {
		s.update(func(t *Totals) { t.DoneBytes -= f.have + confirmed })
		s.failed(&f.entry, d.Class, d.Text, f.began)
		return
	}
	// The end of a file may overtake the confirmation of its last frames.
	rest := f.entry.Size - f.have - confirmed
	s.update(func(t *Totals) { t.DoneFiles++; t.OK++; t.DoneBytes += rest; t.Verified += rest })
	ev := events.File{Path: s.shown(&f.entry), Dest: s.paths.Name, Action: "new", SizeBytes: f.entry.Size,
		SentBytes: f.entry.Size - f.have, Verified: "wire", Ms: time.Since(f.began).Milliseconds()}
	switch {
	case f.have > 0:
		ev.Action = "resume"
	case f.replace:
		ev.Action = "replace"
	}
	if s.opts.Verify == "readback" && f.entry.Size > smallFile {
		ev.Verified = "readback"
	}
	if d.Sum != ([32]byte{}) {
		ev.Hash = integrity.Name + ":" + hex.EncodeToString(d.Sum[:])
	}
	s.emit(ev)
}

// gone gives a wanted file up and tells the sink. retry lists it again later.
func (s *Source) gone(f *srcFile, class wire.Class, text string, retry bool) {
	s.mu.Lock()
	_, ok := s.files[f.id]
	delete(s.files, f.id)
	s.cond.Broadcast()
	s.mu.Unlock()
	if !ok {
		return // someone else was faster, or the sink ended it
	}
	back := s.sched.giveUp(f) + f.have
	s.update(func(t *Totals) { t.DoneBytes -= back })
	// After this message the sink waits for the new entry if one is promised, so
	// it must come before the entry does.
	if err := s.link.Send(wire.Gone{ID: f.id, Class: class, Retry: retry, Text: text}.Append(nil)); err != nil {
		s.fail(lost(err))
		return
	}
	if !retry {
		s.failed(&f.entry, class, text, f.began)
		return
	}
	e := f.entry
	e.Attempt++
	s.mu.Lock()
	s.retries = append(s.retries, &e)
	s.cond.Broadcast()
	s.mu.Unlock()
}

// changed gives up a file which is not what was listed.
func (s *Source) changed(f *srcFile, what string) {
	switch {
	case s.opts.OnChange == "fail":
		s.gone(f, wire.ClassChanged, what+" while it was read", false)
	case f.entry.Attempt >= 2:
		s.gone(f, wire.ClassChanged, what+" while it was read, three times", false)
	default:
		s.gone(f, wire.ClassChanged, what+" while it was read", true)
	}
}
