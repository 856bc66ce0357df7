package cc

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// near tells whether two numbers differ by at most a share of the second.
func near(got, want, share float64) bool { return math.Abs(got-want) <= share*math.Abs(want) }

// start makes Stats as they are at the beginning of a connection.
func start() *Stats {
	return &Stats{MSS: 1500, MaxWindow: 8192, Seed: 7, RTT: 100 * time.Millisecond, RTTVar: 50 * time.Millisecond}
}

func TestNewKnowsItsNames(t *testing.T) {
	for _, c := range Choices() {
		if !strings.Contains(Names(), c.Name) || c.Text == "" {
			t.Errorf("%s is not among %s, or has no text", c.Name, Names())
		}
		name := strings.Replace(c.Name, "RATE", "800Mbit/s", 1)
		ctl, err := New(name)
		if err != nil {
			t.Errorf("New(%q): %v", name, err)
			continue
		}
		ctl.Init(start())
		checkControl(t, ctl.Control())
	}
	for _, name := range []string{"", "BBR", "blast", "blast=", "blast=fast", "blast=off", "blast=RATE", "vegas"} {
		if _, err := New(name); err == nil {
			t.Errorf("New(%q) gave no error", name)
		}
	}
}

func TestBlastKeepsItsRate(t *testing.T) {
	c, err := New("blast=800Mbit")
	if err != nil {
		t.Fatal(err)
	}
	s := start()
	c.Init(s)
	c.OnLoss(s, &Loss{Ranges: []Range{{0, 99}}, Packets: 100})
	c.OnTimeout(s)
	if got := c.Control(); got.Rate != 100_000_000 || got.Window != 8192 {
		t.Errorf("got %+v, want 100 MB/s and the peer's window", got)
	}
}

func TestGap(t *testing.T) {
	for _, c := range []struct {
		rate  units.Rate
		bytes int
		want  time.Duration
	}{{0, 1500, 0}, {1_500_000, 1500, time.Millisecond}, {1_500_000, 0, 0}, {100, 1500, 15 * time.Second}} {
		if got := (Control{Rate: c.rate}).Gap(c.bytes); got != c.want {
			t.Errorf("gap of %d bytes at %d: got %v, want %v", c.bytes, c.rate, got, c.want)
		}
	}
}

// Table of RFC 3649, appendix B: window, increase, decrease.
func TestHighSpeedResponse(t *testing.T) {
	for _, c := range []struct{ w, gain, loss float64 }{
		{10, 1, 0.5}, {38, 1, 0.5}, {118, 2, 0.44}, {221, 3, 0.41}, {347, 4, 0.38}, {495, 5, 0.37}, {83000, 71, 0.10}, {1e6, 71, 0.10},
	} {
		gain, loss := highSpeed(c.w)
		if !near(gain, c.gain, 0.02) || !near(loss, c.loss, 0.02) {
			t.Errorf("window %.0f: got +%.2f and -%.3f, want +%.0f and -%.2f", c.w, gain, loss, c.gain, c.loss)
		}
	}
}

func TestScalableResponse(t *testing.T) {
	for _, c := range []struct{ w, gain, loss float64 }{{38, 1, 0.5}, {100, 1, 0.125}, {1000, 10, 0.125}} {
		if gain, loss := scalable(c.w); gain != c.gain || loss != c.loss {
			t.Errorf("window %.0f: got +%v and -%v, want +%v and -%v", c.w, gain, loss, c.gain, c.loss)
		}
	}
}

// ack acknowledges n packets of a full window.
func ack(c Controller, s *Stats, n int, rtt time.Duration) {
	w := int64(c.Control().Window)
	s.Acked += int64(n)
	s.Sent = max(s.Sent, s.Acked+w)
	s.InFlight = int(s.Sent - s.Acked)
	s.Delivered += int64(n) * int64(s.MSS)
	c.OnAck(s, &Ack{Packets: n, RTT: rtt})
}

func lose(c Controller, s *Stats, first, last int64) {
	s.Lost += last - first + 1
	c.OnLoss(s, &Loss{Ranges: []Range{{first, last}}, Packets: int(last - first + 1)})
}

func TestRenoStory(t *testing.T) {
	c, s := NewReno(), start()
	c.Init(s)
	steps := []struct {
		name string
		do   func()
		want float64
	}{
		{"it begins with ten packets", func() {}, 10},
		{"slow start adds what is delivered", func() { ack(c, s, 10, s.RTT) }, 20},
		{"a loss halves", func() { lose(c, s, s.Acked, s.Acked+2) }, 10},
		{"another of the same round trip changes nothing", func() { lose(c, s, s.Acked+5, s.Acked+5) }, 10},
		{"nor do acknowledgements before the repair", func() { ack(c, s, 1, s.RTT) }, 10},
		{"a window after it adds one", func() { s.Acked = s.Sent; ack(c, s, 10, s.RTT) }, 11},
		{"an idle sender's window does not grow", func() { s.AppLimited = true; ack(c, s, 11, s.RTT); s.AppLimited = false }, 11},
		{"a timeout begins again", func() { c.OnTimeout(s) }, 2},
		{"up to half of the old window", func() { s.Acked = s.Sent; ack(c, s, 100, s.RTT) }, 5.5 + 96.5/5.5},
		{"never beyond the peer's", func() { s.MaxWindow = 12; ack(c, s, 1, s.RTT) }, 12},
	}
	for _, p := range steps {
		p.do()
		if got := c.Control().Window; !near(got, p.want, 1e-9) {
			t.Errorf("%s: window %v, want %v", p.name, got, p.want)
		}
	}
}

// Numbers follow from RFC 9438, equations 1 and 2.
func TestCUBICStory(t *testing.T) {
	c, s := NewCUBIC(), start()
	c.Init(s)
	c.cwnd, c.ssthresh = 100, 50
	s.Sent = 100
	lose(c, s, 0, 0)
	if c.cwnd != 70 || c.max != 100 {
		t.Fatalf("after a loss: window %v of %v, want 70 of 100", c.cwnd, c.max)
	}
	s.Acked, s.Sent = 100, 170
	ack(c, s, 1, s.RTT)
	if want := math.Cbrt(30 / 0.4); !near(c.k, want, 1e-9) {
		t.Errorf("K is %v s, want %v", c.k, want)
	}
	for _, p := range []struct {
		t    time.Duration
		want float64
	}{{0, 70}, {2 * time.Second, 100 - 0.4*math.Pow(math.Cbrt(75)-2, 3)}, {time.Duration(math.Cbrt(75) * 1e9), 100}, {6 * time.Second, 100 + 0.4*math.Pow(6-math.Cbrt(75), 3)}} {
		if got := c.at(p.t); !near(got, p.want, 1e-6) {
			t.Errorf("at %v: %v, want %v", p.t, got, p.want)
		}
	}
	for i := range 42 { // to K, in round trips of 100 ms
		s.Now = time.Duration(i) * 100 * time.Millisecond
		ack(c, s, int(c.cwnd), s.RTT)
	}
	if !near(c.cwnd, 100, 0.01) {
		t.Errorf("after K: window %v, want about 100", c.cwnd)
	}
	c.cwnd = 90
	lose(c, s, s.Sent, s.Sent)
	if !near(c.max, 90*0.85, 1e-9) || !near(c.cwnd, 63, 1e-9) {
		t.Errorf("after a loss below the last: window %v of %v, want 63 of 76.5", c.cwnd, c.max)
	}
}

func TestLEDBATGain(t *testing.T) {
	for _, p := range []struct {
		base time.Duration
		want float64
	}{{5 * time.Millisecond, 1.0 / 16}, {20 * time.Millisecond, 1.0 / 6}, {120 * time.Millisecond, 1}, {time.Second, 1}} {
		c := NewLEDBAT()
		c.bases[0] = p.base
		if got := c.gain(); !near(got, p.want, 1e-9) {
			t.Errorf("base RTT %v: gain %v, want %v", p.base, got, p.want)
		}
	}
}

func TestHyStartLeavesWhenTheRTTRises(t *testing.T) {
	c, s := NewCUBIC(), start()
	c.Init(s)
	rtt := 40 * time.Millisecond
	for round := 0; c.cwnd < c.ssthresh; round++ {
		if round > 20 {
			t.Fatal("slow start did not end")
		}
		for range 10 {
			ack(c, s, int(c.cwnd)/10+1, rtt)
		}
		if round >= 3 {
			rtt += 6 * time.Millisecond // an eighth is 5
		}
	}
}

// deliver sends packets at one interval and delivers them at another.
func deliver(p *Sampler, packets int, send, arrive, rtt time.Duration) Delivery {
	marks := make([]Mark, packets)
	for i := range marks {
		marks[i] = p.Sent(time.Duration(i)*send, i)
	}
	d := Delivery{}
	for i, m := range marks {
		p.Deliver(rtt+time.Duration(i)*arrive, m, 1500)
		d = p.Sample(0)
	}
	return d
}

func TestSampler(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name         string
		send, arrive time.Duration
		want         float64 // packets per second of 100, 50 ms away
	}{
		{"paced", ms, ms, 100 / 0.149},
		{"bottleneck", 0, 2 * ms, 100 / 0.248},
		{"acknowledgements in a lump", 2 * ms, 0, 100 / 0.198},
	} {
		var p Sampler
		rtt := 50 * ms
		if c.arrive == 0 {
			rtt = 198 * ms // all at once, when the last one was sent
		}
		if got := deliver(&p, 100, c.send, c.arrive, rtt); !near(got.Rate, c.want*1500, 0.01) {
			t.Errorf("%s: %.0f packets/s, want %.0f", c.name, got.Rate/1500, c.want)
		}
	}
	var p Sampler
	p.Starved(0)
	m := p.Sent(0, 0)
	p.Deliver(ms, m, 1500)
	if d := p.Sample(0); !d.AppLimited || d.Rate != 1_500_000 || p.Delivered() != 1500 {
		t.Errorf("starved: %+v, delivered %d", d, p.Delivered())
	}
	if d := p.Sample(0); d.Rate != 0 {
		t.Errorf("nothing delivered: %+v", d)
	}
	m = p.Sent(2*ms, 0)
	p.Deliver(3*ms, m, 1500)
	if d := p.Sample(2 * ms); d.AppLimited || d.Rate != 0 {
		t.Errorf("faster than light: %+v", d)
	}
}

// bbrPath gives a BBR acknowledgements of a path with a rate and an RTT. As much
// more is on the way as the BBR is faster than the path.
func bbrPath(c *BBR, s *Stats, rate float64, rtt, span time.Duration) {
	for end := s.Now + span; s.Now < end; s.Now += 10 * time.Millisecond {
		n := int(rate / 100 / float64(s.MSS))
		s.Acked += int64(n)
		s.InFlight = int(rate * rtt.Seconds() / float64(s.MSS))
		if c.state == bbrProbeRate && float64(c.Control().Rate) > rate {
			s.InFlight += s.InFlight / 4
		}
		s.Sent = s.Acked + int64(s.InFlight)
		prior := s.Delivered - int64(s.InFlight*s.MSS)
		s.Delivered += int64(n * s.MSS)
		c.OnAck(s, &Ack{Packets: n, RTT: rtt, Delivery: Delivery{Rate: rate, Prior: prior}})
	}
}

func TestBBRStory(t *testing.T) {
	c, s := NewBBR(), start()
	c.Init(s)
	if got := c.Control(); !near(float64(got.Rate), 2.885*10*1500/0.1, 0.01) || got.Window != 10 {
		t.Errorf("begin: %+v", got)
	}
	bbrPath(c, s, 15e6, 50*time.Millisecond, time.Second) // 10,000 packets/s: 500 on the path
	if c.state != bbrProbeRate || !near(c.bdp(), 500, 0.01) {
		t.Fatalf("after a second: %v with %v packets, want to probe the rate with 500", c.state, c.bdp())
	}
	if w := c.Control().Window; w < 1000 || w > 1300 {
		t.Errorf("window %v, want twice 500 and what comes at once", w)
	}
	rates := map[string]bool{}
	for range 100 {
		bbrPath(c, s, 15e6, 50*time.Millisecond, 10*time.Millisecond)
		rates[c.Control().Rate.String()] = true
	}
	if len(rates) != 3 {
		t.Errorf("a cycle has the rates %v, want three", rates)
	}
	lose(c, s, s.Acked, s.Acked+5)
	if r := c.model.rate(); r != 15e6 {
		t.Errorf("after a loss: rate %v, want 15e6", r)
	}
	c.OnTimeout(s)
	if got := c.Control(); got.Window != 4 || float64(got.Rate) < 0.7*15e6 {
		t.Errorf("after a timeout: %+v, want 4 packets and the old rate", got)
	}
	probed := false
	for range 1200 {
		bbrPath(c, s, 15e6, 60*time.Millisecond, 10*time.Millisecond)
		probed = probed || c.state == bbrProbeRTT
	}
	if !probed || !near(c.model.minRTT.Seconds(), 0.06, 0.001) {
		t.Errorf("after 12 s at 60 ms: probed %v, min RTT %v", probed, c.model.minRTT)
	}
}

// TestBBRIdles: round trips with too little to send say nothing about the path.
func TestBBRIdles(t *testing.T) {
	const rtt = 50 * time.Millisecond
	c, s := NewBBR(), start()
	c.Init(s)
	bbrPath(c, s, 15e6, rtt, time.Second)
	for range 50 {
		s.Now += rtt
		prior := s.Delivered
		s.Acked++
		s.Delivered += int64(s.MSS)
		s.Sent, s.InFlight, s.AppLimited = s.Acked, 0, true
		c.OnAck(s, &Ack{Packets: 1, RTT: rtt, Delivery: Delivery{Rate: 30e3, Prior: prior, AppLimited: true}})
	}
	if r := c.model.rate(); r != 15e6 {
		t.Errorf("after 50 packets one by one: rate %v, want 15e6", r)
	}
	s.AppLimited = false
	bbrPath(c, s, 3e6, rtt, 2*time.Second)
	if r := c.model.rate(); r != 3e6 {
		t.Errorf("on a path that has become slower: rate %v, want 3e6", r)
	}
}

// TestBBRComesBack: after timeouts one round trip that is answered brings the
// window back.
func TestBBRComesBack(t *testing.T) {
	const rtt = 50 * time.Millisecond
	c, s := NewBBR(), start()
	c.Init(s)
	bbrPath(c, s, 15e6, rtt, time.Second) // 500 packets on the path
	for range 3 {
		s.Now += time.Second
		c.OnTimeout(s)
	}
	if w := c.Control().Window; w != bbrMinWindow {
		t.Errorf("after timeouts: a window of %v packets, want %d", w, bbrMinWindow)
	}
	s.Now += rtt
	prior := s.Delivered
	s.Acked += 4
	s.Delivered += 4 * int64(s.MSS)
	c.OnAck(s, &Ack{Packets: 4, RTT: rtt, Delivery: Delivery{Rate: 120e3, Prior: prior}})
	if w := c.Control().Window; w < 900 {
		t.Errorf("after the path has answered: a window of %v packets, want twice 500", w)
	}
}
