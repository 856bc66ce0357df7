package estimate_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/estimate/estimatetest"
)

const (
	mbit = units.Rate(1e6 / 8)
	gbit = units.Rate(1e9 / 8)

	packet = estimatetest.Packet
)

// find runs the trains of one direction over a path.
func find(t testing.TB, p estimatetest.Path, seed uint64) (estimate.Capacity, *estimate.Planner) {
	t.Helper()
	c, pl, err := p.Find(seed)
	if err != nil {
		t.Fatal(err)
	}
	return c, pl
}

// off gives how far a rate is from another, as a share of it.
func off(got, want units.Rate) float64 {
	return math.Abs(float64(got)-float64(want)) / float64(want)
}

// spread gives the median and the 95th percentile.
func spread(s []float64) (p50, p95 float64) {
	slices.Sort(s)
	return s[len(s)/2], s[(len(s)*95+99)/100-1]
}

// TestCapacity is the figure that trains must reach: a median error of at most 3%
// and a 95th percentile of at most 8%, whatever the rate, other traffic, and the
// receiver's adapter.
func TestCapacity(t *testing.T) {
	hard := []struct {
		period time.Duration
		cross  float64
		jitter time.Duration
	}{
		{0, 0, 0},
		{20 * time.Microsecond, 0.25, 0},
		{100 * time.Microsecond, 0.5, 2 * time.Microsecond},
		{100 * time.Microsecond, 0, 0},
		{0, 0.5, 2 * time.Microsecond},
	}
	var all []float64
	for _, r := range []units.Rate{mbit, 10 * mbit, 100 * mbit, gbit, 10 * gbit, 40 * gbit} {
		for _, h := range hard {
			if h.cross > 0 && r > 10*gbit {
				continue // each packet of it would be computed
			}
			p := estimatetest.Path{Rate: r, Cross: units.Rate(h.cross * float64(r)), Delay: 5 * time.Millisecond, Period: h.period, Jitter: h.jitter,
				Send: max(20*gbit, r*5/4)}
			name := fmt.Sprintf("%v, %v, other traffic %.2f, jitter %v", r, h.period, h.cross, h.jitter)
			var errs, frees []float64
			for seed := range seeds {
				c, pl := find(t, p, uint64(seed))
				if c.Verdict != estimate.Measured {
					t.Errorf("%s, seed %d: %v (%s)", name, seed, c.Verdict, c.Why)
					continue
				}
				errs = append(errs, off(c.Rate, r))
				if c.Free != estimate.Unusable {
					frees = append(frees, math.Abs(float64(c.Available)-(1-h.cross)*float64(r))/float64(r))
				}
				if pl.Spent() > 64<<20 {
					t.Errorf("%s: %d bytes are beyond the budget", name, pl.Spent())
				}
			}
			if len(errs) == 0 || len(frees) == 0 {
				t.Errorf("%s: %d capacities and %d available bandwidths", name, len(errs), len(frees))
				continue
			}
			all = append(all, errs...)
			p50, p95 := spread(errs)
			free, _ := spread(frees)
			t.Logf("%s: off by %.1f%%, at most %.1f%%; available by %.1f%% of the capacity", name, 100*p50, 100*p95, 100*free)
			most := 0.20
			if r <= mbit {
				most = 0.30 // the time that trains may last is over after a few packets
			}
			if p50 > 0.03 || p95 > 0.08 || free > most {
				t.Errorf("%s: off by %.1f%%, at most %.1f%%; available by %.1f%%", name, 100*p50, 100*p95, 100*free)
			}
		}
	}
	p50, p95 := spread(all)
	t.Logf("all: off by %.2f%% median, %.2f%% p95", 100*p50, 100*p95)
}

// TestNeverGuesses: with fewer than five batches there is no number.
func TestNeverGuesses(t *testing.T) {
	for _, r := range []units.Rate{100 * mbit, gbit, 10 * gbit} {
		for seed := range uint64(10) {
			// The adapter's period is so long that no train the budget allows has five.
			p := estimatetest.Path{Rate: r, Period: 30 * time.Millisecond, Send: 20 * gbit, Bytes: int64(float64(r) * 0.030), Limit: 10 * r}
			if c, _ := find(t, p, seed); c.Verdict != estimate.Unusable || c.Rate != 0 {
				t.Errorf("rate %v, seed %d: %v %v where there are too few batches", r, seed, c.Verdict, c.Rate)
			}
		}
	}
}

func TestTrainsSayWhatTheyCannot(t *testing.T) {
	tests := []struct {
		name string
		p    estimatetest.Path
		want func(estimate.Capacity) bool
	}{
		{"slow sender", estimatetest.Path{Rate: 10 * gbit, Send: gbit}, func(c estimate.Capacity) bool {
			return c.Verdict == estimate.AtLeast && off(c.Rate, gbit) < 0.05 && c.Free == estimate.AtLeast
		}},
		{"loss behind the link", estimatetest.Path{Rate: gbit, Send: 20 * gbit, Loss: 0.02}, func(c estimate.Capacity) bool {
			return c.Verdict == estimate.Measured && off(c.Rate, gbit) < 0.05
		}},
		{"shallow queue", estimatetest.Path{Rate: gbit, Send: 20 * gbit, Queue: netsim.Limit{Bytes: 60000}}, func(c estimate.Capacity) bool {
			return c.Verdict == estimate.Unusable || off(c.Rate, gbit) < 0.08
		}},
		{"tiny budget", estimatetest.Path{Rate: gbit, Send: 20 * gbit, Bytes: 4 * packet}, func(c estimate.Capacity) bool {
			return c.Verdict == estimate.Unusable && c.Why != ""
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for seed := range uint64(5) {
				if c, _ := find(t, tt.p, seed); !tt.want(c) {
					t.Errorf("seed %d: got %+v", seed, c)
				}
			}
		})
	}
}

// line gives arrivals at a spacing.
func line(n int, gap time.Duration) (a []estimate.Arrival) {
	for i := range n {
		a = append(a, estimate.Arrival{Seq: uint32(i), At: time.Duration(i) * gap})
	}
	return a
}

func TestDispersion(t *testing.T) {
	us := time.Microsecond
	slowing := line(400, 12*us)
	for i := 200; i < 400; i++ {
		slowing[i].At = slowing[199].At + time.Duration(i-199)*60*us
	}
	tests := []struct {
		name    string
		train   estimate.Train
		verdict estimate.Verdict
		rate    units.Rate
	}{
		{"nothing", estimate.Train{}, estimate.Unusable, 0},
		{"no arrivals", estimate.Train{Sent: 100, Size: packet}, estimate.Unusable, 0},
		{"even", estimate.Train{Sent: 100, Size: packet, Arrivals: line(100, 12*us)}, estimate.Measured, gbit},
		{"at one instant", estimate.Train{Sent: 100, Size: packet, Arrivals: line(100, 0)}, estimate.Unusable, 0},
		{"faster than the interface", estimate.Train{Sent: 100, Size: packet, Limit: gbit / 2, Arrivals: line(100, 12*us)}, estimate.Unusable, 0},
		{"faster than sent", estimate.Train{Sent: 100, Size: packet, Took: 10 * time.Millisecond, Arrivals: line(100, 12*us)}, estimate.Unusable, 0},
		{"as fast as sent", estimate.Train{Sent: 100, Size: packet, Took: 99 * 12 * us, Arrivals: line(100, 12*us)}, estimate.AtLeast, gbit},
		{"slowed", estimate.Train{Sent: 400, Size: packet, Arrivals: slowing}, estimate.Measured, gbit / 5},
		{"numbers that were not sent", estimate.Train{Sent: 5, Size: packet, Arrivals: line(100, 12*us)}, estimate.Unusable, 0},
	}
	for _, tt := range tests {
		d := tt.train.Dispersion()
		if d.Verdict != tt.verdict || tt.rate > 0 && off(d.Rate, tt.rate) > 0.01 || tt.rate == 0 && d.Rate != 0 {
			t.Errorf("%s: got %+v, want %v %v", tt.name, d, tt.verdict, tt.rate)
		}
		if d.Verdict == estimate.Unusable && d.Why == "" {
			t.Errorf("%s: no reason", tt.name)
		}
	}
	if d := tests[7].train.Dispersion(); !d.Slowed {
		t.Error("a shaper was not noticed")
	}
}

func TestCombine(t *testing.T) {
	at := func(r units.Rate) estimate.Dispersion {
		return estimate.Dispersion{Verdict: estimate.Measured, Rate: r, SendRate: 20 * gbit}
	}
	c := estimate.Combine([]estimate.Dispersion{at(gbit), at(10 * gbit), at(gbit)})
	if !c.Varies || c.Verdict != estimate.AtLeast || c.Rate != gbit || c.Low != gbit || c.High != 10*gbit {
		t.Errorf("trains on two paths: got %+v", c)
	}
	bad := estimate.Dispersion{Why: "it was too short"}
	if c := estimate.Combine([]estimate.Dispersion{bad, at(gbit), bad}); c.Verdict != estimate.AtLeast || c.Rate != gbit {
		t.Errorf("one usable train of three: got %+v", c)
	}
	slow := estimate.Dispersion{Verdict: estimate.Measured, Rate: gbit / 40, SendRate: gbit, Paced: true}
	if c := estimate.Combine([]estimate.Dispersion{at(gbit), at(gbit), slow}); c.Rate != gbit || c.Free != estimate.Unusable || c.Available != 0 {
		t.Errorf("a paced train that something held up: got %+v", c)
	}
	wire := gbit * 1500 / 1538
	if c := estimate.Combine([]estimate.Dispersion{at(wire), at(wire), at(wire)}); c.Class != "1 Gbit/s" || c.Varies {
		t.Errorf("gigabit Ethernet: got %+v", c)
	}
	if c := estimate.Combine(nil); c.Verdict != estimate.Unusable || c.Why == "" {
		t.Errorf("no trains: got %+v", c)
	}
	if got, want := estimate.BDP(gbit, 100*time.Millisecond), int64(12_500_000); got != want {
		t.Errorf("BDP of 1 Gbit/s and 100 ms: got %d, want %d", got, want)
	}
}

// TestPolicer: what a bucket of tokens lets pass at first is not the path's rate.
func TestPolicer(t *testing.T) {
	for _, size := range []int{50, 100, 200} { // of the bucket, in packets
		const sent, gap = 1600, 12 * time.Microsecond // 1 Gbit/s
		var got []estimate.Arrival
		tokens := float64(size)
		for i := range sent {
			tokens = min(tokens+0.2, float64(size)) // 200 Mbit/s
			if tokens >= 1 {
				tokens--
				got = append(got, estimate.Arrival{Seq: uint32(i), At: time.Duration(i) * gap})
			}
		}
		tr := estimate.Train{Sent: sent, Size: packet, Arrivals: got}
		if d := tr.Dispersion(); d.Verdict != estimate.Measured || !d.Slowed || off(d.Rate, gbit/5) > 0.05 || d.Lost == 0 {
			t.Errorf("a bucket of %d packets: got %+v, want 200 Mbit/s", size, d)
		}
	}
}
