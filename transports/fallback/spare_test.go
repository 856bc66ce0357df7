package fallback

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/pipe"
)

// TestSpare: the other way is opened when it is asked for, once, and makes all
// streams until it is taken back; streams are accepted from both.
func TestSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a1, b1 := pipe.Pair()
		a2, b2 := pipe.Pair()
		usual, other := &way{Endpoint: a1, dial: open}, &way{Endpoint: a2, dial: open}
		take(b1)
		take(b2)
		asked, refused := 0, true
		e := NewSpare(usual, func() (transports.Endpoint, error) {
			asked++
			if refused {
				return nil, errors.New("the port is in use")
			}
			return other, nil
		})
		dial := func(tried1, tried2 int) {
			t.Helper()
			dialOnce(t, e, usual, other, tried1, tried2)
		}
		dial(1, 0)
		if err := e.Use(false); err == nil || e.Turned() {
			t.Errorf("turned to what cannot be opened: %v", err)
		}
		dial(2, 0)
		refused = false
		for range 2 {
			if err := e.Use(false); err != nil || !e.Turned() {
				t.Errorf("not turned: %v", err)
			}
		}
		dial(2, 1)
		for _, far := range []transports.Endpoint{b1, b2} {
			go func() {
				if s, err := far.Dial(context.Background(), transports.Offer{}, 2); err == nil {
					s.Close()
				}
			}()
			s, err := e.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
		}
		e.Distrust()
		if why := e.Reason(); e.Turned() || why != "what is sent does not arrive" {
			t.Errorf("turned: %t, since %q", e.Turned(), why)
		}
		dial(3, 1)
		if err := e.Use(false); err != nil || e.Reason() != "" {
			t.Errorf("used again: %v, %q", err, e.Reason())
		}
		dial(3, 2)
		if err := e.Use(true); err != nil || e.Turned() {
			t.Errorf("taken back: %v", err)
		}
		dial(4, 2)
		if asked != 2 {
			t.Errorf("opened %d times", asked)
		}
		closeAll(e, b1, b2)
		if err := e.Use(false); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := e.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting after Close: %v", err)
		}
	})
}
