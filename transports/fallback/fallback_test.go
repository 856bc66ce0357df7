package fallback

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/topology"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/pipe"
	"github.com/gomover/gomover/transports/seal"
	"github.com/gomover/gomover/transports/tcp"
	"github.com/gomover/gomover/transports/transporttest"
	"github.com/gomover/gomover/transports/udt"
	"github.com/gomover/gomover/transports/udtstream"
)

// TestContract runs over UDP with TCP behind it, between ends of which only one
// listens.
func TestContract(t *testing.T) {
	transporttest.RunOn(t, func(t *testing.T, p transports.Params) transports.Endpoint {
		var last error
		// What else runs on this machine may have a port for one of the two.
		for port := transports.DefaultPorts[0]; port <= transports.DefaultPorts[1]; port++ {
			p.Ports = [2]uint16{port, port}
			e, err := both(t.Context(), p)
			if err == nil {
				return e
			}
			last = err
		}
		t.Fatal(last)
		return nil
	}, "127.0.0.1")
}

// both gives UDP with TCP behind it.
func both(ctx context.Context, p transports.Params) (transports.Endpoint, error) {
	first, err := udtstream.New(ctx, p, udtstream.Options{})
	if err != nil {
		return nil, err
	}
	second, err := tcp.New(ctx, p)
	if err != nil {
		first.Close()
		return nil, err
	}
	return New(first, second, "UDP"), nil
}

// way is an endpoint whose Dial does as it is told.
type way struct {
	transports.Endpoint
	dial  func(ctx context.Context, label uint32) error
	tried int
}

func (w *way) Dial(ctx context.Context, far transports.Offer, label uint32) (transports.Stream, error) {
	w.tried++
	if err := w.dial(ctx, label); err != nil {
		return nil, err
	}
	return w.Endpoint.Dial(ctx, far, label)
}

// dialOnce dials and closes what comes of it; the two ways were tried so often by then.
func dialOnce(t *testing.T, e transports.Endpoint, w1, w2 *way, tried1, tried2 int) {
	t.Helper()
	s, err := e.Dial(t.Context(), transports.Offer{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if w1.tried != tried1 || w2.tried != tried2 {
		t.Errorf("tried %d and %d times, want %d and %d", w1.tried, w2.tried, tried1, tried2)
	}
}

// ways gives an end that dials, its two ways, and the far ends of these.
func ways(t *testing.T, first, second func(ctx context.Context, label uint32) error) (e *Endpoint, w1, w2 *way, far1, far2 transports.Endpoint) {
	a1, b1 := pipe.Pair()
	a2, b2 := pipe.Pair()
	w1, w2 = &way{Endpoint: a1, dial: first}, &way{Endpoint: a2, dial: second}
	take(b1)
	take(b2)
	e = New(w1, w2, "UDP")
	return e, w1, w2, b1, b2
}

// take accepts what comes to an end, until it is closed.
func take(far transports.Endpoint) {
	go func() {
		for {
			s, err := far.Accept(context.Background())
			if err != nil {
				return
			}
			defer s.Close()
		}
	}()
}

func closeAll(l ...transports.Endpoint) {
	for _, e := range l {
		e.Close()
	}
}

func silent(ctx context.Context, _ uint32) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func open(context.Context, uint32) error { return nil }

func TestFallback(t *testing.T) {
	refused := func(context.Context, uint32) error { return errors.New("refused") }
	for _, tt := range []struct {
		name          string
		first, second func(ctx context.Context, label uint32) error
		after         time.Duration
		tried         int // the first way, by two dials
		why           string
		err           string
	}{
		{"open", open, silent, 0, 2, "", ""},
		{"silence", silent, open, patience, 1, "timed out", ""},
		{"refused", refused, open, 0, 1, "refused", ""},
		{"neither", silent, refused, patience, 2, "", "refused; over UDP: timed out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, w1, _, far1, far2 := ways(t, tt.first, tt.second)
				defer closeAll(e, far1, far2)
				start := time.Now()
				s, err := e.Dial(t.Context(), transports.Offer{}, 1)
				if took := time.Since(start); took != tt.after {
					t.Errorf("took %v, want %v", took, tt.after)
				}
				if why := e.Reason(); why != tt.why {
					t.Errorf("the reason is %q, want %q", why, tt.why)
				}
				if tt.err != "" {
					if err == nil || err.Error() != tt.err {
						t.Fatalf("error %v, want %q", err, tt.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				s, err = e.Dial(t.Context(), transports.Offer{}, 2)
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				if w1.tried != tt.tried {
					t.Errorf("the first way was tried %d times, want %d", w1.tried, tt.tried)
				}
			})
		})
	}
}

// TestOtherDirection: when the other end gets through the first way, this end
// does not make streams the second way.
func TestOtherDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _, w2, far1, far2 := ways(t, silent, open)
		defer closeAll(e, far1, far2)
		go func() {
			time.Sleep(time.Second)
			if s, err := far1.Dial(t.Context(), transports.Offer{}, 2); err == nil {
				s.Close()
			}
		}()
		if s, err := e.Dial(t.Context(), transports.Offer{}, 1); err == nil {
			s.Close()
			t.Error("a stream was made although the other end has made one")
		} else if !strings.Contains(err.Error(), "timed out") {
			t.Error(err)
		}
		if w2.tried != 0 {
			t.Error("the second way was tried")
		}
		s, err := e.Accept(t.Context())
		if err != nil || s.ID() != 2 {
			t.Fatalf("accepted %v, %v", s, err)
		}
		s.Close()
		time.Sleep(fresh)
		s, err = e.Dial(t.Context(), transports.Offer{}, 3)
		if err != nil || w2.tried != 1 {
			t.Errorf("long after: %v, the second way tried %d times", err, w2.tried)
		}
		s.Close()
	})
}

// TestFirstWayAgain: the first way is tried again after a while, and at once when a
// stream came that way while one was made the second way.
func TestFirstWayAgain(t *testing.T) {
	for _, meanwhile := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var e *Endpoint
			var far1 transports.Endpoint
			slow := func(context.Context, uint32) error {
				if meanwhile {
					s, err := far1.Dial(t.Context(), transports.Offer{}, 7)
					if err != nil {
						return err
					}
					defer s.Close()
					if s, err = e.Accept(t.Context()); err != nil {
						return err
					}
					return s.Close()
				}
				return nil
			}
			e, w1, _, far1, far2 := ways(t, silent, slow)
			defer closeAll(e, far1, far2)
			dial := func(tried int) {
				t.Helper()
				s, err := e.Dial(t.Context(), transports.Offer{}, 1)
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				if w1.tried != tried {
					t.Errorf("meanwhile %t: the first way was tried %d times, want %d", meanwhile, w1.tried, tried)
				}
			}
			dial(1)
			if meanwhile {
				meanwhile = false
				time.Sleep(fresh)
				dial(2)
				return
			}
			time.Sleep(rest - time.Second)
			dial(1)
			time.Sleep(time.Second)
			dial(2)
		})
	}
}

// TestDistrust: a first way that gives streams which carry nothing rests, though it
// is open, also to the other end.
func TestDistrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, w1, w2, far1, far2 := ways(t, open, open)
		defer closeAll(e, far1, far2)
		dial := func(tried1, tried2 int) {
			t.Helper()
			dialOnce(t, e, w1, w2, tried1, tried2)
		}
		dial(1, 0)
		e.Distrust()
		dial(1, 1)
		if why := e.Reason(); why != "what is sent does not arrive" {
			t.Errorf("the reason is %q", why)
		}
		s, err := far1.Dial(t.Context(), transports.Offer{}, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if s, err = e.Accept(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Close()
		dial(1, 2)
		if e.Reason() == "" {
			t.Error("the reason is forgotten though it holds")
		}
		time.Sleep(rest)
		dial(2, 2)
		if why := e.Reason(); why != "" {
			t.Errorf("the first way is open, and the reason why not is %q", why)
		}
	})
}

// slowWay is a way on which answers take long; the first is a sign of life.
type slowWay struct {
	way
	sign, stream time.Duration
	heard        atomic.Pointer[time.Time]
}

func (w *slowWay) Heard() time.Time {
	if at := w.heard.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

func (w *slowWay) slow(ctx context.Context, _ uint32) error {
	began := time.Now()
	for _, after := range []time.Duration{w.sign, w.stream} {
		select {
		case <-time.After(time.Until(began.Add(after))):
			now := time.Now()
			w.heard.Store(&now)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// TestLongPath: a first way that has given a sign of life is waited for, however
// long its path is; one that has done so for an earlier stream only is not.
func TestLongPath(t *testing.T) {
	for _, tt := range []struct {
		name         string
		sign, stream time.Duration
		took         time.Duration
		tried        int // the second way
	}{
		{"RTT 1.2 s", 2400 * time.Millisecond, 3600 * time.Millisecond, 3600 * time.Millisecond, 0},
		{"sign in time, stream late", 2900 * time.Millisecond, 20 * time.Second, 20 * time.Second, 0},
		{"sign too late", 3100 * time.Millisecond, 3200 * time.Millisecond, patience, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a1, b1 := pipe.Pair()
				a2, b2 := pipe.Pair()
				w1 := &slowWay{sign: tt.sign, stream: tt.stream}
				w1.way = way{Endpoint: a1, dial: w1.slow}
				before := time.Now()
				w1.heard.Store(&before)
				time.Sleep(time.Second)
				w2 := &way{Endpoint: a2, dial: open}
				take(b1)
				take(b2)
				e := New(w1, w2, "UDP")
				defer closeAll(e, b1, b2)
				start := time.Now()
				s, err := e.Dial(t.Context(), transports.Offer{}, 1)
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				if took := time.Since(start); took != tt.took || w2.tried != tt.tried {
					t.Errorf("took %v, the second way was tried %d times; want %v, %d", took, w2.tried, tt.took, tt.tried)
				}
			})
		})
	}
}

// TestSatellite: over a path of nearly three seconds a stream takes three round
// trips to be made by UDP, and is.
func TestSatellite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		top, err := topology.Parse([]byte(`{"hosts": [{"name": "a"}, {"name": "b"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		n, err := netsim.NewNetwork(top)
		if err != nil {
			t.Fatal(err)
		}
		var ends [2]transports.Endpoint
		for i, host := range []string{"a", "b"} {
			if err := n.Set(host+".up", "delay=1400ms"); err != nil {
				t.Fatal(err)
			}
			at := n.Node(host)
			ends[i], err = udtstream.New(t.Context(), transports.Params{Net: at, MaxBody: 1000, Listen: true, IPv4: true,
				Known: []netip.Addr{at.Addr(false)}}, udtstream.Options{})
			if err != nil {
				t.Fatal(err)
			}
		}
		a2, b2 := pipe.Pair()
		take(ends[1])
		take(b2)
		e := New(ends[0], a2, "UDP")
		s, err := e.Dial(t.Context(), ends[1].Offer(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if way := s.Stats().Transport; way != "udt" {
			t.Errorf("the stream goes by %q", way)
		}
		s.Close()
		closeAll(e, ends[1], b2)
		time.Sleep(time.Minute) // until the ports are given back
	})
}

// TestReason: what the user is told is what happened.
func TestReason(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:50000")
	dial := func(errs ...error) error {
		e := new(udtstream.DialError)
		for _, err := range errs {
			e.Attempts = append(e.Attempts, udtstream.Attempt{Addr: at, Err: err})
		}
		return fmt.Errorf("over UDP: %w", e)
	}
	for _, tt := range []struct {
		want string
		err  error
	}{
		{"timed out", fmt.Errorf("over UDP: %w", errSilent)},
		{"timed out", dial(udt.ErrTimeout, errSilent)},
		{"connection refused", dial(fmt.Errorf("connecting: %w: code 1002", udt.ErrRefused))},
		{"an answer of somebody else", dial(udt.ErrSecurity)},
		{"something else answers there", dial(transports.ErrAuth)},
		{"hung up without an answer, timed out", dial(fmt.Errorf("%w: %w", transports.ErrAuth, seal.ErrNoAnswer), errSilent)},
		{"connection refused, timed out", fmt.Errorf("dialling: %w: %w", errSilent, dial(udt.ErrRefused, errSilent))},
		{"no address to dial", dial()},
	} {
		if got := reason(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

// TestUse: who knows better says which way it shall be, at once.
func TestUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, w1, w2, far1, far2 := ways(t, silent, open)
		defer closeAll(e, far1, far2)
		if e.Turned() {
			t.Error("turned before anything was said")
		}
		began := time.Now()
		time.AfterFunc(time.Second, func() {
			if err := e.Use(false); err != nil {
				t.Error(err)
			}
		})
		for i := range 2 { // the first one is being made meanwhile
			s, err := e.Dial(t.Context(), transports.Offer{}, 1)
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			if took := time.Since(began); took != time.Second || w1.tried != 1 || w2.tried != i+1 || !e.Turned() {
				t.Errorf("after %v: tried %d and %d times, turned: %t", took, w1.tried, w2.tried, e.Turned())
			}
		}
		if err := e.Use(true); err != nil || e.Turned() || e.Reason() != "" {
			t.Errorf("used again: %v, turned: %t, since %q", err, e.Turned(), e.Reason())
		}
	})
}
