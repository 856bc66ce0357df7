package mover

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/wire"
)

// TestAgain holds what is tried once more, and after which pause.
func TestAgain(t *testing.T) {
	fail := func(c wire.Class) error { return wire.Failf(c, "why") }
	ssh := func(k sshboot.Kind) error { return &sshboot.Error{Kind: k} }
	const wait = time.Second
	tests := map[string]struct {
		err                   error
		started, moved, began bool
		pause                 time.Duration
		want                  bool
	}{
		"first login":              {err: ssh(sshboot.Unreachable)},
		"lost":                     {err: fail(wire.ClassLost), started: true, pause: wait, want: true},
		"login lost later":         {err: ssh(sshboot.Unreachable), started: true, pause: wait, want: true},
		"host key changed later":   {err: ssh(sshboot.HostKeyChanged), started: true},
		"too small from the start": {err: fail(wire.ClassSpace), started: true, moved: true},
		"filled up meanwhile":      {err: fail(wire.ClassSpace), started: true, moved: true, began: true, pause: spaceWait, want: true},
		"another run's lock":       {err: fail(wire.ClassBusy), started: true, pause: wait},
		"our own lock":             {err: fail(wire.ClassBusy), started: true, moved: true, pause: wait, want: true},
		"broken protocol":          {err: fail(wire.ClassProtocol), started: true, moved: true, began: true},
		"anything else":            {err: errors.New("why"), started: true, moved: true, began: true},
	}
	for name, tt := range tests {
		pause, ok := again(tt.err, tt.started, tt.moved, tt.began, wait)
		if ok != tt.want || ok && pause != tt.pause {
			t.Errorf("%s: %v after %v; want %v after %v", name, ok, pause, tt.want, tt.pause)
		}
	}
}

// TestDrop: what was safe before a session that ended early is so after it.
func TestDrop(t *testing.T) {
	const size = 100
	first := engine.Totals{Listed: true, Bytes: size, DoneBytes: 70, Verified: 70, Sent: 75}
	tests := map[string]struct{ second, want engine.Totals }{
		"nothing was told yet":   {engine.Totals{}, engine.Totals{Bytes: size, DoneBytes: 70, Verified: 70, Sent: 75}},
		"only the list is there": {engine.Totals{Listed: true, Bytes: size}, engine.Totals{Listed: true, Bytes: size, DoneBytes: 70, Verified: 70, Sent: 75}},
		"it got further": {engine.Totals{Listed: true, Bytes: size, DoneBytes: 90, Verified: 20, Sent: 20},
			engine.Totals{Listed: true, Bytes: size, DoneBytes: 90, Verified: 90, Sent: 95}},
		"all of what has become less": {engine.Totals{Listed: true, Bytes: 40, DoneBytes: 40}, engine.Totals{Listed: true, Bytes: 40, DoneBytes: 40, Verified: 70, Sent: 75}},
	}
	for name, tt := range tests {
		d := newDirector(&Job{}, events.Discard{})
		for _, c := range []engine.Totals{first, tt.second} {
			d.use(counted{c})
			d.drop()
		}
		if d.totals != tt.want {
			t.Errorf("%s: %+v, want %+v", name, d.totals, tt.want)
		}
	}
}

// TestWaiting does not speak of a lost host when its disk is full.
func TestWaiting(t *testing.T) {
	tests := map[wire.Class]string{
		wire.ClassLost:  "lost h, retry in 2s",
		wire.ClassSpace: "waiting for space, retry in 2s",
	}
	for class, want := range tests {
		if got := waiting(wire.Failf(class, "why"), "h", 2*time.Second); got != want {
			t.Errorf("class %v: %q, want %q", class, got, want)
		}
	}
}

// TestAwaitReady ends waiting for a far end that never becomes ready, and blames
// one that is not understood.
func TestAwaitReady(t *testing.T) {
	tests := map[string]struct {
		say   []byte // nothing: silence
		class wire.Class
		text  string
	}{
		"silence": {nil, wire.ClassLost, "h: nothing was heard for 20ms, before the far end was ready"},
		"empty":   {[]byte{0, 0, 0, 0}, wire.ClassProtocol, "h: the other end broke the protocol: "},
		"no JSON": {[]byte{0, 0, 0, 2, byte(wire.KindReady), '}'}, wire.ClassProtocol, "h: the other end broke the protocol: "},
	}
	for name, tt := range tests {
		near, far := net.Pipe()
		defer far.Close()
		d := &director{job: &Job{Dest: Place{Remote: true, Host: "h"}, GiveUp: time.Minute}}
		if tt.say == nil {
			d.job.GiveUp = 20 * time.Millisecond
		} else {
			go far.Write(tt.say) // the pipe's end is checked by who reads
		}
		var rd ready
		err := d.named(d.awaitReady(framing.New(near), &rd))
		var f *wire.Fail
		if !errors.As(err, &f) || f.Class != tt.class || !strings.HasPrefix(f.Text, tt.text) {
			t.Errorf("%s: %v, want class %v and %q", name, err, tt.class, tt.text)
		}
		near.Close()
	}
}
