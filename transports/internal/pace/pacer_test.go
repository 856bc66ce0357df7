package pace

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/units"
)

const (
	mbit units.Rate = 1e6 / 8
	gbit units.Rate = 1e9 / 8
)

func TestQuantum(t *testing.T) {
	for _, tt := range []struct {
		rate   units.Rate
		packet int
		grain  time.Duration
		want   int
	}{
		{1 * mbit, 1472, 0, 1472},
		{11 * mbit, 1472, 0, 1472},
		{24 * mbit, 1472, 0, 2 * 1472},
		{100 * mbit, 1472, 0, 8 * 1472},
		{gbit, 1472, 0, 44 * 1472},
		{100 * gbit, 1472, 0, 44 * 1472},
		{100 * gbit, 8972, 0, 7 * 8972},
		{gbit, 1472, time.Millisecond, 85 * 1472},
		{10 * gbit, 1472, 100 * time.Microsecond, 85 * 1472},
		{0, 1472, 0, 1472},
		{gbit, 0, 0, 44},
		{math.MaxInt64, 1472, time.Hour, math.MaxInt32 / 1472 * 1472},
		{gbit, math.MaxInt32, 0, math.MaxInt32},
	} {
		if got := Quantum(tt.rate, tt.packet, tt.grain); got != tt.want {
			t.Errorf("rate %d, packet %d, grain %v: got %d, want %d", tt.rate, tt.packet, tt.grain, got, tt.want)
		}
	}
}

// TestPacerKeepsTheRate lets a sender wake late, as systems do, and demands the
// rate, and no burst beyond two quanta and a packet.
func TestPacerKeepsTheRate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rate  units.Rate
		late  time.Duration // at most
		span  time.Duration
		share float64 // of the rate that must come out
	}{
		{"slow", mbit, time.Millisecond, 10 * time.Second, 0.999},
		{"fast ethernet", 100 * mbit, time.Millisecond, 10 * time.Second, 0.999},
		{"gigabit", gbit, 400 * time.Microsecond, 10 * time.Second, 0.999},
		// Nearly a million packets.
		{"ten gigabit", 10 * gbit, 100 * time.Microsecond, time.Second, 0.999},
		{"ten gigabit, coarse clock", 10 * gbit, time.Millisecond, time.Second, 0.999},
		{"too late", 100 * mbit, 50 * time.Millisecond, 10 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const packet = 1472
			r := rand.New(rand.NewPCG(1, 1))
			quantum := Quantum(tt.rate, packet, min(tt.late, time.Millisecond))
			var p Pacer
			p.Set(0, tt.rate, quantum, 0)
			var now time.Duration
			var total, burst int
			for now < tt.span {
				burst = 0
				for p.Budget(now) >= packet {
					p.Sent(now, packet)
					burst += packet
				}
				if burst > 2*quantum {
					t.Fatalf("%d bytes at once at %v, the quantum is %d", burst, now, quantum)
				}
				total += burst
				if most := float64(tt.rate)*now.Seconds() + 2*float64(quantum); float64(total) > most {
					t.Fatalf("%d bytes until %v, at most %.0f are due", total, now, most)
				}
				next := p.Next(now)
				if next <= now {
					t.Fatalf("at %v the next moment is %v", now, next)
				}
				now = next + time.Duration(r.Int64N(int64(tt.late)))
			}
			if got := float64(total) / (float64(tt.rate) * now.Seconds()); got < tt.share {
				t.Errorf("%.4f of the rate, want %.4f", got, tt.share)
			}
		})
	}
}

func TestPacer(t *testing.T) {
	var p Pacer
	check := func(now time.Duration, budget int, next time.Duration) {
		t.Helper()
		if got := p.Budget(now); got != budget {
			t.Errorf("at %v: budget %d, want %d", now, got, budget)
		}
		if got := p.Next(now); got != next {
			t.Errorf("at %v: next %v, want %v", now, got, next)
		}
	}
	check(time.Second, math.MaxInt, time.Second)
	p.Sent(time.Second, 1e6)
	now := 2 * time.Second
	p.Set(now, 1e6, 10_000, 0) // a byte lasts a microsecond
	check(now, 10_000, now)
	p.Sent(now, 12_000)
	check(now, -2000, now+12*time.Millisecond)
	check(now+time.Millisecond, -1000, now+12*time.Millisecond)
	check(now, -1000, now+11*time.Millisecond) // back in time: nothing is earned, or taken
	now += 12 * time.Millisecond
	check(now, 10_000, now)
	t.Log("# idle")
	now += time.Second
	check(now, 20_000, now)
	t.Log("# a smaller quantum")
	p.Set(now, 1e6, 5000, 0)
	check(now, 10_000, now)
	t.Log("# debts stay when the rate changes")
	p.Sent(now, 11_000)
	p.Set(now, 2e6, 5000, 0)
	check(now, -1000, now+3*time.Millisecond)
	t.Log("# a rate that takes for ever")
	p.Set(now, 1, math.MaxInt, 0)
	if got := p.Next(now); got < now+math.MaxInt64/4 {
		t.Errorf("next is %v", got)
	}
	t.Log("# no pace")
	p.Set(now, 0, 0, 0)
	check(now, math.MaxInt, now)
	p.Set(now, -5, 0, 0)
	check(now, math.MaxInt, now)
}

// TestPacerDepth wakes a sender late, so that nothing is lost of the rate up to the
// depth, and beyond it is told that something was.
func TestPacerDepth(t *testing.T) {
	const packet, late = 1472, 4 * time.Millisecond
	rate := 100 * mbit
	var p Pacer
	p.Set(0, rate, Quantum(rate, packet, 0), Depth(rate, 20*time.Millisecond))
	total, now := 0, time.Duration(0)
	for now = 0; now < time.Second; now += late {
		for p.Budget(now) >= packet {
			p.Sent(now, packet)
			total += packet
		}
	}
	if got := float64(total) / (float64(rate) * now.Seconds()); got < 0.99 || got > 1.01 || p.Overrun() {
		t.Errorf("%.3f of the rate, and some was lost: %v", got, p.Overrun())
	}
	if got := p.Budget(now + time.Minute); got != Depth(rate, 20*time.Millisecond) || !p.Overrun() || p.Overrun() {
		t.Errorf("a budget of %d after a minute", got)
	}
	for _, tt := range []struct {
		rtt  time.Duration
		want int
	}{{0, 0}, {4 * time.Millisecond, 12_500}, {time.Second, 125_000}} {
		if got := Depth(rate, tt.rtt); got != tt.want {
			t.Errorf("RTT %v: a depth of %d, want %d", tt.rtt, got, tt.want)
		}
	}
}
