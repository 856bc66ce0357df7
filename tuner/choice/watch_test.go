package choice

import (
	"strings"
	"testing"
	"time"
)

// world is a transfer over TCP on a made path, with another transport to turn to.
type world struct {
	link    float64       // rate
	rtt     time.Duration // least
	queue   time.Duration // that stands
	loss    float64       // of packets, at random
	cc      string
	streams int
	tcp     float64       // rate over TCP; 0: as the model says
	other   float64       // rate over the other one; 0: it does not get through
	ends    time.Duration // when the other one ends; 0: never
	wnd     float64
	held    bool
}

// told is a decision and when it was made.
type told struct {
	Decision
	at time.Duration
}

// run steps a watch through a transfer and gives what it decided.
func (p world) run(w *Watch, length time.Duration) (l []told) {
	const span = 200 * msec
	tcp := p.tcp
	if tcp == 0 {
		tcp = min(p.link, float64(p.streams)*lossRate(p.cc, p.loss, p.rtt))
	}
	trying, opened := false, time.Duration(0)
	moved := false
	lost := 0.0
	for at := span; at <= length; at += span {
		s := Sample{At: at, Span: span, RTT: p.rtt + p.queue, MinRTT: p.rtt, Streams: p.streams, CC: p.cc, Wnd: p.wnd, Held: p.held}
		rate := tcp
		if trying && p.other > 0 && at >= opened && (p.ends == 0 || at < p.ends) {
			s.OtherStreams = udtStreams
			s.Other = int64(p.other * min(1, (at-opened).Seconds()) * span.Seconds())
			rate = min(tcp, p.link-p.other)
		}
		s.Acked = int64(max(0, rate) * span.Seconds())
		s.Segs = s.Acked / mss
		lost += float64(s.Segs) * p.loss
		s.Lost = int64(lost)
		lost -= float64(s.Lost)
		if moved {
			s.Streams = 0
		}
		d := w.Step(s)
		switch d.Action {
		case None:
			continue
		case Try:
			trying, opened = true, at+400*msec
		case Commit:
			moved, trying = true, false
		case Close:
			trying = false
		}
		l = append(l, told{d, at})
	}
	return l
}

// TestWatch: what does not help is undone, what does is kept, and where nothing is
// wrong nothing is tried.
func TestWatch(t *testing.T) {
	lossy := world{link: gbit, rtt: 100 * msec, loss: 1e-3, cc: "cubic", streams: 12, other: 0.9 * gbit}
	change := func(f func(*world)) world {
		w := lossy
		f(&w)
		return w
	}
	for _, tt := range []struct {
		name  string
		world world
		watch Watch
		want  string        // actions
		last  time.Duration // the last one by then
		words string        // in a reason
	}{
		{"losses", lossy, Watch{Permitted: []string{UDT}}, "try commit", 6 * time.Second, "hold TCP at 6.7 MB/s"},
		{"losses, and little left", lossy, Watch{Permitted: []string{UDT}, Left: 10e6}, "grow", 4 * time.Second, ""},
		{"losses, bbr allowed", lossy, Watch{Permitted: []string{UDT}, Ends: Ends{CCs: []string{"cubic", "bbr"}}}, "grow", 4 * time.Second, ""},
		{"losses, under bbr already", change(func(w *world) { w.cc, w.tcp = "bbr", 0.9*gbit }), Watch{Permitted: []string{UDT}}, "", 0, ""},
		{"losses, UDT not permitted", lossy, Watch{}, "grow", 4 * time.Second, "of segments) hold 12 streams of cubic back"},
		{"losses, UDP blocked", change(func(w *world) { w.other = 0 }), Watch{Permitted: []string{UDT}}, "try close grow", 12 * time.Second, "no data connection over UDT"},
		{"losses, UDP known to be blocked", lossy, Watch{Permitted: []string{UDT}, Known: Path{NoUDP: true}}, "grow", 4 * time.Second, ""},
		{"losses, UDP not faster", change(func(w *world) { w.other = 7e6 }), Watch{Permitted: []string{UDT}}, "try close grow", 12 * time.Second, "UDT moves 7.0 MB/s, TCP alone 6."},
		{"losses, UDP dies during the trial", change(func(w *world) { w.other, w.ends = 8e6, 4*time.Second }), Watch{Permitted: []string{UDT}}, "try close grow", 12 * time.Second, "do not last"},
		{"the queue is full", change(func(w *world) { w.queue = 50 * msec }), Watch{Permitted: []string{UDT}}, "", 0, ""},
		{"the disk holds it back", change(func(w *world) { w.held = true }), Watch{Permitted: []string{UDT}}, "", 0, ""},
		{"clean", change(func(w *world) { w.loss, w.tcp = 0, 0.95*gbit }), Watch{Permitted: []string{UDT}}, "", 0, ""},
		{"windows", change(func(w *world) { w.loss, w.tcp, w.wnd = 0, 0.3*gbit, 0.8 }), Watch{Permitted: []string{UDT}}, "grow", 4 * time.Second, "wait for the receiver window 80% of the time"},
		{"slow for no reason that is seen", change(func(w *world) { w.loss, w.tcp = 0, 0.3*gbit }), Watch{Permitted: []string{UDT}, Known: Path{Free: gbit}}, "try commit", 6 * time.Second,
			"TCP moves 37.5 MB/s, far below the 125.0 predicted"},
		{"slower than known, but not far", change(func(w *world) { w.loss, w.tcp = 0, 0.7*gbit }), Watch{Permitted: []string{UDT}, Known: Path{Free: gbit}}, "", 0, ""},
	} {
		w := tt.watch
		l := tt.world.run(&w, time.Minute)
		var actions, reasons []string
		for _, d := range l {
			actions = append(actions, map[Action]string{Grow: "grow", Try: "try", Commit: "commit", Close: "close"}[d.Action])
			reasons = append(reasons, d.Reason)
		}
		if got := strings.Join(actions, " "); got != tt.want {
			t.Errorf("%s: %s, want %s\n%s", tt.name, got, tt.want, strings.Join(reasons, "\n"))
			continue
		}
		if len(l) > 0 && l[len(l)-1].at > tt.last {
			t.Errorf("%s: %v, want the last one by %v", tt.name, l, tt.last)
		}
		if all := strings.Join(reasons, "\n"); !strings.Contains(all, tt.words) {
			t.Errorf("%s: %q not in\n%s", tt.name, tt.words, all)
		}
	}
}

// TestNotTooOften: a transport that is no better is tried again after ten minutes,
// and three times in all.
func TestNotTooOften(t *testing.T) {
	p := world{link: gbit, rtt: 100 * msec, loss: 1e-3, cc: "cubic", streams: 12, other: 5e6}
	var at []time.Duration
	for _, d := range p.run(&Watch{Permitted: []string{UDT}}, time.Hour) {
		if d.Action == Try {
			at = append(at, d.at)
		}
	}
	if len(at) != tries || at[1]-at[0] < again || at[2]-at[1] < again {
		t.Errorf("tried at %v", at)
	}
}

// TestHeldDuringTrial: a trial in which nothing can be measured ends.
func TestHeldDuringTrial(t *testing.T) {
	p := world{link: gbit, rtt: 100 * msec, loss: 1e-3, cc: "cubic", streams: 12, other: 0.9 * gbit}
	w := &Watch{Permitted: []string{UDT}}
	if l := p.run(w, 1200*msec); len(l) != 1 || l[0].Action != Try {
		t.Fatalf("%v", l)
	}
	for at := 1400 * msec; at < time.Minute; at += 200 * msec {
		if d := w.Step(Sample{At: at, Span: 200 * msec, MinRTT: p.rtt, Streams: 12, OtherStreams: 2, Held: true}); d.Action == Close {
			return
		}
	}
	t.Error("it went on for a minute")
}

// TestBack: what the transfer had moved to is gone; it is not tried again at once.
func TestBack(t *testing.T) {
	p := world{link: gbit, rtt: 100 * msec, loss: 1e-3, cc: "cubic", streams: 12, other: 0.9 * gbit}
	w := &Watch{Permitted: []string{UDT}}
	if l := p.run(w, 10*time.Second); len(l) != 2 || l[1].Action != Commit {
		t.Fatalf("%v", l)
	}
	w.Back(10 * time.Second)
	if l := p.run(w, 9*time.Minute); len(l) != 1 || l[0].Action != Grow {
		t.Errorf("%v", l)
	}
}
