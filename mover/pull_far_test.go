package mover

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/wire"
)

// A far host that says nothing any more is lost.
func TestFarHostIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := engine.MemoryLink()
		m := newMux(near)
		go m.run()
		e := &farEnd{d: newDirector(&Job{}, nil), m: m, own: m.open(chanOwn), chans: make(map[uint8]bool)}
		began := time.Now()
		heard := make(chan int)
		go func() {
			n := 0
			for {
				msg, err := far.Recv()
				if err != nil {
					heard <- n
					return
				}
				var o farOrder
				if msg[0] != chanOwn || json.Unmarshal(msg[1:], &o) != nil || !o.Alive {
					t.Errorf("told %q", msg)
				}
				if n++; n <= 4 {
					_ = far.Send([]byte{chanOwn}, []byte(`{"totals":{}}`)) // the end is looked at below
				}
			}
		}()
		var f *wire.Fail
		if err := e.Run(t.Context()); !errors.As(err, &f) || f.Class != wire.ClassLost {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took != 4*aliveEvery+farDeafness {
			t.Errorf("lost after %v", took)
		}
		far.Close()
		if n := <-heard; n < 9 {
			t.Errorf("said %d times that it is there", n)
		}
	})
}

// An agent that hears nothing any more ends.
func TestDirectorIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := engine.MemoryLink()
		m := newMux(far)
		go m.run()
		f := &farFetch{m: m, own: m.open(chanOwn)}
		began := time.Now()
		go func() {
			for range 20 {
				time.Sleep(aliveEvery)
				_ = near.Send([]byte{chanOwn}, []byte(`{"alive":true}`)) // the end is looked at below
			}
		}()
		f.listen(newDirector(&Job{}, nil))
		if took := time.Since(began); took != 20*aliveEvery+farSilence {
			t.Errorf("ended after %v", took)
		}
		near.Close()
	})
}

// hungLink is a link to an agent that takes nothing and says nothing.
type hungLink struct {
	sending chan struct{} // gets an element for each message that is sent
	closed  chan struct{}
}

func (l hungLink) Send(...[]byte) error {
	l.sending <- struct{}{}
	<-l.closed
	return io.ErrClosedPipe
}

func (l hungLink) Recv() ([]byte, error) {
	<-l.closed
	return nil, io.EOF
}

func (hungLink) Close() error { return nil }

// A pull into another host ends though one of the hosts it reads from takes nothing any
// more.
func TestFarPullEndsWithHungHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := engine.MemoryLink()
		m := newMux(near)
		go m.run()
		agent := hungLink{make(chan struct{}, 1), make(chan struct{})}
		d := newDirector(&Job{}, nil)
		hosts := newPullHosts(t.Context(), d)
		defer hosts.close()
		hosts.list = []*pullHost{{all: hosts, name: "h"}}
		hosts.open = func(context.Context, *pullHost, *start) (agentLink, error) {
			return agentLink{Link: agent, close: sync.OnceFunc(func() { close(agent.closed) })}, nil
		}
		e := &farEnd{d: d, hosts: hosts, m: m, own: m.open(chanOwn), chans: make(map[uint8]bool)}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			ask, err := json.Marshal(farNews{Open: &farOpen{Chan: chanFirst, Secret: make([]byte, 32)}})
			if err == nil {
				err = far.Send([]byte{chanOwn}, ask)
			}
			if err != nil {
				t.Error(err)
			}
			for {
				msg, err := far.Recv()
				if err != nil {
					return
				}
				var o farOrder
				if msg[0] == chanOwn && json.Unmarshal(msg[1:], &o) == nil && o.Opened != nil {
					_ = far.Send([]byte{chanFirst}, []byte("a message")) // it is waited for below
					<-agent.sending
					cancel()
				}
			}
		}()
		if err := e.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		far.Close()
	})
}
