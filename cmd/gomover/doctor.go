package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/mover"
)

// runDoctor is the command doctor.
func runDoctor(ctx context.Context, env Env, o *Options, words []string) error {
	w, err := newHostWriter(env, o)
	if err != nil {
		return err
	}
	err = eachHost(ctx, env, o, "doctor", words, func(ctx context.Context, j *mover.ProbeJob) error {
		checks, err := mover.Doctor(ctx, j)
		for _, c := range checks {
			w.record(events.Check{Host: j.Host, Check: c.Name, State: c.State, Detail: c.Text, Mend: c.Mend})
		}
		if len(checks) > 0 {
			if _, werr := io.WriteString(w.text, doctorText(j.Host, checks)); werr != nil {
				return &exitError{Code: exitDestination, Msg: "standard output: " + werr.Error(), Err: werr}
			}
		}
		w.failed(j.Host, err)
		return err
	})
	return joinFirst(err, w.close(err))
}

// doctorText is a list of checks for people.
func doctorText(name string, checks []mover.Check) string {
	var b strings.Builder
	problems := 0
	b.WriteString(printable(name) + "\n")
	for _, c := range checks {
		state := c.State
		if c.State == mover.CheckUnknown {
			state = "-"
		}
		fmt.Fprintf(&b, "  %-8s %-14s %s\n", state, printable(c.Name), printable(c.Text))
		if c.State == mover.CheckProblem {
			problems++
			fmt.Fprintf(&b, "  %-8s %-14s -> %s\n", "", "", printable(c.Mend))
		}
	}
	switch problems {
	case 0:
		b.WriteString("  nothing stands in the way\n")
	case 1:
		b.WriteString("  1 problem\n")
	default:
		fmt.Fprintf(&b, "  %d problems\n", problems)
	}
	return b.String()
}
