package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/probe"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/sshboot"
)

func TestReadHosts(t *testing.T) {
	tests := []struct {
		words string
		want  string // USER@HOST:PORT of each; "": refused
	}{
		{"h", "@h:0"}, {"h:", "@h:0"}, {"me@h", "me@h:0"}, {"ssh://me@h:2222", "me@h:2222"}, {"h1 h2:", "@h1:0 @h2:0"}, {"[::1]", "@::1:0"},
		{"", ""}, {"h:/path", ""}, {"./h", ""}, {"-", ""}, {"http://h/x", ""}, {"h ./x", ""}, {"/h", ""},
	}
	for _, tt := range tests {
		list, err := readHosts(Env{}, "probe", strings.Fields(tt.words))
		var got []string
		for _, l := range list {
			got = append(got, l.User+"@"+l.Host+":"+units.ExactSize(int64(l.Port)))
		}
		if err != nil {
			var x *exitError
			if !errors.As(err, &x) || x.Code != exitUsage || len(x.Hints) == 0 {
				t.Errorf("%q: error %v without sense", tt.words, err)
			}
			got = nil
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q: got %q, want %q", tt.words, got, tt.want)
		}
	}
}

func TestProbeText(t *testing.T) {
	way := func(v, free estimate.Verdict) probe.Direction {
		return probe.Direction{BDP: 12_500_000, Capacity: estimate.Capacity{Verdict: v, Why: "why", Rate: units.Rate(1e9 / 8), Available: units.Rate(5e8 / 8), Free: free}}
	}
	yes, no := probe.Reach{OK: true}, probe.Reach{Why: "no answer"}
	rtt := estimate.Delays{N: 20, Min: 100 * time.Millisecond, P50: 101 * time.Millisecond, P95: 102 * time.Millisecond}
	tests := []struct {
		name string
		r    probe.Report
		want []string
	}{
		{"all known", probe.Report{RTT: rtt, Echoes: 20, LossHigh: 0.15, MTU: 1500, Group: probe.Group{Reach: yes, Sent: 10, Heard: 9}, There: way(estimate.Measured, estimate.Measured), Back: way(estimate.AtLeast, estimate.AtLeast), TCPOut: yes, TCPIn: yes, UDPOut: yes},
			[]string{"100 ms at least, 101 ms mostly, 102 ms at most", "none of 20 echoes, so surely less than 15%", "up to 1500 bytes whole",
				"1.00 Gbit/s, 500 Mbit/s of it free, 12.5 MB under way when full", "at least 1.00 Gbit/s, why, 12.5 MB", "TCP both ways, UDP only to there ()", "multicast    to there: 9 of 10 packets to a group arrived"}},
		{"losses", probe.Report{RTT: rtt, Echoes: 20, Lost: 2, LossLow: 0.02, LossHigh: 0.31, Order: estimate.Order{Received: 18, Reordered: 3, Extent: 2}, UDPOut: yes},
			[]string{"2 of 20 echoes, so 2% to 31%; 3 out of order, by up to 2"}},
		{"no UDP", probe.Report{Connect: 30 * time.Millisecond, TCPIn: yes, TCPOut: no, UDPOut: no, Group: probe.Group{Reach: no}},
			[]string{"30 ms, of one TCP handshake", "capacity not known: no UDP", "TCP only from there (no answer), UDP not at all (no answer)", "far end      not known"}},
		{"what the far end says is for terminals", probe.Report{Flags: []string{"\x1b[2J"}}, []string{`\x1b[2J`}},
	}
	for _, tt := range tests {
		got := probeText("far", &mover.Probed{Report: &tt.r})
		for _, w := range tt.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q is not in\n%s", tt.name, w, got)
			}
		}
	}
}

// TestEachHost: a host that fails does not keep the others from their turn, and
// the exit code is that of the worst.
func TestEachHost(t *testing.T) {
	env, _, _ := testEnv(nil, nil)
	var seen []string
	err := eachHost(context.Background(), env, new(Options), "probe", []string{"h1", "h2", "h3"}, func(_ context.Context, j *mover.ProbeJob) error {
		seen = append(seen, j.Host)
		switch j.Host {
		case "h1":
			return &sshboot.Error{Kind: sshboot.NoName, Host: "h1", Text: "has no address"}
		case "h3":
			return &sshboot.Error{Kind: sshboot.CannotExecute, Host: "h3", Text: "cannot run"}
		}
		return nil
	})
	if got := strings.Join(seen, " "); got != "h1 h2 h3" {
		t.Errorf("asked %q", got)
	}
	var out strings.Builder
	if code := reportError(&out, err); code != exitSSH || !strings.Contains(out.String(), "h1") || !strings.Contains(out.String(), "h3") {
		t.Errorf("exit %d:\n%s", code, out.String())
	}
}

// TestHostEvents: what is wrong with the words of a command is an event, once, and the
// end is the last one.
func TestHostEvents(t *testing.T) {
	for _, args := range [][]string{{"probe", "--json"}, {"doctor", "--json"}, {"probe", "--json", "h:/path"}, {"probe", "--json", "--history"}} {
		var out strings.Builder
		env, _, _ := testEnv(nil, nil, args...)
		env.Stdout = &out
		err := dispatch(context.Background(), env, handlers{hosts: map[string]func(context.Context, *Options, []string) error{
			"probe":  func(ctx context.Context, o *Options, words []string) error { return runProbe(ctx, env, o, words) },
			"doctor": func(ctx context.Context, o *Options, words []string) error { return runDoctor(ctx, env, o, words) }}})
		if exitCodeOf(err) != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
		kinds := ""
		for i, l := range jsonRead(t, out.String()) {
			if kinds += l.Ev + " "; l.Seq != int64(i+1) {
				t.Errorf("%q: line %d has number %d", args, i+1, l.Seq)
			}
		}
		if kinds != "error job.end " {
			t.Errorf("%q: events %s", args, kinds)
		}
	}
}

// TestHostSignal: a signal is no error of the host that was being asked, and the end says
// what it was.
func TestHostSignal(t *testing.T) {
	var out strings.Builder
	env, _, _ := testEnv(nil, nil)
	env.Stdout = &out
	o := new(Options)
	o.Output.JSON = "-"
	w, err := newHostWriter(env, o)
	if err != nil {
		t.Fatal(err)
	}
	sig := &signalError{errors.New("ended by interrupt"), exitINT}
	w.failed("h", sig)
	_, x := exitOf(sig, nil, nil)
	if err := w.close(x); err != nil {
		t.Fatal(err)
	}
	if l := jsonRead(t, out.String()); len(l) != 1 || l[0].Ev != "job.end" || !strings.Contains(out.String(), `"reason":"stopped by a signal"`) {
		t.Errorf("events\n%s", out.String())
	}
}
