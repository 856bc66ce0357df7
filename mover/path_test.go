package mover

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/history"
	"github.com/gomover/gomover/probe"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/tuner/choice"
)

// TestPathFact: what a job learns of a path is what the next one begins with, as
// long as it is fresh, makes sense, and proves itself.
func TestPathFact(t *testing.T) {
	now := time.Now()
	plan := func(transport, cc string, streams int) events.Plan {
		return events.Plan{Transport: transport, Streams: streams, CC: cc, RTTms: 100}
	}
	for _, tt := range []struct {
		name   string
		events []events.Event
		rate   float64
		before pathFact
		age    time.Duration
		job    Job
		udt    bool
		want   [2]any // streams and congestion control that it begins with over TCP
	}{
		{"over TCP", []events.Event{plan("tcp", "cubic", 12), events.Tune{What: "streams", From: 12, To: 30}, events.Tune{What: "window", To: 99}}, 1e8, pathFact{}, time.Hour, Job{Spare: true}, false, [2]any{30, "cubic"}},
		{"moved to UDT", []events.Event{plan("tcp", "cubic", 12), events.Transport{To: "udt"}, plan("udt", "bbr", 2)}, 1e8, pathFact{}, time.Hour, Job{Spare: true}, true, [2]any{0, ""}},
		{"moved to UDT, not permitted now", []events.Event{plan("udt", "bbr", 2)}, 1e8, pathFact{}, time.Hour, Job{}, false, [2]any{0, ""}},
		{"and back", []events.Event{plan("udt", "bbr", 2), events.Transport{To: "tcp"}}, 1e8, pathFact{}, time.Hour, Job{Spare: true}, false, [2]any{2, "bbr"}},
		{"inside ssh", []events.Event{plan("ssh", "", 1)}, 1e8, pathFact{}, time.Hour, Job{Spare: true}, false, [2]any{0, ""}},
		{"old", []events.Event{plan("tcp", "cubic", 30)}, 1e8, pathFact{}, 8 * 24 * time.Hour, Job{}, false, [2]any{0, ""}},
		{"pinned", []events.Event{plan("tcp", "cubic", 30)}, 1e8, pathFact{}, time.Hour, Job{Engine: engine.Options{CC: "reno"}}, false, [2]any{0, ""}},
		{"as good as it was", []events.Event{plan("tcp", "bbr", 8)}, 0.9e8, pathFact{Rate: 1e8}, time.Hour, Job{}, false, [2]any{8, "bbr"}},
		{"not as good any more", []events.Event{plan("tcp", "bbr", 8)}, 0.7e8, pathFact{Rate: 1e8}, time.Hour, Job{}, false, [2]any{0, ""}},
		{"nothing learned", nil, 1e8, pathFact{}, time.Hour, Job{}, false, [2]any{0, ""}},
	} {
		j := tt.job
		j.Sources, j.Dest, j.StateDir, j.TCP = []Place{{Path: "x"}}, Place{Remote: true, Host: "far"}, t.TempDir(), true
		l := new(learner)
		for _, e := range tt.events {
			l.Record(now, e)
		}
		err := j.history().Change(j.pair(), now, func(r *history.Record) {
			r.SetFact(pathFactName, history.Fact{At: now, Value: json.RawMessage(`{"transport":"tcp","streams":99,"rtt_ms":1,"rate":1}`)})
			l.learned(tt.rate, tt.before).keep(r, now)
		})
		if err != nil {
			t.Fatal(err)
		}
		got, m := j.begin(now.Add(tt.age))
		before := m.fact
		if e := &got.Engine; got.UDT != tt.udt || e.LastStreams != tt.want[0] || e.LastCC != tt.want[1] {
			t.Errorf("%s: UDT: %t, %d streams of %q, want %t, %v", tt.name, got.UDT, e.LastStreams, e.LastCC, tt.udt, tt.want)
		}
		if used := tt.udt || tt.want[0] != 0; (before.Rate > 0) != used {
			t.Errorf("%s: begins with %+v", tt.name, before)
		}
	}
}

// TestPathFactNonsense: what is in the file is not believed.
func TestPathFactNonsense(t *testing.T) {
	now := time.Now()
	for _, text := range []string{
		`{}`, `[]`, `{"transport":"tcp","streams":-1,"rtt_ms":100,"rate":1}`, `{"transport":"tcp","streams":100000,"rtt_ms":100,"rate":1}`,
		`{"transport":"pigeon","streams":1,"rtt_ms":100,"rate":1}`, `{"transport":"tcp","streams":1,"rtt_ms":1e300,"rate":1}`,
		`{"transport":"tcp","streams":1,"rtt_ms":1,"rate":0}`, `{"transport":"tcp","streams":1,"rtt_ms":1,"rate":1,"cc":"a name that no kernel has for anything"}`,
	} {
		r := history.Record{Facts: map[string]history.Fact{pathFactName: {At: now, Value: json.RawMessage(text)}}}
		if f, ok := pathFactOf(&r, now); ok {
			t.Errorf("%s: %+v", text, f)
		}
	}
}

// TestProbeFact: what a probe told is what the models hear of the path, for a week.
func TestProbeFact(t *testing.T) {
	now := time.Now()
	j := Job{Sources: []Place{{Path: "x"}}, Dest: Place{Remote: true, Host: "far"}, StateDir: t.TempDir(), TCP: true}
	j.keepProbe(probeFactOf(&probe.Report{Connect: 90 * time.Millisecond}, &probe.Direction{Capacity: estimate.Capacity{Verdict: estimate.Measured, Rate: 125e6}}))
	want := choice.Path{RTT: 90 * time.Millisecond, Free: 125e6 * payloadShare, NoUDP: true}
	for _, tt := range []struct {
		name   string
		age    time.Duration
		probe  string
		want   choice.Path
		weight float64 // about
	}{
		{"new", 0, "", want, 1},
		{"two days old", 48 * time.Hour, "", want, 0.82},
		{"a week and a day old", 8 * 24 * time.Hour, "", choice.Path{}, 0},
		{"switched off", 0, ProbeOff, choice.Path{}, 0},
	} {
		k := j
		k.Probe = tt.probe
		_, m := k.begin(now.Add(tt.age))
		if m.path() != tt.want || math.Abs(m.weight-tt.weight) > 0.01 || m.weight > 0 && (m.age-tt.age).Abs() > time.Minute {
			t.Errorf("%s: %+v that counts %.2f and is %v old, want %+v, %.2f", tt.name, m.path(), m.weight, m.age, tt.want, tt.weight)
		}
	}
}

// TestProbeFactNonsense: what is in the file, or comes from the other end, is not
// believed beyond what can be.
func TestProbeFactNonsense(t *testing.T) {
	now := time.Now()
	for _, text := range []string{
		`{}`, `[]`, `{"rtt_ms":-1}`, `{"rtt_ms":1e300}`, `{"rtt_ms":1e-300,"udp":false}`, `{"rtt_ms":10,"capacity":1e300,"free":1}`,
		`{"rtt_ms":10,"capacity":-1}`, `{"rtt_ms":10,"free":1e300}`, `{"rtt_ms":10,"mtu":-5}`, `{"rtt_ms":10,"mtu":1000000}`,
	} {
		r := history.Record{Facts: map[string]history.Fact{probeFactName: {At: now, Value: json.RawMessage(text)}}}
		if e, ok := KnownPath("a", "b", &r, now); ok {
			t.Errorf("%s: %+v", text, e)
		}
	}
}
