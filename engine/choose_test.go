package engine

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
)

// road is a path on which TCP loses and crawls and UDT does not.
type road struct {
	*field
	noUDT string // why it cannot be opened at the sink; "": it can

	mu      sync.Mutex
	ways    map[uint32]string // of streams
	closed  bool              // UDT is
	streams []*roadStream
}

// roadEnd is one end's endpoint there.
type roadEnd struct {
	fieldEnd
	road   *road
	turned atomic.Bool
}

func (e *roadEnd) Use(preferred bool) error {
	if !preferred && e.end == 1 && e.road.noUDT != "" {
		return errors.New(e.road.noUDT)
	}
	e.turned.Store(!preferred)
	return nil
}

func (e *roadEnd) Turned() bool { return e.turned.Load() }
func (e *roadEnd) Distrust()    { e.turned.Store(false) }
func (e *roadEnd) Reason() string {
	return "what is sent does not arrive"
}

func (e *roadEnd) Dial(ctx context.Context, far transports.Offer, label uint32) (transports.Stream, error) {
	way := "tcp"
	if e.turned.Load() {
		way = "udt"
	}
	e.road.mu.Lock()
	e.road.ways[label] = way
	closed := e.road.closed
	e.road.mu.Unlock()
	if closed && way == "udt" {
		return nil, errors.New("refused")
	}
	st, err := e.fieldEnd.Dial(ctx, far, label)
	if err != nil {
		return nil, err
	}
	return e.road.stream(st.(cableStream)), nil
}

func (e *roadEnd) Accept(ctx context.Context) (transports.Stream, error) {
	st, err := e.fieldEnd.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return e.road.stream(st.(cableStream)), nil
}

func (r *road) stream(st cableStream) *roadStream {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &roadStream{cableStream: st, way: r.ways[st.id], rate: 200e3}
	if s.way == "udt" {
		s.rate = 8e6
	}
	r.streams = append(r.streams, s)
	return s
}

// kill makes UDT a way on which nothing arrives any more.
func (r *road) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.streams {
		if s.way == "udt" {
			s.silent.Store(true)
			s.c.close()
		}
	}
}

// refuse ends what travels over UDT, and lets nothing be made there any more.
func (r *road) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, s := range r.streams {
		if s.way == "udt" {
			s.c.close()
		}
	}
}

// roadStream is a stream of one rate; over TCP it loses each fiftieth segment.
type roadStream struct {
	cableStream
	way    string
	rate   float64
	sent   atomic.Int64
	slept  atomic.Int64 // in Send
	waited atomic.Int64 // in Recv
	silent atomic.Bool
}

func (s *roadStream) Stats() transports.Stats {
	st := s.cableStream.Stats()
	st.Transport, st.CC, st.SentBytes = s.way, "cubic", s.sent.Load()
	st.SendBlocked, st.RecvBlocked = time.Duration(s.slept.Load()), time.Duration(s.waited.Load())
	if s.way == "tcp" {
		st.Retrans = st.SentBytes / segment / 50
	} else {
		st.CC = "bbr"
	}
	return st
}

func (s *roadStream) Send(f *transports.Frame) error {
	n := len(f.Body())
	wait := time.Duration(float64(n) / s.rate * float64(time.Second))
	time.Sleep(wait)
	s.slept.Add(int64(wait))
	s.sent.Add(int64(n))
	return s.told(s.cableStream.Send(f))
}

func (s *roadStream) Recv(f *transports.Frame) error {
	began := time.Now()
	err := s.cableStream.Recv(f)
	s.waited.Add(int64(time.Since(began)))
	return s.told(err)
}

// told makes a silent stream end as one that nothing was heard on.
func (s *roadStream) told(err error) error {
	if err != nil && s.silent.Load() {
		return os.ErrDeadlineExceeded
	}
	return err
}

// TestTurnToUDT: a copy that losses hold back over TCP is moved to UDT while it
// runs, told once, and stays where UDT does not come up; and when UDT falls silent,
// it comes back.
func TestTurnToUDT(t *testing.T) {
	for _, tt := range []struct {
		name     string
		sinkDial bool
		noUDT    string
		killed   bool   // soon after the move
		refused  bool   // from soon after the move on, without silence
		yields   bool   // soon after the trial begins
		sets     bool   // the number of streams, soon after the trial begins
		frees    bool   // after a second the number, which was set at first
		moves    string // transports that were told
		words    string // in what was told
		most     time.Duration
	}{
		{name: "source dials", moves: "udt", words: "UDT moves", most: 9 * time.Second},
		{name: "sink dials", sinkDial: true, moves: "udt", words: "losses while the queue is empty", most: 9 * time.Second},
		{name: "not to be opened", noUDT: "the port is taken", words: "(the port is taken)", most: 30 * time.Second},
		{name: "falls silent", killed: true, moves: "udt tcp", words: "no data connection over UDP (what is sent does not arrive)", most: 30 * time.Second},
		{name: "falls silent, sink dials", sinkDial: true, killed: true, moves: "udt tcp", words: "no data connection over UDP (what is sent does not arrive)", most: 30 * time.Second},
		{name: "cannot be made again", refused: true, moves: "udt tcp", most: 60 * time.Second},
		{name: "cannot be made again, sink dials", sinkDial: true, refused: true, moves: "udt tcp", most: 60 * time.Second},
		{name: "set meanwhile", sets: true, words: "udt is no better: the number of streams is set", most: 5 * time.Minute},
		{name: "set at first", frees: true, moves: "udt", words: "UDT moves", most: 12 * time.Second},
		{name: "gives way meanwhile", yields: true, words: "gives way to others", most: 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun()
				r.opts.BlockSize = 64 << 10
				r.opts.Retune = retuneAuto
				r.opts.NoInband = tt.refused
				if tt.frees {
					r.opts.StreamsMin, r.opts.StreamsMax = 12, 12
					time.AfterFunc(time.Second, func() { _ = r.source.Control(Control{Streams: &[2]int{}}) })
				}
				r.src.put("big", random(7, 56<<20))
				r.link, r.field = newCable(r.delay, 64), newField(r.delay)
				road := &road{field: r.field, noUDT: tt.noUDT, ways: make(map[uint32]string)}
				p := Paths{DialFirst: !tt.sinkDial, DialOnly: true, RTT: 2 * r.delay, Name: "far", Prefer: "tcp", Spare: "udt", CCs: nil}
				sp, kp := p, p
				sp.Endpoint = &roadEnd{fieldEnd: fieldEnd{r.field, 0}, road: road}
				kp.Endpoint = &roadEnd{fieldEnd: fieldEnd{r.field, 1}, road: road}
				var rec told
				r.source = NewSource(r.opts, sp, cableEnd{r.link, 0}, []SourceRoot{{Store: memSource{r.src}, Base: "src", Inside: true, Shown: "src"}}, &locked{rec: &rec, hear: func(e events.Event) {
					if x, ok := e.(events.Transport); ok && x.To == "udt" && tt.killed {
						time.AfterFunc(200*time.Millisecond, road.kill)
					}
					if x, ok := e.(events.Transport); ok && x.To == "udt" && tt.refused {
						time.AfterFunc(200*time.Millisecond, road.refuse)
					}
					if x, ok := e.(events.Tune); ok && strings.HasPrefix(x.Reason, "trying") && tt.yields {
						time.AfterFunc(300*time.Millisecond, func() { _ = r.source.Control(Control{Priority: ptr(Background)}) })
					}
					if x, ok := e.(events.Tune); ok && strings.HasPrefix(x.Reason, "trying") && tt.sets {
						time.AfterFunc(300*time.Millisecond, func() { _ = r.source.Control(Control{Streams: &[2]int{12, 12}}) })
					}
				}})
				r.sink = NewSink(r.opts, kp, cableEnd{r.link, 1}, memTarget(r.dst), nil)
				var wg sync.WaitGroup
				began := time.Now()
				wg.Go(func() { r.sinkErr = r.sink.Run(t.Context()); r.endSoon() })
				err := r.source.Run(t.Context())
				took := time.Since(began)
				wg.Wait()
				r.link.close()
				r.fine(t, err)
				if took > tt.most {
					t.Errorf("it took %v", took)
				}
				var moves, texts []string
				for _, e := range rec {
					switch e := e.(type) {
					case events.Transport:
						moves, texts = append(moves, e.To), append(texts, e.Reason)
					case events.Tune:
						texts = append(texts, e.Reason)
					}
				}
				if got := strings.Join(moves, " "); got != tt.moves {
					t.Errorf("moved to %q, want %q\n%s", got, tt.moves, strings.Join(texts, "\n"))
				}
				if x := &r.source.streams; x.other != "" {
					t.Errorf("%s is still tried", x.other)
				}
				if all := strings.Join(texts, "\n"); !strings.Contains(all, tt.words) {
					t.Errorf("%q is not in\n%s", tt.words, all)
				}
			})
		})
	}
}

// locked keeps events that several goroutines tell.
type locked struct {
	mu   sync.Mutex
	rec  *told
	hear func(events.Event)
}

// Record implements events.Recorder.
func (l *locked) Record(at time.Time, e events.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear(e)
	l.rec.Record(at, e)
}
