package netsim

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// mustLink makes a link or ends the test.
func mustLink(tb testing.TB, seed uint64, p Params) *Link {
	tb.Helper()
	l, err := NewLink(seed, p)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// mbit gives a rate from megabits per second.
func mbit(n float64) units.Rate { return units.Rate(n * 125e3) }

// near fails unless got is within share of want.
func near(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*math.Abs(want) {
		t.Errorf("%s is %.6g, want %.6g within %g%%", what, got, want, share*100)
	}
}

func TestPerfectLink(t *testing.T) {
	l := mustLink(t, 1, Params{})
	for i := range 10 {
		now := time.Duration(i) * time.Second
		if got, want := l.Offer(now, 1500), (Verdict{Copies: 1, At: now}); got != want {
			t.Errorf("packet %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestRateIsExact(t *testing.T) {
	for _, c := range []struct {
		rate units.Rate
		size int
	}{{mbit(1), 1500}, {mbit(100), 1500}, {mbit(997), 1499}, {1e11, 40}, {333, 7}, {1e12, 1}} {
		l := mustLink(t, 1, Params{Rate: c.rate, Queue: Limit{Bytes: 1 << 40}, Delay: time.Second})
		const n = 3000
		var v Verdict
		for range n {
			if v = l.Offer(0, c.size); v.Cause != Passed {
				t.Fatalf("rate %v: %+v", c.rate, v)
			}
		}
		want := time.Second + time.Duration(float64(n*c.size)*1e9/float64(c.rate))
		if d := v.At - want; d < -1 || d > 1 {
			t.Errorf("%d packets of %d bytes at %v are through at %v, want %v", n, c.size, c.rate, v.At, want)
		}
	}
}

func TestQueueLimit(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit Limit
		want  int // packets of 1000 bytes accepted at once at 1 MB/s
	}{
		{"default", Limit{}, 101},
		{"time", Limit{Time: 10 * time.Millisecond}, 11},
		{"bytes", Limit{Bytes: 10e3}, 10},
		{"nothing", Limit{Bytes: 1}, 1},
	} {
		l := mustLink(t, 1, Params{Rate: 1e6, Queue: c.limit})
		for range 200 {
			l.Offer(0, 1000)
		}
		n := l.Counters()
		if n.Out.Packets != int64(c.want) || n.Drops[DropQueue] != int64(200-c.want) {
			t.Errorf("%s: accepted %d, dropped %d, want %d accepted", c.name, n.Out.Packets, n.Drops[DropQueue], c.want)
		}
		if n.QueueMax != int64(c.want)*1000 || l.QueueBytes(0) != n.QueueMax || l.QueueBytes(time.Second) != 0 {
			t.Errorf("%s: queue %d, later %d, longest %d", c.name, l.QueueBytes(0), l.QueueBytes(time.Second), n.QueueMax)
		}
	}
}

func TestDropPackets(t *testing.T) {
	l := mustLink(t, 1, Params{})
	l.DropPackets(17, 3)
	for i := 1; i <= 20; i++ {
		want := Passed
		if i == 3 || i == 17 {
			want = DropChosen
		}
		if i == 10 {
			l.ResetCounters()
		}
		if got := l.Offer(0, 1).Cause; got != want {
			t.Errorf("packet %d: %v, want %v", i, got, want)
		}
	}
}

// TestMeasuredAsConfigured offers many packets and compares what comes out with
// what was asked for. Counts of random events get three deviations where that
// is more than 1%.
func TestMeasuredAsConfigured(t *testing.T) {
	const n = 1_000_000
	const seed = 42
	const seconds = n * 200e-6 // of Poisson packets, one in 200 us on average: 60 Mbit/s
	for _, c := range []struct {
		name  string
		p     Params
		check func(t *testing.T, l *Link, delays []float64)
	}{
		{"loss", Params{Loss: 0.02}, func(t *testing.T, l *Link, _ []float64) {
			near(t, "loss", float64(l.Counters().Drops[DropLoss])/n, 0.02, 0.015)
		}},
		{"loss per block", Params{Loss: 0.001, LossBlock: 10000}, func(t *testing.T, l *Link, _ []float64) {
			if got := l.Counters().Drops[DropLoss]; got != n/1000 {
				t.Errorf("%d lost, want exactly %d", got, n/1000)
			}
		}},
		{"bursts", Params{Burst: GilbertElliott{Enter: 0.01, Exit: 0.25, Loss: 0.5}}, func(t *testing.T, l *Link, _ []float64) {
			near(t, "loss", float64(l.Counters().Drops[DropBurst])/n, 0.5*0.01/0.26, 0.05)
		}},
		{"corrupt", Params{Corrupt: 0.02}, func(t *testing.T, l *Link, _ []float64) {
			near(t, "share", float64(l.Counters().Corrupted)/n, 0.02, 0.015)
		}},
		{"mangle", Params{Mangle: 0.02}, func(t *testing.T, l *Link, _ []float64) {
			near(t, "share", float64(l.Counters().Mangled)/n, 0.02, 0.015)
		}},
		{"reorder", Params{Reorder: 0.02}, func(t *testing.T, l *Link, delays []float64) {
			near(t, "share", float64(l.Counters().Held)/n, 0.02, 0.015)
			mean, _ := moments(delays)
			near(t, "mean hold", mean, 0.02*1e-3, 0.05)
		}},
		{"duplicate", Params{Duplicate: 0.02}, func(t *testing.T, l *Link, _ []float64) {
			near(t, "share", float64(l.Counters().Duplicated)/n, 0.02, 0.015)
		}},
		{"delay", Params{Delay: 50 * time.Millisecond}, func(t *testing.T, _ *Link, delays []float64) {
			mean, deviation := moments(delays)
			near(t, "mean", mean, 0.05, 1e-9)
			if deviation > 1e-9 {
				t.Errorf("deviation %g", deviation)
			}
		}},
		{"jitter", Params{Delay: 50 * time.Millisecond, Jitter: 2 * time.Millisecond}, func(t *testing.T, _ *Link, delays []float64) {
			mean, deviation := moments(delays)
			near(t, "mean", mean, 0.05, 0.01)
			near(t, "deviation", deviation, 0.002, 0.02)
		}},
		{"cross traffic", Params{Rate: mbit(120), Cross: mbit(30)}, func(t *testing.T, l *Link, delays []float64) {
			// Pollaczek-Khinchine for packets of one size at a load of 3/4:
			// 100 us of sending and 3/4 / (2 * 1/4) times that of waiting.
			mean, _ := moments(delays)
			near(t, "mean", mean, 250e-6, 0.03)
			if n := l.Counters().Dropped(); n != 0 {
				t.Errorf("%d dropped", n)
			}
		}},
		{"overload", Params{Rate: mbit(50)}, func(t *testing.T, l *Link, _ []float64) {
			out := l.Counters().Out.Bytes
			near(t, "rate", float64(out)/(seconds), 50e6/8, 0.01)
		}},
		{"overload by cross traffic", Params{Rate: mbit(60), Cross: mbit(60)}, func(t *testing.T, l *Link, _ []float64) {
			near(t, "rate", float64(l.Counters().Out.Bytes)/(seconds), 30e6/8, 0.02)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := mustLink(t, seed, c.p)
			delays := make([]float64, 0, n)
			var now, last time.Duration
			gaps := rand.New(rand.NewPCG(seed, 0))
			for i := range n {
				now += time.Duration(gaps.ExpFloat64() * 200e3)
				v := l.Offer(now, 1500)
				if v.Cause != Passed {
					continue
				}
				if !v.Held && v.At < last {
					t.Fatalf("packet %d leaves at %v, behind one that leaves at %v", i, v.At, last)
				}
				if !v.Held {
					last = v.At
				}
				delays = append(delays, (v.At - now).Seconds())
			}
			c.check(t, l, delays)
			if t.Failed() {
				t.Logf("seed %d, %+v", seed, l.Counters())
			}
		})
	}
}

func moments(v []float64) (mean, deviation float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		deviation += (x - mean) * (x - mean) / float64(len(v))
	}
	return mean, math.Sqrt(deviation)
}

func TestSet(t *testing.T) {
	l := mustLink(t, 1, Params{Rate: 1e6, Delay: time.Second})
	first := l.Offer(0, 1000)
	if err := l.Set(Params{Rate: 1e6, Loss: 2}); err == nil {
		t.Error("a probability of 2 is accepted")
	}
	if got := l.Params().Delay; got != time.Second {
		t.Errorf("a refused setting has changed the delay to %v", got)
	}
	if err := l.Set(Params{Rate: 2e6}); err != nil {
		t.Fatal(err)
	}
	if got := l.Offer(0, 1000); got.At != first.At {
		t.Errorf("the packet after the change leaves at %v, want %v, behind the one before", got.At, first.At)
	}
	if got, want := l.Offer(2*time.Second, 1000).At, 2*time.Second+500*time.Microsecond; got != want {
		t.Errorf("a packet later leaves at %v, want %v", got, want)
	}
	if err := l.Set(Params{Cut: true}); err != nil {
		t.Fatal(err)
	}
	if got := l.Offer(3*time.Second, 1).Cause; got != DropCut {
		t.Errorf("cut: %v", got)
	}
}

func TestValidate(t *testing.T) {
	for _, p := range []Params{
		{Loss: -0.1}, {Loss: 1.1}, {Loss: math.NaN()}, {Burst: GilbertElliott{Exit: 2}}, {Corrupt: 2}, {Mangle: 2}, {Reorder: 2},
		{Duplicate: 2}, {Rate: -1}, {Rate: 1e12 + 1}, {Cross: -1}, {Delay: -1}, {Delay: 2 * maxDelay}, {Jitter: -1},
		{Queue: Limit{Bytes: -1}}, {Queue: Limit{Time: -1}}, {LossBlock: -1},
	} {
		if _, err := NewLink(1, p); err == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
}

// TestLinksAreIndependent: a feature draws from a generator of its own, so that
// jitter does not change which packets are lost, and names give other seeds.
func TestLinksAreIndependent(t *testing.T) {
	lost := func(seed uint64, p Params) (l []int) {
		link := mustLink(t, seed, p)
		for i := range 10000 {
			if link.Offer(time.Duration(i)*time.Millisecond, 1000).Cause == DropLoss {
				l = append(l, i)
			}
		}
		return l
	}
	a := lost(SeedFor(7, "a"), Params{Loss: 0.01})
	b := lost(SeedFor(7, "a"), Params{Loss: 0.01, Jitter: time.Millisecond, Rate: mbit(100), Cross: mbit(10)})
	c := lost(SeedFor(7, "b"), Params{Loss: 0.01})
	d := lost(SeedFor(8, "a"), Params{Loss: 0.01})
	if len(a) == 0 || !equal(a, b) {
		t.Errorf("jitter and cross traffic change what is lost: %v, %v", a, b)
	}
	if equal(a, c) || equal(a, d) {
		t.Error("another name or run loses the same packets")
	}
}

func equal(a, b []int) bool {
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i, x := range b {
		sum += uint32(x) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func TestDamage(t *testing.T) {
	l := mustLink(t, 1, Params{})
	for n := range 200 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i*i*7 + n)
		}
		flipped, swapped := bytes.Clone(b), bytes.Clone(b)
		l.FlipBit(flipped)
		if n > 0 && checksum(flipped) == checksum(b) {
			t.Errorf("%d bytes: a flipped bit leaves the checksum as it was", n)
		}
		changed := l.SwapBits(swapped)
		if changed == bytes.Equal(swapped, b) || n > 8 && !changed {
			t.Errorf("%d bytes: changed %v, equal %v", n, changed, bytes.Equal(swapped, b))
		}
		if checksum(swapped) != checksum(b) {
			t.Errorf("%d bytes: swapped bits change the checksum", n)
		}
	}
	if l.SwapBits(make([]byte, 100)) {
		t.Error("zeros were changed by swapping")
	}
}

func TestOfferDoesNotAllocate(t *testing.T) {
	l := mustLink(t, 1, rich)
	now := time.Duration(0)
	if n := testing.AllocsPerRun(10000, func() { now += 100 * time.Microsecond; l.Offer(now, 1500) }); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

// rich has everything.
var rich = Params{
	Rate: mbit(200), Queue: Limit{Time: 50 * time.Millisecond}, Delay: 20 * time.Millisecond, Jitter: time.Millisecond,
	Loss: 0.001, Burst: GilbertElliott{Enter: 0.0001, Exit: 0.2, Loss: 0.9}, Corrupt: 0.0001, Mangle: 0.0001,
	Reorder: 0.001, Duplicate: 0.001, Cross: mbit(20),
}

// BenchmarkOffer: an emulator at 10 Gbit/s has 1.2 us per packet for all it does.
func BenchmarkOffer(b *testing.B) {
	for _, c := range []struct {
		name string
		p    Params
	}{{"perfect", Params{}}, {"rate", Params{Rate: mbit(200), Delay: 20 * time.Millisecond, Loss: 0.001}}, {"rich", rich}} {
		b.Run(c.name, func(b *testing.B) {
			l := mustLink(b, 1, c.p)
			now := time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				now += 60 * time.Microsecond
				l.Offer(now, 1500)
			}
		})
	}
}

// Packets longer than the link takes vanish, and count as dropped for that.
func TestLinkMTU(t *testing.T) {
	l, err := NewLink(1, Params{Rate: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mtu, size int
		want      Cause
	}{{0, 9000, Passed}, {1500, 1500, Passed}, {1500, 1501, DropSize}, {9000, 1501, Passed}, {0, 9000, Passed}} {
		l.SetMTU(tt.mtu)
		if got := l.Offer(0, tt.size).Cause; got != tt.want {
			t.Errorf("%d bytes where %d pass: %v, want %v", tt.size, tt.mtu, got, tt.want)
		}
	}
	if c := l.Counters(); c.Drops[DropSize] != 1 || c.Dropped() != 1 {
		t.Errorf("counted: %+v", c)
	}
}
