package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/jobs"
)

// knobs takes settings, and refuses one.
type knobs struct{ set []jobs.Setting }

func (k *knobs) Set(l []jobs.Setting) (said []string, err error) {
	for _, s := range l {
		if s.Name == "colour" {
			return nil, errors.New("colour: is none")
		}
		said = append(said, s.Name+" is "+s.Value)
	}
	k.set = append(k.set, l...)
	return said, nil
}

func (k *knobs) Settings() map[string]string {
	return map[string]string{"bwlimit": "off", "streams": "auto"}
}
func (k *knobs) ToggleLimit() {}

// controlHandlers are the commands that ask running jobs, with errors as they are shown.
func controlCommand(env Env, args ...string) (out, errOut string, code int) {
	var o, e bytes.Buffer
	env.Args, env.Stdout, env.Stderr = args, &o, &e
	h := handlers{hosts: map[string]func(context.Context, *Options, []string) error{
		"jobs":   func(ctx context.Context, o *Options, words []string) error { return runJobs(ctx, env, o, words) },
		"ctl":    func(ctx context.Context, o *Options, words []string) error { return runCtl(ctx, env, o, words) },
		"attach": func(ctx context.Context, o *Options, words []string) error { return runAttach(ctx, env, o, words) },
	}}
	code = reportError(&e, dispatch(context.Background(), env, h))
	return o.String(), e.String(), code
}

// TestControlCommands lists, changes and follows a job.
func TestControlCommands(t *testing.T) {
	env, _, _ := testEnv(map[string]string{"GOMOVER_STATE_DIR": t.TempDir()}, nil)
	env.Args = []string{"--bwlimit=5MB", "https://u:secret@h/f", "x y"}
	k := new(knobs)
	v := &view{}
	v.control(env, "abcdefgh", env.Getenv("GOMOVER_STATE_DIR"), k)
	total := int64(1000)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	v.rec.Record(at, events.Progress{DoneBytes: 500, TotalBytes: &total, RateBps: 2e6, ETAms: 90e3, LimitedBy: "network"})
	for _, tt := range []struct {
		args, out, err string
		code           int
	}{
		{"jobs", "abcdefgh  50%  2.00 MB/s  about 1.5 min left  --bwlimit=5MB 'https://u:***@h/f' 'x y'\n", "", 0},
		{"jobs x", "", "gomover: jobs takes no words\n  hint: gomover ctl x\n", 1},
		{"ctl", "", "gomover: ctl: which job?\n  hint: gomover jobs\n", 1},
		{"ctl ab", "abcdefgh  50%  2.00 MB/s  about 1.5 min left  --bwlimit=5MB 'https://u:***@h/f' 'x y'\n  bwlimit=off\n  streams=auto\n", "", 0},
		{"ctl abc bwlimit=1MB pause", "bwlimit is 1MB\npause is \n", "", 0},
		{"ctl abc colour=red", "", "gomover: colour: is none\n", 1},
		{"ctl xyz pause", "", "gomover: job xyz is not running on this machine\n  hint: gomover jobs\n", 1},
		{"attach", "", "gomover: attach: needs one job\n  hint: gomover jobs\n", 1},
	} {
		out, errOut, code := controlCommand(env, strings.Fields(tt.args)...)
		if out != tt.out || errOut != tt.err || code != tt.code {
			t.Errorf("%s: [%d] %q %q", tt.args, code, out, errOut)
		}
	}
	if len(k.set) != 2 || k.set[0] != (jobs.Setting{Name: "bwlimit", Value: "1MB"}) || k.set[1] != (jobs.Setting{Name: "pause"}) {
		t.Errorf("it was set to %+v", k.set)
	}
	out, _, code := controlCommand(env, "jobs", "--json")
	if code != 0 || !strings.HasPrefix(out, `{"job":"abcdefgh","process":`) || !strings.Contains(out, `"done_bytes":500,"total_bytes":1000,"rate_bps":2000000,"eta_ms":90000,"limited_by":"network"`) {
		t.Errorf("[%d] %s", code, out)
	}
	// Those who follow see what happens until the end.
	done := make(chan string)
	go func() {
		out, errOut, code := controlCommand(env, "attach", "abc")
		if code != 0 {
			t.Errorf("attach: [%d] %s", code, errOut)
		}
		done <- out
	}()
	for v.ctl.following.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	v.rec.Record(at, events.Tune{ID: 1, What: "streams", From: 1, To: 2})
	v.rec.Record(at, events.JobEnd{})
	v.ctl.close()
	if got := <-done; strings.Count(got, "\n") != 2 || !strings.Contains(got, `"seq":1,"ev":"tune"`) || !strings.Contains(got, `"ev":"job.end"`) {
		t.Errorf("followed %q", got)
	}
	if out, _, _ := controlCommand(env, "jobs"); out != "no job runs here\n" {
		t.Errorf("after the end there is %q", out)
	}
}
