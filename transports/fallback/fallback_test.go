package fallback

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/pipe"
	"github.com/gomover/gomover/transports/tcp"
	"github.com/gomover/gomover/transports/transporttest"
	"github.com/gomover/gomover/transports/udtstream"
)

// TestContract runs over UDT with TCP behind it, over the second way only, and
// over ends of which only one listens the first way.
func TestContract(t *testing.T) {
	bind := netip.MustParseAddr("127.0.0.1")
	params := func(seal transports.Seal) transports.Params {
		return transports.Params{Secret: [32]byte{1, 2, 3}, Seal: seal, MaxBody: transporttest.MaxBody, Listen: true, Bind: bind}
	}
	both := func(t *testing.T, p transports.Params) transports.Endpoint {
		first, err := udtstream.New(t.Context(), p, udtstream.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if o := first.Offer(); len(o.Addrs) > 0 {
			p.Ports = [2]uint16{o.Addrs[0].Port(), o.Addrs[0].Port()}
		}
		second, err := tcp.New(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return New(first, second, "UDP")
	}
	transporttest.Run(t, func(t *testing.T, seal transports.Seal) (a, b transports.Endpoint) {
		p := params(seal)
		b = both(t, p)
		p.Listen = false
		return both(t, p), b
	})
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

// ways gives an end that dials, its two ways, and the far ends of these.
func ways(t *testing.T, first, second func(ctx context.Context, label uint32) error) (e *Endpoint, w1, w2 *way, far1, far2 transports.Endpoint) {
	a1, b1 := pipe.Pair()
	a2, b2 := pipe.Pair()
	w1, w2 = &way{Endpoint: a1, dial: first}, &way{Endpoint: a2, dial: second}
	for _, far := range []transports.Endpoint{b1, b2} {
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
	e = New(w1, w2, "UDP")
	return e, w1, w2, b1, b2
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
		err           string
	}{
		{"open", open, silent, 0, 2, ""},
		{"silence", silent, open, patience, 1, ""},
		{"refused", refused, open, 0, 1, ""},
		{"neither", silent, refused, patience, 2, "refused; over UDP: no answer"},
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
		} else if !strings.Contains(err.Error(), "no answer") {
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
			s, err := e.Dial(t.Context(), transports.Offer{}, 1)
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			if w1.tried != tried1 || w2.tried != tried2 {
				t.Errorf("tried %d and %d times, want %d and %d", w1.tried, w2.tried, tried1, tried2)
			}
		}
		dial(1, 0)
		e.Distrust()
		dial(1, 1)
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
		time.Sleep(rest)
		dial(2, 2)
	})
}
