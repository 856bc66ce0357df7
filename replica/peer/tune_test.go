package peer_test

import (
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/wire"
)

// streams waits until there are n.
func (p *pair) streams(n int) {
	p.t.Helper()
	for have := -1; have != n; have, _ = p.client.Streams() {
		if p.t.Context().Err() != nil {
			p.t.Fatalf("%d streams, want %d", have, n)
		}
		runtime.Gosched()
	}
}

// TestTune: a server tells how its streams are, does what is asked, and says what it
// cannot do.
func TestTune(t *testing.T) {
	p := newPair(t)
	p.put("f", content(8*block))
	if err := p.client.Dial(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	p.streams(3)
	if err := p.client.Tune(t.Context(), wire.Tune{Every: 1, CC: "bbr", Rate: 1e9}); err != nil {
		t.Fatal(err)
	}
	if err := p.client.Tune(t.Context(), wire.Tune{Way: "udt"}); err == nil || err.Error() != "there is no other way" {
		t.Errorf("another way: %v", err)
	}
	var last int64
	for range 3 {
		m := <-p.client.Gauges()
		if len(m.Streams) != 3 || m.At-last < int64(50*time.Millisecond) || !m.Streams[0].Idle {
			t.Errorf("%d streams after %v: %+v", len(m.Streams), time.Duration(m.At-last), m)
		}
		last = m.At
	}
}

// TestLeave: a stream that is left gives what was asked for, takes nothing new, and is
// closed then.
func TestLeave(t *testing.T) {
	p := newPair(t)
	p.put("f", content(8*block))
	if err := p.client.Dial(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	p.streams(2)
	f := p.open(0, "f")
	var lanes []*peer.Lane
	var bodies []*peer.Body
	for range 2 {
		l, err := f.Lane()
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Range(t.Context(), 0, 4*block, block)
		if err != nil {
			t.Fatal(err)
		}
		lanes, bodies = append(lanes, l), append(bodies, b)
	}
	n := 0
	p.client.Leave(func(peer.Flow) bool { n++; return n == 1 })
	p.client.Sweep() // which waits for what is under way
	if lanes[0].Leaving() == lanes[1].Leaving() {
		t.Error("not one of two is left")
	}
	for range 3 {
		l, err := f.Lane()
		if err != nil || l.Leaving() {
			t.Fatalf("a lane on a stream that is left: %v", err)
		}
		l.Close()
	}
	for i, b := range bodies {
		if got, err := io.ReadAll(b); err != nil || len(got) != 4*block {
			t.Errorf("lane %d: %d bytes, %v", i, len(got), err)
		}
		b.Close()
		lanes[i].Close()
	}
	p.client.Sweep()
	p.streams(1)
	if l := p.client.Flows(); len(l) != 1 || l[0].Leaving {
		t.Errorf("%+v", l)
	}
}
