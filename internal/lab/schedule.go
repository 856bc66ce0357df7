package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Step is one line of a schedule.
type Step struct {
	At    time.Duration // after the start
	Words []string      // a command and its words: set, partition, heal or stats
}

// maxSteps bounds a schedule.
const maxSteps = 100_000

// stepCommands are the commands of a schedule.
var stepCommands = []string{"set", "partition", "heal", "stats"}

// ParseSchedule reads lines of a time and a command, such as
//
//	2.5s set h1.down loss=1%   # from here on
//
// in order of time. Errors name the line; nothing is done then.
func ParseSchedule(r io.Reader) ([]Step, error) {
	var steps []Step
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		at, err := units.ParseDuration(words[0])
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %.40q is not a time such as 2.5s", n, words[0])
		case len(steps) == maxSteps:
			return nil, fmt.Errorf("line %d: a schedule has %d steps at most", n, maxSteps)
		case len(words) == 1:
			return nil, fmt.Errorf("line %d: a command is missing", n)
		case !slices.Contains(stepCommands, words[1]):
			return nil, fmt.Errorf("line %d: %.40q is none of %s", n, words[1], strings.Join(stepCommands, ", "))
		case len(steps) > 0 && at < steps[len(steps)-1].At:
			return nil, fmt.Errorf("line %d: %s is before the line above", n, words[0])
		}
		steps = append(steps, Step{at, words[1:]})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading a schedule: %w", err)
	}
	return steps, nil
}

// Play has each step done at its time, and returns after the last or at the first
// error.
func Play(ctx context.Context, steps []Step, do func(ctx context.Context, words []string) error) error {
	start := time.Now()
	for _, s := range steps {
		timer := time.NewTimer(time.Until(start.Add(s.At)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		if err := do(ctx, s.Words); err != nil {
			return errors.Join(fmt.Errorf("at %v: %s", s.At, strings.Join(s.Words, " ")), err)
		}
	}
	return nil
}
