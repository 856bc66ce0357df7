package choice

import (
	"math"
	"testing"
	"time"
)

const (
	gbit = 1e9 / 8
	msec = time.Millisecond
)

// TestModels compares the models with what they come to on paths of all kinds,
// computed by hand from the sources named there: within a tenth.
func TestModels(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rate       float64 // of the link
		rtt        time.Duration
		loss       float64
		cubic, udt float64 // rate of one stream
		needed     int     // streams of cubic that fill the path; 0: too many
	}{
		{"near", 10 * gbit, 200 * time.Microsecond, 1e-7, math.Inf(1), math.Inf(1), 1},
		{"metro", gbit, 20 * msec, 1e-6, math.Inf(1), math.Inf(1), 2},
		{"continent", gbit, 80 * msec, 1e-5, 0.129 * gbit, math.Inf(1), 9},
		{"ocean, fast", 10 * gbit, 100 * msec, 1e-6, 0.687 * gbit, math.Inf(1), 16},
		{"ocean, fast, some loss", 10 * gbit, 100 * msec, 1e-5, 0.122 * gbit, 3.6 * gbit, 86},
		{"ocean", gbit, 100 * msec, 1e-4, 0.0217 * gbit, 0.36 * gbit, 49},
		{"ocean, lossy", gbit, 100 * msec, 1e-3, 0.00447 * gbit, 0.119 * gbit, 0},
		{"long and lossy", 0.1 * gbit, 200 * msec, 1e-2, 0.0007 * gbit, 0.023 * gbit, 0},
		{"satellite", 0.05 * gbit, 600 * msec, 1e-2, 0.00041 * gbit, math.Inf(1), 120},
	} {
		p := Path{RTT: tt.rtt, Free: tt.rate, Loss: tt.loss}
		near := func(what string, got, want float64) {
			t.Helper()
			if want = min(want, tt.rate); math.Abs(math.Log(min(got, tt.rate)/want)) > 0.1 {
				t.Errorf("%s: %s at %.4g Gbit/s, want %.4g", tt.name, what, got/gbit, want/gbit)
			}
		}
		near("cubic", lossRate("cubic", tt.loss, tt.rtt), tt.cubic)
		near("udt", Predict(p, Ends{}, Setting{UDT, "native", 1}, 0).Rate, tt.udt)
		near("bbr", Predict(p, Ends{}, Setting{TCP, "bbr", 1}, 0).Rate, tt.rate*(1-tt.loss))
		if n := p.needed(Ends{}, "cubic"); n != tt.needed {
			t.Errorf("%s: %d streams needed, want %d", tt.name, n, tt.needed)
		}
	}
}

// TestBounds: each bound binds where it is the lowest, and has its name.
func TestBounds(t *testing.T) {
	path := Path{RTT: 100 * msec, Free: gbit}
	lossy := path
	lossy.Loss = 1e-3
	awful := path
	awful.Loss = 0.2
	for _, tt := range []struct {
		name string
		path Path
		ends Ends
		set  Setting
		rate float64
		by   string
	}{
		{"the link", path, Ends{}, Setting{TCP, "cubic", 4}, gbit, ByNetwork},
		{"an unknown link", Path{RTT: 100 * msec}, Ends{}, Setting{TCP, "cubic", 4}, unboundRate, ByNetwork},
		{"no queue", Path{RTT: 100 * msec, Free: gbit, Queue: 1e-9}, Ends{}, Setting{TCP, "reno", 1}, 0.75 * gbit, ByNetwork},
		{"no queue, four", Path{RTT: 100 * msec, Free: gbit, Queue: 1e-9}, Ends{}, Setting{TCP, "reno", 4}, 12.0 / 13 * gbit, ByNetwork},
		{"losses", lossy, Ends{}, Setting{TCP, "reno", 10}, 10 * 1.22 / math.Sqrt(1e-3) * mss / 0.1, ByLoss},
		{"losses, seen to cost less", Path{RTT: 100 * msec, Free: gbit, Loss: 1e-3, Kappa: 2}, Ends{}, Setting{TCP, "reno", 10}, 20 * 1.22 / math.Sqrt(1e-3) * mss / 0.1, ByLoss},
		{"losses, bbr", lossy, Ends{}, Setting{TCP, "bbr", 4}, 0.999 * gbit, ByNetwork},
		{"losses, bbr, too many", awful, Ends{}, Setting{UDT, "bbr", 2}, 2 * lossRate("cubic", 0.2, 100*msec), ByLoss},
		{"windows", path, Ends{Window: 1 << 20}, Setting{TCP, "cubic", 3}, 30 << 20, ByWindow},
		{"windows do not hold UDT", path, Ends{Window: 1 << 20}, Setting{UDT, "bbr", 2}, gbit, ByNetwork},
		{"disk", path, Ends{Disk: 50e6}, Setting{TCP, "cubic", 3}, 50e6, ByDisk},
		{"processors", path, Ends{Cores: 0.05}, Setting{TCP, "cubic", 3}, 50e6, ByCPU},
		{"processors, UDT", path, Ends{Cores: 0.05}, Setting{UDT, "bbr", 2}, 40e6, ByCPU},
		{"ssh, far", path, Ends{}, Setting{SSH, "cubic", 1}, 10 * (2 << 20), ByChannel},
		{"ssh, near", Path{RTT: msec, Free: 10 * gbit}, Ends{}, Setting{SSH, "cubic", 1}, 400e6, ByCPU},
		{"ssh, losses", lossy, Ends{}, Setting{SSH, "cubic", 1}, lossRate("cubic", 1e-3, 100*msec), ByLoss},
	} {
		p := Predict(tt.path, tt.ends, tt.set, 0)
		if math.Abs(p.Rate/tt.rate-1) > 1e-6 || p.By != tt.by {
			t.Errorf("%s: %.4g B/s by %s, want %.4g by %s", tt.name, p.Rate, p.By, tt.rate, tt.by)
		}
	}
}

// TestManyLosses: beyond 2% timeouts make it worse than the square root says.
func TestManyLosses(t *testing.T) {
	// Padhye et al., equation 32 with b = 1: RTT 200 ms, RTO 400 ms, p 0.1.
	want := mss / (0.2*math.Sqrt(0.2/3) + 0.4*min(1, 3*math.Sqrt(0.3/8))*0.1*1.32)
	if got := lossRate("cubic", 0.1, 200*msec); math.Abs(got/want-1) > 1e-9 {
		t.Errorf("%v, want %v", got, want)
	}
	if a, b := lossRate("reno", 0.019, 200*msec), lossRate("reno", 0.021, 200*msec); b > a {
		t.Errorf("more losses, and faster: %v, then %v", a, b)
	}
}

// TestTakes: handshakes and slow start count, and the rest is size over rate.
func TestTakes(t *testing.T) {
	path := Path{RTT: 100 * msec, Free: gbit}
	one := Predict(path, Ends{}, Setting{TCP, "cubic", 1}, 125e6)
	// Two round trips, log2(12.5e6/14480) - 1.44 = 8.31 more, and a second.
	if want := 100*msec*2 + 831*msec + time.Second; (one.Takes - want).Abs() > 5*msec {
		t.Errorf("one stream takes %v, want %v", one.Takes, want)
	}
	if many := Predict(path, Ends{}, Setting{TCP, "cubic", 16}, 125e6); (one.Takes - many.Takes - 400*msec).Abs() > msec {
		t.Errorf("16 streams take %v, one %v: four round trips apart were right", many.Takes, one.Takes)
	}
	if p := Predict(Path{}, Ends{}, Setting{TCP, "cubic", 1}, 1000); p.Takes < 0 || p.Takes > time.Second {
		t.Errorf("nothing known: it takes %v", p.Takes)
	}
	if p := Predict(Path{RTT: time.Hour, Loss: 1, Free: 1}, Ends{Cores: 1e-9}, Setting{TCP, "cubic", 1}, math.MaxInt64); p.Takes <= 0 {
		t.Errorf("the worst path: it takes %v", p.Takes)
	}
}
