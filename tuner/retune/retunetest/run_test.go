package retunetest

import (
	"reflect"
	"testing"
	"time"

	"github.com/gomover/gomover/tuner/retune"
)

// scenario finds one of the table, and makes it shorter.
func scenario(t *testing.T, id string, length time.Duration) Scenario {
	t.Helper()
	for _, s := range Scenarios() {
		if s.ID == id {
			s.Length = length
			return s
		}
	}
	t.Fatalf("there is no scenario %s", id)
	return Scenario{}
}

func mustRun(t *testing.T, s Scenario, seed uint64, p Policy) Result {
	t.Helper()
	r, err := Run(s, seed, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSameSeed: a run follows from its seed, decisions included.
func TestSameSeed(t *testing.T) {
	s := scenario(t, "S05", 20*time.Second)
	a, b, c := mustRun(t, s, 1, retune.New(s.Config())), mustRun(t, s, 1, retune.New(s.Config())), mustRun(t, s, 2, retune.New(s.Config()))
	if !reflect.DeepEqual(a, b) {
		t.Errorf("the same seed moves %d and %d bytes, with %v and %v", a.Bytes, b.Bytes, a.Decisions, b.Decisions)
	}
	if a.Bytes == c.Bytes {
		t.Error("another seed changes nothing")
	}
}

// TestJobs: the modelled job does what its settings say, and its ends are as slow
// as they are told to be.
func TestJobs(t *testing.T) {
	path := Path{Rate: 100 * mbit, RTT: 20 * msec}
	tests := []struct {
		name string
		s    Scenario
		p    Policy
		mbit float64
	}{
		{"link", Scenario{Path: path, Queue: 1}, Fixed{Streams: 4}, 96.5},
		{"rate", Scenario{Path: path, Queue: 1}, Fixed{Streams: 4, Rate: int64(30 * mbit)}, 30},
		{"window", Scenario{Path: Path{Rate: 100 * mbit, RTT: 20 * msec, Window: 50000}, Queue: 1}, Fixed{Streams: 3}, 60},
		{"disk", Scenario{Path: Path{Rate: 100 * mbit, RTT: 20 * msec, Disk: 40 * mbit}, Queue: 1}, Fixed{Streams: 4}, 40},
		{"processors", Scenario{Path: path, CPU: 60 * mbit, Fall: 0.05, Queue: 1}, Fixed{Streams: 8}, 50},
		{"cross traffic", Scenario{Path: Path{Rate: 100 * mbit, RTT: 20 * msec, Cross: 50 * mbit}, Queue: 1}, Fixed{Streams: 4}, 48.3},
	}
	for _, tt := range tests {
		tt.s.Length = 10 * time.Second
		r := mustRun(t, tt.s, 1, tt.p)
		got := r.Between(3*time.Second, 10*time.Second) * 8 / 1e6
		if got < 0.96*tt.mbit || got > 1.04*tt.mbit {
			t.Errorf("%s: %.1f Mbit/s, want %.1f", tt.name, got, tt.mbit)
		}
		if len(r.Rates) != 10 || r.Streams[9] != tt.p.Start().Streams {
			t.Errorf("%s: %d seconds, %v streams", tt.name, len(r.Rates), r.Streams)
		}
	}
}

// TestGuided: within a few scenarios the guided policy comes near the better one
// of some fixed settings, and is back in time after a change. The whole table is
// bench/tuner's.
func TestGuided(t *testing.T) {
	grid := func(s Scenario) (l []retune.Settings) {
		for _, cc := range s.ccs() {
			for _, n := range []int{4, 32} {
				l = append(l, retune.Settings{Streams: n, CC: cc})
			}
		}
		return l
	}
	change := scenario(t, "C04", 40*time.Second)
	change.Changes[0].At = 15 * time.Second
	list := []Scenario{scenario(t, "S07", 30*time.Second), scenario(t, "S09", 20*time.Second), scenario(t, "S10", 30*time.Second), change}
	rows, err := Measure(list, []uint64{1}, grid, Guided)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows[0] {
		r := &rows[0][i]
		if got := r.Median(); got < worst[r.Scenario.ID] {
			t.Errorf("%s: %.3f of the best of a few fixed settings, want %.2f", r.Scenario.ID, got, worst[r.Scenario.ID])
		}
		if got, bound := r.Recovery(); got > bound {
			t.Errorf("%s: back after %v, want %v at most", r.Scenario.ID, got, bound)
		}
	}
}

// worst is what each scenario of TestGuided must reach.
var worst = map[string]float64{"S07": 0.85, "S09": 0.99, "S10": 0.93, "C04": 0.9}

// TestBackground: a job in the background leaves the path to others, and uses it
// when it is alone.
func TestBackground(t *testing.T) {
	s := Scenario{ID: "S21", Path: Path{Rate: 50 * mbit, RTT: 40 * msec}, Queue: 1, Length: 40 * time.Second}
	one := Fixed{Streams: 1, CC: "cubic"}
	alone := mustRun(t, s, 1, one)
	idle := mustRun(t, s, 1, retune.NewYielder(s.Config()))
	const from, to = 20 * time.Second, 40 * time.Second
	if got := idle.Between(from, to) / alone.Between(from, to); got < 0.85 {
		t.Errorf("alone it moves %.2f of what a cubic stream does", got)
	}
	both, err := Compete(s, 1, Entrant{Policy: one}, Entrant{Policy: retune.NewYielder(s.Config()), Start: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if got := both[0].Between(from, to) / alone.Between(from, to); got < 0.95 {
		t.Errorf("beside it a cubic stream keeps %.2f", got)
	}
}

// TestScenarios: each has a name of its own and can be run.
func TestScenarios(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range Scenarios() {
		if s.ID == "" || s.Name == "" || seen[s.ID] {
			t.Errorf("scenario %q, %q", s.ID, s.Name)
		}
		seen[s.ID] = true
		s.Length = time.Second
		if r := mustRun(t, s, 1, Fixed(s.Config().Start)); r.Bytes == 0 {
			t.Errorf("%s moves nothing in a second", s.ID)
		}
	}
	if len(seen) < 24 {
		t.Errorf("there are %d scenarios", len(seen))
	}
}
