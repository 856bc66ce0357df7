package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/mover"
)

// runCopy does one copy and shows it.
func runCopy(ctx context.Context, env Env, o *Options, words []string) error {
	plan, err := readWords(env, o, words)
	if err != nil {
		return refused(env, o.Output.JSON, err)
	}
	if len(plan.Dests) > 1 {
		return runFan(ctx, env, o, plan)
	}
	far := plan.Dests[0].Host
	if far == "" {
		far = plan.Sources[0].Host
	}
	if far != "" {
		o = o.ForHost(far)
	}
	if o.Fan.MinDests > 1 {
		return refused(env, o.Output.JSON, usageError(fmt.Sprintf("--min-dests %d: there is one destination", o.Fan.MinDests)))
	}
	o.Net.Limit = o.Net.Limit.Under(o.Fan.LimitEach)
	j, err := newJob(ctx, env, o, plan, "")
	if err != nil {
		return refused(env, o.Output.JSON, err)
	}
	mode := "copy"
	if far == "" {
		mode = "local"
	}
	begin := []events.Event{events.JobStart{Version: version, Argv: withoutSecrets(env.Args), Mode: mode, Sources: shown(j.Sources), Dests: shown([]mover.Place{j.Dest})}}
	if o.Net.Encrypt == "off" && far != "" {
		begin = append(begin, events.Warn{Code: "net.plain", Message: "--encrypt=off: data can be read and changed on its way"})
	}
	return runJob(ctx, env, o, j, begin)
}

// runJob runs a job and shows it, the events begin first.
func runJob(ctx context.Context, env Env, o *Options, j *mover.Job, begin []events.Event) error {
	v, err := newView(env, o, j.ID(), j.StateDir)
	if err != nil {
		return err
	}
	j.Login.Prompt = v.prompter(env)
	j.Controls = mover.NewControls(j)
	v.control(env, j.ID(), j.StateDir, j.Controls)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer v.watchSignals(cancel)()
	for _, e := range begin {
		v.rec.Record(time.Now(), e)
	}
	r, err := mover.Run(ctx, j, v.rec)
	return v.end(env, o, j, &r, err)
}

// refused writes the events of a command that never became a job to where --json
// says, for programs that read nothing else, and returns its error.
func refused(env Env, to string, err error) error {
	var x *exitError
	if !errors.As(err, &x) {
		x = &exitError{Code: exitInternal, Msg: err.Error()}
	}
	w, e := openJSON(env, to)
	if e != nil || w == nil {
		return err // the first error is the one to show
	}
	defer w.Close()
	lines, now := newJSONLines(w, "", false), time.Now()
	lines.Record(now, errorEvent(x))
	lines.Record(now, events.JobEnd{Exit: x.Code, Reason: x.Msg, Dests: []events.DestEnd{}, Sources: []events.SourceEnd{}})
	lines.Close()
	return err
}

// refusedEarly is refused for a command line that could not be read: where its
// events go is looked for in the words themselves.
func refusedEarly(env Env, err error) error {
	var o Options
	for _, a := range env.Args {
		if a == "--" {
			break
		}
		if a == "--json" {
			o.Output.JSON = "-"
		} else if v, ok := strings.CutPrefix(a, "--json="); ok && storeJSON(&o, v) != nil {
			return err // what is wrong with it is this error, or will be the next one
		}
	}
	return refused(env, o.Output.JSON, err)
}

func shown(l []mover.Place) (s []string) {
	for i := range l {
		s = append(s, l[i].Shown)
	}
	return s
}
