package udt

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports/internal/pace"
)

// busySocket has something new happen while it sends.
type busySocket struct {
	netx.BatchConn
	calls int
	wrote func()
}

func (s *busySocket) WriteBatch(ds []netx.Datagram) (int, error) {
	s.calls++
	s.wrote()
	return len(ds), nil
}

// wakeTimer knows whether it was woken.
type wakeTimer struct {
	pace.Timer
	woken bool
}

func (t *wakeTimer) Wake() {
	t.woken = true
	t.Timer.Wake()
}

// TestFinishEnds: whoever has the turn gets away, however much others do.
func TestFinishEnds(t *testing.T) {
	cfg, err := Config{}.validate()
	if err != nil {
		t.Fatal(err)
	}
	socket := &busySocket{}
	timer := &wakeTimer{Timer: pace.NewTimer(false)}
	e := &Endpoint{
		cfg: cfg, socket: socket, start: time.Now(), timer: timer, turns: make(chan struct{}, 1),
		conns: make(map[uint32]*Conn), meeting: make(map[netip.AddrPort]*Conn), children: make(map[childKey]*Conn),
	}
	e.turn.e = e
	c, err := e.newConn(netip.MustParseAddrPort("192.0.2.1:9"), 1)
	if err != nil {
		t.Fatal(err)
	}
	c.core.dial(e.now(), false)
	e.mu.Lock()
	err = e.addLocked(c)
	e.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	const enough = 100
	socket.wrote = func() {
		if socket.calls < enough {
			c.mu.Lock()
			c.core.reply(appendEmpty(nil, kindKeepAlive, 0, 1))
			c.mu.Unlock()
			e.note(c)
		}
	}
	e.wakeNow(c)
	if socket.calls > 2*finishRounds {
		t.Errorf("it has sent %d times for others", socket.calls)
	}
	if !timer.woken {
		t.Error("the loop has not been woken to go on")
	}
}

// brokenSocket fails for a while, and is closed then.
type brokenSocket struct {
	netx.BatchConn
	until time.Time
	calls int
}

func (s *brokenSocket) ReadBatch([]netx.Datagram) (int, error) {
	s.calls++
	if time.Now().After(s.until) {
		return 0, net.ErrClosed
	}
	return 0, errors.New("out of order")
}

// TestReaderRests: a socket that does nothing but fail costs no processor.
func TestReaderRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		socket := &brokenSocket{until: time.Now().Add(time.Second)}
		e := &Endpoint{
			socket: socket, start: time.Now(), timer: pace.NewTimer(false), turns: make(chan struct{}, 1), quiet: make(chan struct{}),
		}
		e.turn.e = e
		e.read(newBatch(1, 100))
		if most := errorsAtOnce + int(time.Second/errorPause) + 2; socket.calls > most {
			t.Errorf("it was read %d times in a second, want %d at most", socket.calls, most)
		}
	})
}
