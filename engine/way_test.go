package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
)

// stubborn is a stream over TCP that keeps its congestion control.
type stubborn struct{ transports.Stream }

func (stubborn) Retune(transports.Settings) error {
	return fmt.Errorf("changing stream 2: %w", errors.New("congestion control native: not known to this kernel"))
}
func (stubborn) Stats() transports.Stats { return transports.Stats{CC: "cubic", Transport: "tcp"} }

// planOf is what a source plans, and warns of, that has st.
func planOf(t *testing.T, o Options, p Paths, st transports.Stream) *recorder {
	t.Helper()
	a, _ := MemoryLink()
	defer a.Close()
	rec := new(recorder)
	s := NewSource(o, p, a, nil, rec)
	s.tuneStream(st)
	s.tuneStream(st)
	s.streams.m[2] = &sendStream{id: 2, st: st}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.keepStreams(ctx)
	if len(rec.plans) != 1 {
		t.Fatalf("plans %+v", rec.plans)
	}
	return rec
}

// TestRefusedControl: a congestion control that is not to be had is told once, and
// the plan does not claim it.
func TestRefusedControl(t *testing.T) {
	rec := planOf(t, Options{CC: "native"}, Paths{Name: "far", Prefer: "udt", Window: 4 << 20}, stubborn{})
	if p := rec.plans[0]; p.CC != "cubic" || p.Transport != "tcp" || p.WindowBytes != 4<<20 {
		t.Errorf("plan %+v", p)
	}
	var told []string
	for _, w := range rec.warns {
		if w.Code == "net.cc" {
			told = append(told, w.Message)
		}
	}
	want := "congestion control native: not known to this kernel; data connections use cubic"
	if len(told) != 1 || told[0] != want {
		t.Errorf("warned %q, want %q once", told, want)
	}
}

// TestFollowWay: a change is told with what is known of it.
func TestFollowWay(t *testing.T) {
	for _, tt := range []struct{ prefer, before, reason, want string }{
		{"udt", "udt", "", "no data connection over UDP"},
		{"udt", "udt", "refused", "no data connection over UDP (refused)"},
		{"tcp", "udt", "", "it gets through again"},
		{"udt", "tcp", "", ""},
	} {
		a, _ := MemoryLink()
		var rec changes
		s := NewSource(Options{}, Paths{Name: "far", Prefer: tt.prefer, Endpoint: &switcher{reason: tt.reason}}, a, nil, &rec)
		s.streams.m[2] = &sendStream{id: 2, st: stubborn{}}
		if now := s.followWay(tt.before, false); now != "tcp" {
			t.Errorf("after %s: %s", tt.before, now)
		}
		if rec.why != tt.want {
			t.Errorf("from %s, %s preferred: %q, want %q", tt.before, tt.prefer, rec.why, tt.want)
		}
		a.Close()
	}
}

// TestTellBlocked: the warning, and what the plan says of the way not taken, name
// the reason.
func TestTellBlocked(t *testing.T) {
	const none = "no data connection over UDP (something else answers there)"
	rec := planOf(t, Options{}, Paths{Name: "far", Prefer: "udt", Endpoint: &switcher{reason: "something else answers there"}}, stubborn{})
	if alt := rec.plans[0].Alternatives; len(alt) == 0 || alt[0].Transport != "udt" || alt[0].Reason != none {
		t.Errorf("alternatives %+v", alt)
	}
	var told []string
	for _, w := range rec.warns {
		if w.Code == "net.udp" {
			told = append(told, w.Message)
		}
	}
	if len(told) != 1 || told[0] != none+"; sending over TCP instead" {
		t.Errorf("warned %q", told)
	}
}

// changes keeps why the transport was changed.
type changes struct{ why string }

// Record implements events.Recorder.
func (c *changes) Record(_ time.Time, e events.Event) {
	if x, ok := e.(events.Transport); ok {
		c.why = x.Reason
	}
}

// switcher counts how often it was told that the preferred way is no good, and has
// a reason for that.
type switcher struct {
	transports.Endpoint
	told   int
	reason string
}

func (w *switcher) Distrust()      { w.told++ }
func (w *switcher) Reason() string { return w.reason }
func (w *switcher) Use(bool) error { return nil }
func (w *switcher) Turned() bool   { return w.told > 0 }

// closing is a stream that can be closed.
type closing struct{ stubborn }

func (closing) Close() error { return nil }

// TestDistrust: streams that stall before anything of theirs was confirmed are no
// longer made the preferred way; others are.
func TestDistrust(t *testing.T) {
	for _, tt := range []struct {
		name   string
		prefer string
		err    error
		bytes  int64
		ago    time.Duration // when it began, or last had nothing to do
		want   int
	}{
		{"stalled at once", "tcp", errStalled, 0, time.Second, 1},
		{"stalled later", "tcp", errStalled, 1, time.Minute, 0},
		{"broken", "tcp", errors.New("reset"), 0, time.Second, 0},
		{"the other end heard nothing", "tcp", errors.New("reset"), 0, barren, 1},
		{"the other end heard nothing any more", "tcp", errors.New("reset"), 1, barren, 0},
		{"silent", "tcp", fmt.Errorf("sending: %w", os.ErrDeadlineExceeded), 1, time.Second, 1},
		{"another way already", "udt", errStalled, 0, time.Minute, 0},
	} {
		a, _ := MemoryLink()
		e := new(switcher)
		s := NewSource(Options{}, Paths{Name: "far", Prefer: tt.prefer, Endpoint: e}, a, nil, nil)
		ss := &sendStream{id: 2, st: closing{}}
		ss.bytes.Store(tt.bytes)
		ss.moved.Store(time.Now().Add(-tt.ago).UnixNano())
		s.streams.m[2] = ss
		if s.streamDead(ss, tt.err); e.told != tt.want {
			t.Errorf("%s: told %d times, want %d", tt.name, e.told, tt.want)
		}
		a.Close()
	}
}

// TestSinkDistrust: the sink doubts the way of streams that broke without having
// brought anything, though they had time; not of those that merely had nothing to
// bring.
func TestSinkDistrust(t *testing.T) {
	broke := errors.New("nothing was heard of the other end")
	for _, tt := range []struct {
		name   string
		err    error
		frames uint64
		ago    time.Duration
		want   int
	}{
		{"broke early", broke, 0, time.Second, 0},
		{"broke", broke, 0, barren, 1},
		{"broke within a frame", io.ErrUnexpectedEOF, 0, barren, 1},
		{"broke later", broke, 1, time.Minute, 0},
		{"closed", fmt.Errorf("receiving: %w", io.EOF), 0, time.Minute, 0},
	} {
		a, _ := MemoryLink()
		e := new(switcher)
		s := NewSink(Options{}, Paths{Name: "far", Prefer: "tcp", Endpoint: e}, a, Target{}, nil)
		r := &recvStream{id: 2, st: closing{}, began: time.Now().Add(-tt.ago)}
		r.count.Store(tt.frames)
		if s.streamEnded(r, tt.err); e.told != tt.want {
			t.Errorf("%s: told %d times, want %d", tt.name, e.told, tt.want)
		}
		a.Close()
	}
}
