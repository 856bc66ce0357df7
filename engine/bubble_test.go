package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// cable is a link or a stream between two ends in virtual time: messages arrive
// a delay after they were sent, in order, and wait in a bounded queue.
type cable struct {
	delay  time.Duration
	q      [2]chan parcel // by the sending end
	cut    chan struct{}
	once   sync.Once
	silent atomic.Bool // swallows everything from now on
	passed atomic.Int64
}

type parcel struct {
	at time.Time
	b  []byte
}

func newCable(delay time.Duration, room int) *cable {
	return &cable{delay: delay, q: [2]chan parcel{make(chan parcel, room), make(chan parcel, room)}, cut: make(chan struct{})}
}

func (c *cable) close() { c.once.Do(func() { close(c.cut) }) }

func (c *cable) send(end int, parts ...[]byte) error {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	c.passed.Add(1)
	if c.silent.Load() {
		<-c.cut
		return io.ErrClosedPipe
	}
	select {
	case <-c.cut:
		return io.ErrClosedPipe
	default:
	}
	select {
	case c.q[end] <- parcel{time.Now().Add(c.delay), b}:
		return nil
	case <-c.cut:
		return io.ErrClosedPipe
	}
}

func (c *cable) recv(end int) ([]byte, error) {
	select {
	case p := <-c.q[1-end]:
		if d := time.Until(p.at); d > 0 {
			select {
			case <-time.After(d):
			case <-c.cut:
				return nil, io.EOF
			}
		}
		return p.b, nil
	case <-c.cut:
		return nil, io.EOF
	}
}

// cableEnd is one end of a cable as a Link.
type cableEnd struct {
	c   *cable
	end int
}

func (e cableEnd) Send(parts ...[]byte) error { return e.c.send(e.end, parts...) }
func (e cableEnd) Recv() ([]byte, error)      { return e.c.recv(e.end) }
func (e cableEnd) Close() error               { e.c.close(); return nil }

// cableStream is one end of a cable as a transports.Stream.
type cableStream struct {
	cableEnd
	id uint32
}

func (s cableStream) ID() uint32 { return s.id }
func (s cableStream) Stats() transports.Stats {
	return transports.Stats{RTT: 2 * s.c.delay, MinRTT: 2 * s.c.delay}
}
func (s cableStream) Retune(transports.Settings) error { return nil }
func (s cableStream) Send(f *transports.Frame) error   { return s.c.send(s.end, f.Body()) }

func (s cableStream) Recv(f *transports.Frame) error {
	b, err := s.c.recv(s.end)
	if err != nil {
		return net.ErrClosed
	}
	if len(b) > f.Max() {
		return transports.ErrDamaged
	}
	copy(f.Resize(len(b)), b)
	return nil
}

// field is what connections are made through.
type field struct {
	delay  time.Duration
	ways   [2]way // of dialling: by the source, by the sink
	mu     sync.Mutex
	cables []*cable
	dials  [2]int
	accept [2]chan transports.Stream
	done   chan struct{}
	once   sync.Once
}

// way is what becomes of connections in one direction.
type way int

const (
	open way = iota
	refused
	swallowed
)

func newField(delay time.Duration) *field {
	return &field{delay: delay, accept: [2]chan transports.Stream{make(chan transports.Stream), make(chan transports.Stream)}, done: make(chan struct{})}
}

// live lists the cables that are not cut.
func (f *field) live() (l []*cable) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.cables {
		select {
		case <-c.cut:
		default:
			l = append(l, c)
		}
	}
	return l
}

type fieldEnd struct {
	f   *field
	end int
}

func (e fieldEnd) Offer() transports.Offer { return transports.Offer{} }

func (e fieldEnd) Dial(ctx context.Context, _ transports.Offer, label uint32) (transports.Stream, error) {
	e.f.mu.Lock()
	w := e.f.ways[e.end]
	e.f.dials[e.end]++
	e.f.mu.Unlock()
	trip := time.After(2 * e.f.delay)
	if w == swallowed {
		trip = nil
	}
	select {
	case <-trip:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-e.f.done:
		return nil, net.ErrClosed
	}
	if w == refused {
		return nil, errors.New("connection refused")
	}
	c := newCable(e.f.delay, 64)
	select {
	case e.f.accept[1-e.end] <- cableStream{cableEnd{c, 1 - e.end}, label}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-e.f.done:
		return nil, net.ErrClosed
	}
	e.f.mu.Lock()
	e.f.cables = append(e.f.cables, c)
	e.f.mu.Unlock()
	return cableStream{cableEnd{c, e.end}, label}, nil
}

func (e fieldEnd) Accept(ctx context.Context) (transports.Stream, error) {
	select {
	case s := <-e.f.accept[e.end]:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-e.f.done:
		return nil, net.ErrClosed
	}
}

func (e fieldEnd) Close() error { e.f.once.Do(func() { close(e.f.done) }); return nil }

// run is one session between two ends in a bubble.
type run struct {
	src, dst *memFS
	opts     Options
	delay    time.Duration
	ways     [2]way
	dialOnly bool
	sinkDial bool
	passing  bool
	link     *cable
	field    *field
	source   *Source
	sink     *Sink
	rec      recorder
	during   func(r *run) // beside the session
	// processors is what both ends report of theirs; nil: the real ones.
	processors func(*wire.Report)
	sinkErr    error
	took       time.Duration
}

func newRun() *run {
	r := &run{src: newMemFS(), dst: newMemFS(), delay: 20 * time.Millisecond}
	r.src.files[""].mtime = 77
	r.opts = Options{JobID: "bubble", Attrs: store.Attrs{Perms: true, Times: true}}
	return r
}

// again is the same job once more.
func (r *run) again() *run {
	return &run{src: r.src, dst: r.dst, delay: r.delay, opts: r.opts}
}

func (r *run) do(ctx context.Context) error {
	began := time.Now()
	r.link, r.field = newCable(r.delay, 64), newField(r.delay)
	r.field.ways = r.ways
	p := Paths{DialFirst: !r.sinkDial, DialOnly: r.dialOnly, RTT: 2 * r.delay, Name: "far"}
	sp, kp := p, p
	sp.Passing = r.passing
	sp.Endpoint, kp.Endpoint = fieldEnd{r.field, 0}, fieldEnd{r.field, 1}
	a, b := cableEnd{r.link, 0}, cableEnd{r.link, 1}
	r.source = NewSource(r.opts, sp, a, []SourceRoot{{Store: memSource{r.src}, Base: "src", Inside: true, Shown: "src"}}, &r.rec)
	r.sink = NewSink(r.opts, kp, b, memTarget(r.dst), nil)
	r.source.work.processors, r.sink.work.processors = r.processors, r.processors
	var wg sync.WaitGroup
	wg.Go(func() { r.sinkErr = r.sink.Run(ctx); r.endSoon() })
	if r.during != nil {
		wg.Go(func() { r.during(r) })
	}
	err := r.source.Run(ctx)
	if err != nil {
		r.endSoon()
	}
	wg.Wait()
	r.link.close()
	r.took = time.Since(began)
	return err
}

// endSoon closes the link when what was said has arrived.
func (r *run) endSoon() { time.AfterFunc(2*r.delay+time.Millisecond, r.link.close) }

func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(key).Read(b)
	return b
}

func (r *run) fill() {
	for i := range 30 {
		r.src.put(fmt.Sprintf("d%d/s%d", i%3, i), random(uint64(i), i*977))
	}
	r.src.put("big", random(100, 5<<20+17))
	r.src.put("large", random(101, 3<<20))
	r.src.put("mid", random(102, 200_000))
}

// fine fails the test unless the job ended well with the same files.
func (r *run) fine(t *testing.T, err error) {
	t.Helper()
	if err != nil || r.sinkErr != nil {
		t.Fatalf("source: %v; sink: %v", err, r.sinkErr)
	}
	sameFiles(t, r.src, r.dst)
	c := r.source.Totals()
	if c.DoneBytes != c.Bytes || c.DoneFiles != c.Files || c.Failed != 0 {
		t.Errorf("source's totals %+v", c)
	}
	if c.Sent+c.Had < c.Bytes {
		t.Errorf("%d bytes sent and %d there before, of %d", c.Sent, c.Had, c.Bytes)
	}
	if k := r.sink.Totals(); k.DoneBytes != c.Bytes || k.Bytes != c.Bytes || k.Files != c.Files || k.DoneFiles != c.Files {
		t.Errorf("sink's totals %+v, source's %+v", k, c)
	}
}

func classOf(err error) wire.Class {
	var f *wire.Fail
	if errors.As(err, &f) {
		return f.Class
	}
	return wire.ClassNone
}

func TestWaysToDial(t *testing.T) {
	for name, tt := range map[string]struct {
		ways     [2]way
		dialOnly bool
		sinkDial bool
		noInband bool
		class    wire.Class
		inband   bool
		most     time.Duration
	}{
		"source":                       {most: 3 * time.Second},
		"sink":                         {sinkDial: true, most: 3 * time.Second},
		"source refused":               {ways: [2]way{refused, open}, most: 3 * time.Second},
		"source swallowed":             {ways: [2]way{swallowed, open}, most: 5 * time.Second},
		"sink refused":                 {ways: [2]way{open, refused}, sinkDial: true, most: 3 * time.Second},
		"sink swallowed":               {ways: [2]way{open, swallowed}, sinkDial: true, most: 5 * time.Second},
		"both refused":                 {ways: [2]way{refused, refused}, inband: true, most: 10 * time.Second},
		"both swallowed":               {ways: [2]way{swallowed, swallowed}, inband: true, most: 20 * time.Second},
		"only source, refused":         {ways: [2]way{refused, open}, dialOnly: true, inband: true, most: 10 * time.Second},
		"only sink, refused":           {ways: [2]way{open, refused}, dialOnly: true, sinkDial: true, inband: true, most: 10 * time.Second},
		"only sink, swallowed":         {ways: [2]way{open, swallowed}, dialOnly: true, sinkDial: true, inband: true, most: 20 * time.Second},
		"both refused, no inband":      {ways: [2]way{refused, refused}, noInband: true, class: wire.ClassNoPath, most: 10 * time.Second},
		"both swallowed, no inband":    {ways: [2]way{swallowed, swallowed}, noInband: true, class: wire.ClassNoPath, most: 20 * time.Second},
		"only source, none, no inband": {ways: [2]way{refused, open}, dialOnly: true, noInband: true, class: wire.ClassNoPath, most: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun()
				r.fill()
				r.ways, r.dialOnly, r.sinkDial, r.opts.NoInband = tt.ways, tt.dialOnly, tt.sinkDial, tt.noInband
				r.opts.StreamsMin, r.opts.StreamsMax = 6, 6
				err := r.do(t.Context())
				if r.took > tt.most {
					t.Errorf("took %v, more than %v", r.took, tt.most)
				}
				if tt.class != 0 {
					if classOf(err) != tt.class || classOf(r.sinkErr) != tt.class {
						t.Errorf("source: %v; sink: %v", err, r.sinkErr)
					}
					if len(r.dst.names()) > 40 || len(r.dst.locked) != 0 || r.src.opened != 0 {
						t.Errorf("left behind: %v, open %v, %d", r.dst.unfinished(), r.dst.locked, r.src.opened)
					}
					return
				}
				r.fine(t, err)
				if got := len(r.field.cables) == 0; got != tt.inband {
					t.Errorf("inside the link: %t, want %t", got, tt.inband)
				}
				if tt.dialOnly && r.field.dials[map[bool]int{false: 1, true: 0}[tt.sinkDial]] > 0 {
					t.Errorf("dialled in the direction that was not permitted: %v", r.field.dials)
				}
				if n := len(r.field.cables); !tt.inband && (n < 1 || n > r.opts.StreamsMax) {
					t.Errorf("%d connections were made for %d streams", n, r.opts.StreamsMax)
				}
			})
		})
	}
}

func TestSilentStreamsAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun()
		r.src.put("big", random(1, 20<<20))
		r.opts.StallMs = 3000
		r.opts.Rate = 10 << 20
		r.during = func(r *run) {
			time.Sleep(700 * time.Millisecond)
			for i, c := range r.field.live() {
				if i%2 == 0 {
					c.silent.Store(true)
				}
			}
		}
		r.fine(t, r.do(t.Context()))
		if len(r.rec.warns) == 0 {
			t.Error("no stream was replaced")
		}
		if r.took > 15*time.Second {
			t.Errorf("took %v", r.took)
		}
	})
}

func TestAllStreamsDieAndNoneCanBeMade(t *testing.T) {
	for _, noInband := range []bool{false, true} {
		t.Run(fmt.Sprint(noInband), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun()
				r.src.put("big", random(1, 20<<20))
				r.opts.Rate, r.opts.NoInband, r.opts.StallMs = 5<<20, noInband, 4000
				r.during = func(r *run) {
					time.Sleep(time.Second)
					r.field.mu.Lock()
					r.field.ways = [2]way{refused, refused}
					r.field.mu.Unlock()
					for _, c := range r.field.live() {
						c.close()
					}
				}
				err := r.do(t.Context())
				if !noInband {
					r.fine(t, err)
					return
				}
				if classOf(err) != wire.ClassLost || r.took > 10*time.Second {
					t.Errorf("%v after %v", err, r.took)
				}
				second := r.again()
				r.opts.Rate = 0
				second.fine(t, second.do(t.Context()))
				if had := second.source.Totals().Had; had < 1<<20 {
					t.Errorf("only %d bytes were kept", had)
				}
			})
		})
	}
}

func TestStreamsUpAndDown(t *testing.T) {
	for _, sinkDial := range []bool{false, true} {
		t.Run(fmt.Sprint(sinkDial), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun()
				r.src.put("huge", random(1, 80<<20))
				r.fill()
				r.opts.Rate = 4 << 20
				r.sinkDial = sinkDial
				r.during = func(r *run) {
					for _, n := range []int{1, 5, 2, 8, 1, 3} {
						time.Sleep(1200 * time.Millisecond)
						if r.source.over() {
							t.Error("over too soon")
							return
						}
						r.source.SetStreams(n)
						time.Sleep(1800 * time.Millisecond)
						if got := len(r.field.live()); got != n {
							t.Errorf("%d streams, want %d", got, n)
						}
					}
				}
				r.fine(t, r.do(t.Context()))
				if sent := r.source.work.sent.Load(); sent != r.source.Totals().Bytes {
					t.Errorf("%d bytes sent of %d: streams that were taken away lost some", sent, r.source.Totals().Bytes)
				}
			})
		})
	}
}

func TestFilesThatChange(t *testing.T) {
	for name, tt := range map[string]struct {
		onChange string
		times    int // how often the file changes
		class    wire.Class
	}{
		"once": {times: 1}, "twice": {times: 2}, "for ever": {times: 100, class: wire.ClassChanged},
		"fail": {onChange: "fail", times: 1, class: wire.ClassChanged},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun()
				r.src.put("f", random(1, 6<<20))
				r.src.put("g", random(2, 1<<20))
				r.src.put("s", random(3, 1000))
				r.opts.Rate, r.opts.OnChange = 2<<20, tt.onChange
				r.during = func(r *run) {
					time.Sleep(time.Second)
					for i := range tt.times {
						if i > 0 {
							time.Sleep(3300 * time.Millisecond)
						}
						if r.source.over() {
							return
						}
						r.src.change("f", random(uint64(10+i), 6<<20-i*1000))
					}
				}
				err := r.do(t.Context())
				if tt.class == 0 {
					r.fine(t, err)
					return
				}
				if err != nil || r.sinkErr != nil {
					t.Fatalf("source: %v; sink: %v", err, r.sinkErr)
				}
				c := r.source.Totals()
				if c.Failed != 1 || c.OK != 2 || r.rec.files["src/f"].Class != tt.class {
					t.Errorf("totals %+v, event %+v", c, r.rec.files["src/f"])
				}
				if _, there := r.dst.get("f"); there {
					t.Error("a file that changed has its final name")
				}
				if l := r.dst.unfinished(); len(l) > 0 || len(r.dst.locked) > 0 || r.src.opened > 0 {
					t.Errorf("left behind: %v, open %v, %d", l, r.dst.locked, r.src.opened)
				}
			})
		})
	}
}

func TestFilesThatVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun()
		r.fill()
		r.src.fault = func(op, name string) error {
			if op == "open" && (name == "mid" || name == "d1/s4") {
				return fmt.Errorf("opening: %w", io.ErrUnexpectedEOF)
			}
			return nil
		}
		if err := r.do(t.Context()); err != nil || r.sinkErr != nil {
			t.Fatal(err, r.sinkErr)
		}
		c := r.source.Totals()
		if c.Failed+c.OK != c.Files || c.Failed != 2 {
			t.Errorf("totals %+v", c)
		}
		if l := r.dst.unfinished(); len(l) > 0 {
			t.Errorf("left behind: %v", l)
		}
	})
}

// TestCutAnywhere cuts the link or a stream at a random moment, or stops an end,
// and does the job again until it is done: never a wrong byte under a final
// name, and in the end all is there.
func TestCutAnywhere(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 12
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(seed), 7))
			r := newRun()
			r.fill()
			r.delay = time.Duration(rnd.IntN(40)) * time.Millisecond
			r.opts.Rate = 8 << 20
			r.opts.Fsync = []string{"batch", "none", "file", "dir"}[rnd.IntN(4)]
			r.dst.slow = time.Duration(rnd.IntN(3)) * time.Millisecond
			r.dst.committed = func(name string, data []byte) {
				if f := r.src.files[name]; f == nil || string(f.data) != string(data) {
					t.Errorf("seed %d: wrong content under %s", seed, name)
				}
			}
			kept := int64(0)
			for try := 0; ; try++ {
				r.ways = [2]way{way(rnd.IntN(3)), way(rnd.IntN(3))}
				r.opts.Least = int64(rnd.IntN(3)) << 16 // none, 64 or 128 KiB
				ctx, cancel := context.WithCancel(t.Context())
				at := time.Duration(rnd.IntN(2500)) * time.Millisecond
				what := rnd.IntN(4)
				if try == 6 {
					what, r.ways = -1, [2]way{}
				}
				r.during = func(r *run) {
					time.Sleep(at)
					switch what {
					case 0:
						r.link.close()
					case 1:
						r.link.silent.Store(true)
						time.Sleep(time.Second)
						cancel()
					case 2:
						for _, c := range r.field.live() {
							c.close()
						}
						time.Sleep(100 * time.Millisecond)
						r.link.close()
					case 3:
						cancel()
					}
				}
				began := time.Now()
				err := r.do(ctx)
				cancel()
				if d := time.Since(began); what >= 0 && d > at+8*time.Second {
					t.Errorf("seed %d: ended %v after it was cut (%d)", seed, d-at, what)
				}
				if r.src.opened != 0 || len(r.dst.locked) != 0 {
					t.Fatalf("seed %d, cut %d: %d source files open, %v locked", seed, what, r.src.opened, r.dst.locked)
				}
				if err == nil && r.sinkErr == nil {
					sameFiles(t, r.src, r.dst)
					if c := r.source.Totals(); c.DoneBytes != c.Bytes || c.DoneFiles != c.Files || c.Had < kept {
						t.Errorf("seed %d: totals %+v, %d kept before", seed, c, kept)
					}
					return
				}
				if what < 0 {
					t.Fatalf("seed %d: undisturbed: %v; %v", seed, err, r.sinkErr)
				}
				r = r.again()
			}
		})
		if t.Failed() {
			return
		}
	}
}
