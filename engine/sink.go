package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// Sink is the writing end of a job.
type Sink struct {
	opts   Options
	paths  Paths
	target Target
	link   Link
	emitter
	counters
	inband *inband
	pulse  pulse
	work   busy
	depth  depth
	before wire.Report // of this end, at the last look; its reader's
	start  time.Time
	wg     sync.WaitGroup // all but receivers
	recvWG sync.WaitGroup // receivers

	manifests chan checkItem // from the link's reader to the checker; closed by nobody
	kick      chan struct{}  // wakes the confirmer; capacity 1
	fresh     atomic.Int64   // bytes stored since the last confirmation
	commits   committer

	mu       sync.Mutex // guards what follows
	dest     store.Dest // nil until the first root is known
	destRoot string
	prefixes []string // of each root: what its names begin with
	rootKind []store.Kind
	files    map[uint64]*sinkFile
	large    map[uint64]*sinkFile      // of files, those with a journal: few where files are many
	keys     map[wire.Key]*sinkFile    // of files; nil: no source shares what it sends
	untold   map[uint64]*wire.FileDone // where sources share: files whose verdict is due to the source, and their ends, if they have come
	sums     map[uint64]*sumWait       // waiting for a hash of the source
	nextID   uint64
	retries  int  // entries promised to come again
	checking bool // a batch of entries is being looked at
	dirs     []dirEnd
	dirAt    map[uint64]int32 // where in dirs, by the name's hash
	dirSeed  maphash.Seed
	sumQueue []uint64 // of sums, those whose hash has come
	summers  int      // goroutines that compare them
	streams  map[uint32]*recvStream
	last     wire.Stored // of streams beside the endpoint that have ended, what is to be confirmed
	nextDial uint32
	names    map[string]bool // of files, those under way
	dialGoal int             // streams which the source asked for last
	way      string          // transport that the source asked for last; "": none
	dialing  bool            // someone makes them
	doneQ    wire.Done
	lately   endedFiles
	ended    error
	stop     func()
	endSeen  bool
	finished bool
	need     int64 // bytes wanted and not written yet
	free     int64 // bytes free at freeAt
	freeAt   time.Time
	far      wire.Report
	farAt    time.Time
	waited   time.Duration // for the network, by streams that are gone, too
}

// dirEnd is a directory whose attributes are set when all is in it.
type dirEnd struct {
	name     string
	mode     uint32
	mtime    int64
	uid, gid uint32
}

// recvStream is one stream at the sink.
type recvStream struct {
	id     uint32
	st     transports.Stream
	beside bool // not of the endpoint
	began  time.Time
	count  atomic.Uint64 // frames dealt with
	told   uint64        // count last confirmed; the confirmer's

	waited time.Duration // for the network, at the last report
}

// checkItem is what the checker takes: a batch of entries, the end of them, or
// a hash of the source.
type checkItem struct {
	m   wire.Manifest
	end bool
	sum *wire.FileSum
}

// maxListed bounds what a source may have under way; a source of ours stays
// far below.
const maxListed = 2 * maxOutstanding

// NewSink returns a sink that writes to t. rec may be nil.
func NewSink(o Options, p Paths, l Link, t Target, rec events.Recorder) *Sink {
	s := &Sink{opts: o, paths: p, target: t, link: l, emitter: emitter{rec}, inband: newInband(l), start: time.Now(),
		manifests: make(chan checkItem, 8), kick: make(chan struct{}, 1),
		files: make(map[uint64]*sinkFile), large: make(map[uint64]*sinkFile), sums: make(map[uint64]*sumWait), streams: make(map[uint32]*recvStream),
		names: make(map[string]bool), nextDial: 2, dirAt: make(map[uint64]int32), dirSeed: maphash.MakeSeed()}
	if o.Shared {
		s.keys, s.untold = make(map[wire.Key]*sinkFile), make(map[uint64]*wire.FileDone)
	}
	s.commits.init(s)
	return s
}

// Totals returns a snapshot; any goroutine may call it.
func (s *Sink) Totals() Totals {
	t := s.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Streams = len(s.streams)
	if s.streams[inbandID] != nil {
		t.Streams--
	}
	t.Sent = s.far.Sent
	t.Retrans = s.far.Retrans
	t.RTT = time.Duration(s.far.RTT)
	t.Path = pathOf(&s.far)
	if !s.farAt.IsZero() && time.Since(s.farAt) > unheard {
		t.LimitedBy, t.LimitDetail = byUnknown, ""
	}
	return t
}

// Run does the sink's part and returns when everything is committed, or with
// the error that ended the job; journals are closed either way. It leaves the
// link open, unless the other end does not take what is left to say.
func (s *Sink) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.stop = cancel
	s.mu.Unlock()
	s.startStream(&recvStream{id: inbandID, st: s.inband})
	readDone := make(chan error, 1)
	go func() { readDone <- s.readLink(ctx) }() // ends when the owner closes the link
	s.wg.Go(func() { s.check(ctx) })
	s.wg.Go(func() { s.confirm(ctx) })
	s.wg.Go(func() { s.commits.run(ctx) })
	s.wg.Go(func() { s.marks(ctx) })
	s.wg.Go(func() { s.pulse.watch(ctx, s.opts.stall(), s.fail) })
	if s.paths.Endpoint != nil {
		s.wg.Go(func() { s.acceptLoop(ctx) })
	}

	var err error
	select {
	case err = <-readDone:
		s.mu.Lock()
		if s.finished {
			err = nil // the source goes when it has heard that we are done
		}
		s.mu.Unlock()
	case <-ctx.Done():
		s.mu.Lock()
		ended := s.ended
		s.mu.Unlock()
		if isLost(ended) {
			// What broke the link may have been said on it before.
			select {
			case err = <-readDone:
			case <-time.After(lastWords):
			}
		}
	}
	s.mu.Lock()
	err = better(err, s.ended)
	if err == nil && !s.finished {
		err = context.Cause(ctx)
	}
	streams := make([]*recvStream, 0, len(s.streams))
	for _, r := range s.streams {
		streams = append(streams, r)
	}
	s.ended = err
	s.mu.Unlock()
	cancel()
	unheard := time.AfterFunc(lastWords, func() { s.link.Close() })
	defer unheard.Stop()
	for _, r := range streams {
		r.st.Close()
	}
	s.inband.Close()
	if s.paths.Endpoint != nil {
		s.paths.Endpoint.Close()
	}
	s.recvWG.Wait()
	s.wg.Wait()
	if err != nil {
		s.tellFail(err)
	}
	s.closeFiles(err)
	return err
}

// tellFail sends the reason to the source, unless it came from there.
func (s *Sink) tellFail(err error) {
	f := new(wire.Fail)
	if !errors.As(err, &f) {
		f = wire.Failf(wire.ClassStopped, "stopped")
	}
	if f.Class == wire.ClassLost {
		return
	}
	if b, jerr := wire.AppendJSON(nil, wire.KindFail, f); jerr == nil {
		_ = s.link.Send(b) // if the link is gone the source knows
	}
}

// fail ends the run with err, unless something has ended it before.
func (s *Sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil && !s.finished {
		s.ended = err
	}
	if s.stop != nil {
		s.stop()
	}
}

func (s *Sink) readLink(ctx context.Context) error {
	for {
		msg, err := s.pulse.listen(s.link.Recv)
		if err != nil {
			return lost(err)
		}
		k, body, err := wire.Split(msg)
		if err == nil {
			err = s.handle(ctx, k, body)
		}
		if err != nil {
			return lost(err)
		}
	}
}

func (s *Sink) handle(ctx context.Context, k wire.Kind, body []byte) error {
	switch k {
	case wire.KindData:
		s.inband.deliver(body)
	case wire.KindManifest:
		m, err := wire.ParseManifest(body)
		if err != nil {
			return err
		}
		return s.queue(ctx, checkItem{m: m})
	case wire.KindEnd:
		c, err := wire.ParseCounts(body)
		if err != nil {
			return err
		}
		s.update(func(t *Totals) { t.Failed += c[4] })
		return s.queue(ctx, checkItem{end: true})
	case wire.KindEvent:
		return s.farEvent(body)
	case wire.KindFileSum:
		m, err := wire.ParseFileSum(body)
		if err != nil {
			return err
		}
		return s.queue(ctx, checkItem{sum: &m})
	case wire.KindGone:
		m, err := wire.ParseGone(body)
		if err != nil {
			return err
		}
		return s.gone(&m)
	case wire.KindStreams:
		var m wire.Streams
		if err := wire.ParseJSON(body, &m); err != nil {
			return err
		}
		if err := s.turn(m.Way); err != nil {
			return err
		}
		s.dialUpTo(ctx, min(m.Count, maxStreams))
	case wire.KindReport:
		var r wire.Report
		if err := wire.ParseJSON(body, &r); err != nil {
			return err
		}
		return s.farReport(r)
	case wire.KindFail:
		f := new(wire.Fail)
		if err := wire.ParseJSON(body, f); err != nil {
			return err
		}
		return f
	case wire.KindWarn:
		var w wire.Warn
		if err := wire.ParseJSON(body, &w); err != nil {
			return err
		}
		if w.Code == "source.read" {
			s.emit(events.File{Path: string(w.Path), Action: "fail", Error: w.Text, Verified: "none", Class: wire.ClassSource})
		} else {
			s.emit(events.Warn{Code: w.Code, Message: w.Text, Host: s.paths.Name, Path: string(w.Path)})
		}
	case wire.KindVouched:
		return s.vouched(body)
	case wire.KindGroup:
		return s.paths.takeGroup(body)
	case wire.KindPing:
		return s.link.Send([]byte{byte(wire.KindPong)}, body)
	case wire.KindPong:
	case wire.KindBye:
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.finished {
			return fmt.Errorf("%w: bye before the end", wire.ErrMalformed)
		}
		s.stop()
	default:
		return fmt.Errorf("%w: unexpected kind %d", wire.ErrMalformed, k)
	}
	return nil
}

// queue hands an item to the checker; it waits while the checker is busy, and
// with it the source's listing.
func (s *Sink) queue(ctx context.Context, it checkItem) error {
	select {
	case s.manifests <- it:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxStreams bounds the streams of one job.
const maxStreams = 256

func (s *Sink) acceptLoop(ctx context.Context) {
	for {
		st, err := s.paths.Endpoint.Accept(ctx)
		if err != nil {
			return
		}
		s.startStream(&recvStream{id: st.ID(), st: st})
	}
}

// startStream takes a stream into use.
func (s *Sink) startStream(r *recvStream) {
	s.mu.Lock()
	if _, dup := s.streams[r.id]; dup || s.ended != nil || s.finished || len(s.streams) > maxStreams {
		s.mu.Unlock()
		r.st.Close()
		return
	}
	r.began = time.Now()
	s.streams[r.id] = r
	s.recvWG.Add(1) // under the lock: Run waits only after ended is set
	s.mu.Unlock()
	go func() {
		defer s.recvWG.Done()
		s.receive(r)
	}()
}

// dialUpTo makes streams until there are n, as the source asks. One call makes
// them at a time, however often it asks: those that are being made count.
func (s *Sink) dialUpTo(ctx context.Context, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialGoal = n
	if s.paths.Endpoint == nil || s.dialing || s.ended != nil || s.finished {
		return
	}
	s.dialing = true
	s.wg.Go(func() { // under the lock: Run waits only after ended or finished is set
		for {
			s.dial(ctx, n)
			s.mu.Lock()
			if s.dialGoal == n || s.ended != nil || s.finished {
				s.dialing = false
				s.mu.Unlock()
				return
			}
			n = s.dialGoal
			s.mu.Unlock()
		}
	})
}

// dial makes streams until there are n.
func (s *Sink) dial(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, s.paths.wayTime())
	defer cancel()
	missing := n
	s.mu.Lock()
	for _, r := range s.streams {
		if r.id != inbandID && !r.beside {
			missing--
		}
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for range missing {
		s.mu.Lock()
		id := s.nextDial
		s.nextDial += 2
		s.mu.Unlock()
		wg.Go(func() {
			st, err := s.paths.Endpoint.Dial(ctx, s.paths.Far, id)
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
				return
			}
			s.startStream(&recvStream{id: id, st: st})
		})
	}
	wg.Wait()
	if failed != nil {
		if b, err := wire.AppendJSON(nil, wire.KindStreams, wire.Streams{Count: n, Error: failed.Error()}); err == nil {
			_ = s.link.Send(b) // a dead link ends the run by itself
		}
	}
}

// farReport takes the source's counters, which a sink's user sees.
func (s *Sink) farReport(r wire.Report) error {
	s.mu.Lock()
	old := s.far
	s.far, s.farAt = r, time.Now()
	streams := len(s.streams)
	s.mu.Unlock()
	s.update(func(t *Totals) {
		t.LimitedBy, t.LimitDetail = limitWord(r.By), ""
		if r.Detail == bySendBuffer {
			t.LimitDetail = bySendBuffer
		}
	})
	span := float64(r.Span-old.Span) / 1e9
	if span > 0 && streams > 0 {
		before := make(map[uint32]int64, len(old.PerStr))
		for _, p := range old.PerStr {
			before[p.Stream] = p.Bytes
		}
		for _, p := range r.PerStr {
			s.emit(events.ProgressStream{Stream: p.Stream, Peer: p.Peer, RateBps: int64(float64(p.Bytes-before[p.Stream]) / span),
				RTTms: msOf(time.Duration(p.RTT)), Retrans: p.Retrans, CwndBytes: p.Cwnd})
		}
	}
	own := s.report()
	own.Depth = s.deepen(&own)
	b, err := wire.AppendJSON(nil, wire.KindReport, own)
	if err != nil {
		return err
	}
	return s.link.Send(b)
}
