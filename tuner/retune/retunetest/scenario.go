package retunetest

import (
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Path is what may change while a scenario runs.
type Path struct {
	Rate   units.Rate    // of the bottleneck, in bytes of packets per second
	RTT    time.Duration // without queues
	Loss   float64       // share of packets lost at random
	Cross  units.Rate    // traffic that does not yield
	Disk   units.Rate    // of the sink; 0 is no limit
	Window int64         // bytes, the most that a stream's buffers allow; 0 is 16 MiB
}

// Scenario is a path and what happens on it.
type Scenario struct {
	ID   string
	Name string // what it is, in few words
	Path
	// Queue is the bottleneck's queue as a multiple of the path's rate times
	// round trip at the start.
	Queue float64
	// CPU is what the sender's processors carry with up to four streams, in
	// bytes per second; each further one costs Fall of it. 0 is no limit.
	CPU  units.Rate
	Fall float64
	// Noise is the standard deviation of ln of a sample's rate.
	Noise float64
	// BBR says that streams may use bbr besides cubic.
	BBR bool
	// Length is how long it runs; 0 is two minutes.
	Length time.Duration
	// Changes happen to the path, in the order of time.
	Changes []Change
}

// Change is what happens to a path at an instant.
type Change struct {
	At  time.Duration
	Set func(*Path)
}

// length is how long the scenario runs.
func (s *Scenario) length() time.Duration {
	if s.Length == 0 {
		return 2 * time.Minute
	}
	return s.Length
}

// The units of the table.
const (
	gbit = units.Rate(1e9 / 8)
	mbit = units.Rate(1e6 / 8)
	msec = time.Millisecond
	mib  = int64(1 << 20)
)

// at makes the one change of most scenarios that have any.
func at(when time.Duration, set func(*Path)) []Change { return []Change{{when, set}} }

// onOff lets cross traffic come and go, first on, every period until the end.
func onOff(period, end time.Duration, rate units.Rate) (l []Change) {
	for t, on := period, true; t < end; t, on = t+period, !on {
		r := units.Rate(0)
		if on {
			r = rate
		}
		l = append(l, Change{t, func(p *Path) { p.Cross = r }})
	}
	return l
}

const change = time.Minute // when most changes come

// Scenarios are paths that a policy has to master: clean and lossy ones, with
// shallow and deep queues, ends that are slower than the network, and changes.
func Scenarios() []Scenario {
	return []Scenario{
		{ID: "S01", Name: "clean", Path: Path{Rate: gbit, RTT: 20 * msec}, Queue: 1, Noise: 0.05},
		{ID: "S02", Name: "clean, shallow queue", Path: Path{Rate: 10 * gbit, RTT: 50 * msec}, Queue: 0.1, Noise: 0.05},
		{ID: "S03", Name: "windows of 16 MiB", Path: Path{Rate: 10 * gbit, RTT: 100 * msec, Window: 16 * mib}, Queue: 0.5, Noise: 0.05},
		{ID: "S04", Name: "windows of 4 MiB", Path: Path{Rate: gbit, RTT: 80 * msec, Window: 4 * mib}, Queue: 1, Noise: 0.05},
		{ID: "S05", Name: "loss 1e-4", Path: Path{Rate: gbit, RTT: 100 * msec, Loss: 1e-4}, Queue: 1, Noise: 0.05},
		{ID: "S06", Name: "loss 1e-3", Path: Path{Rate: gbit, RTT: 100 * msec, Loss: 1e-3}, Queue: 1, Noise: 0.05},
		{ID: "S07", Name: "loss 1e-3, slow and long", Path: Path{Rate: 100 * mbit, RTT: 200 * msec, Loss: 1e-3}, Queue: 1, Noise: 0.05},
		{ID: "S08", Name: "loss 1e-5, fast", Path: Path{Rate: 10 * gbit, RTT: 100 * msec, Loss: 1e-5}, Queue: 0.5, Noise: 0.05},
		{ID: "S09", Name: "sink disk 3 Gbit/s", Path: Path{Rate: 10 * gbit, RTT: 30 * msec, Disk: 3 * gbit}, Queue: 1, Noise: 0.05},
		{ID: "S10", Name: "processors 6 Gbit/s, falling", Path: Path{Rate: 10 * gbit, RTT: 30 * msec}, CPU: 6 * gbit, Fall: 0.02, Queue: 1, Noise: 0.05},
		{ID: "S11", Name: "1 to 0.2 Gbit/s, loss 1e-4", Path: Path{Rate: gbit, RTT: 40 * msec, Loss: 1e-4}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.Rate = gbit / 5 })},
		{ID: "S12", Name: "0.2 to 1 Gbit/s, loss 1e-4", Path: Path{Rate: gbit / 5, RTT: 40 * msec, Loss: 1e-4}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.Rate = gbit })},
		{ID: "S13", Name: "RTT 80 to 200 ms, 4 MiB", Path: Path{Rate: gbit, RTT: 80 * msec, Window: 4 * mib}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.RTT = 200 * msec })},
		{ID: "S14", Name: "loss 1e-6 to 3e-4", Path: Path{Rate: gbit, RTT: 60 * msec, Loss: 1e-6}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.Loss = 3e-4 })},
		{ID: "S15", Name: "cross 0.5 Gbit/s on and off", Path: Path{Rate: gbit, RTT: 40 * msec, Loss: 1e-4}, Queue: 1, Noise: 0.05,
			Changes: onOff(20*time.Second, 2*time.Minute, gbit/2)},
		{ID: "S16", Name: "loss 3e-4, noise 15%", Path: Path{Rate: gbit, RTT: 60 * msec, Loss: 3e-4}, Queue: 0.5, Noise: 0.15},

		{ID: "X01", Name: "bbr allowed, loss 1e-3", Path: Path{Rate: gbit, RTT: 100 * msec, Loss: 1e-3}, Queue: 1, Noise: 0.05, BBR: true},
		{ID: "X02", Name: "bbr allowed, loss 2%, 300 ms", Path: Path{Rate: 100 * mbit, RTT: 300 * msec, Loss: 2e-2}, Queue: 0.5, Noise: 0.05, BBR: true},
		{ID: "X03", Name: "bbr allowed, clean, deep queue", Path: Path{Rate: gbit, RTT: 50 * msec}, Queue: 4, Noise: 0.05, BBR: true},
		{ID: "X04", Name: "RTT 1 ms, clean", Path: Path{Rate: 10 * gbit, RTT: msec}, Queue: 1, Noise: 0.05, Length: 30 * time.Second},
		{ID: "X05", Name: "deep queue, loss 1e-5", Path: Path{Rate: gbit, RTT: 100 * msec, Loss: 1e-5}, Queue: 4, Noise: 0.05},
		{ID: "X06", Name: "shallow queue, slow", Path: Path{Rate: 200 * mbit, RTT: 100 * msec}, Queue: 0.1, Noise: 0.05},
		{ID: "X07", Name: "loss 2%, 20 ms", Path: Path{Rate: 50 * mbit, RTT: 20 * msec, Loss: 2e-2}, Queue: 1, Noise: 0.05},
		{ID: "X08", Name: "windows of 1 MiB, 300 ms", Path: Path{Rate: 500 * mbit, RTT: 300 * msec, Window: mib}, Queue: 0.5, Noise: 0.05},
		{ID: "X09", Name: "sink disk 0.5 of 1 Gbit/s, loss 1e-4", Path: Path{Rate: gbit, RTT: 50 * msec, Loss: 1e-4, Disk: gbit / 2}, Queue: 1, Noise: 0.1},
		{ID: "X10", Name: "RTT 300 ms, loss 1e-5, fast", Path: Path{Rate: 2 * gbit, RTT: 300 * msec, Loss: 1e-5}, Queue: 0.5, Noise: 0.05},

		{ID: "C01", Name: "rate x0.25", Path: Path{Rate: gbit, RTT: 50 * msec}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.Rate /= 4 })},
		{ID: "C02", Name: "rate x4", Path: Path{Rate: gbit / 4, RTT: 50 * msec}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.Rate *= 4 })},
		{ID: "C03", Name: "RTT x3", Path: Path{Rate: gbit, RTT: 50 * msec, Loss: 1e-5}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.RTT *= 3 })},
		{ID: "C04", Name: "loss 0 to 1%, bbr allowed", Path: Path{Rate: 200 * mbit, RTT: 50 * msec}, Queue: 1, Noise: 0.05, BBR: true,
			Changes: at(change, func(p *Path) { p.Loss = 1e-2 })},
		{ID: "C05", Name: "loss 0 to 1%, cubic only", Path: Path{Rate: 50 * mbit, RTT: 50 * msec}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.Loss = 1e-2 })},
		{ID: "C06", Name: "cross 0.5 Gbit/s comes", Path: Path{Rate: gbit, RTT: 50 * msec}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.Cross = gbit / 2 })},
		{ID: "C07", Name: "cross 0.5 Gbit/s goes", Path: Path{Rate: gbit, RTT: 50 * msec, Cross: gbit / 2}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.Cross = 0 })},
		{ID: "C08", Name: "rate x4, loss 3e-4", Path: Path{Rate: gbit / 4, RTT: 50 * msec, Loss: 3e-4}, Queue: 1, Noise: 0.05,
			Changes: at(change, func(p *Path) { p.Rate *= 4 })},
	}
}
