package replica

import (
	"fmt"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Share is one source's part in a plan.
type Share struct {
	Source   SourceID
	Name     string
	State    State
	Why      string        // of the state, in words; often empty
	Rate     units.Rate    // bytes per second, seen or else expected
	Measured bool          // the rate was seen lately
	Spread   float64       // standard deviation of the rate over its mean, as seen or as by earlier runs
	Runs     int           // earlier runs that the expected rate is known from
	Start    time.Duration // expected until it can be asked; 0 when it can, or is not known
	Planned  int64         // bytes that are still to come from it
	Asked    int64         // bytes of these that it was asked for
	Stored   int64         // bytes that came from it first and are kept
	Shared   bool          // it stands by since another one has all that both could get
	Failures int           // in a row
	Strikes  int           // wrong blocks
}

// Plan is who delivers what from now on, as the closed form sees it.
type Plan struct {
	Size, Stored int64         // bytes; Stored counts what was there before
	Left         time.Duration // until all is stored; Never when nobody delivers
	Sink         units.Rate    // bytes per second; 0: no limit known
	Limited      bool          // the sink, not the sources, decides how long it takes
	Shares       []Share       // one for each source, by number
}

// Plan gives the present plan. Shares of what is left follow from the rates by
// [Solve]; what a source was asked for already may differ, and is evened out as
// it goes.
func (s *Sched) Plan(now time.Duration) Plan {
	left := s.lacking()
	p := Plan{Size: s.config.Size, Stored: s.config.Size - left, Sink: s.config.Sink}
	loads := make([]Load, len(s.sources))
	sum := 0.0
	for i, c := range s.sources {
		sh := Share{Source: c.id, Name: c.Name, State: c.state, Why: c.why, Rate: units.Rate(c.expected()), Measured: c.meter.trusted(),
			Spread: c.meter.spread(), Runs: c.Runs, Asked: c.left, Stored: c.stored, Shared: c.state == Standby && c.shares != nil, Failures: int(c.streak), Strikes: c.strikes}
		if !sh.Measured {
			sh.Spread = c.Spread
		}
		if c.state == Standby || c.state == Opening {
			sh.Start = c.Start
		}
		switch {
		case c.silent:
			sh.Why = "says nothing"
		case c.held:
			sh.Why = "held back for a moment to see whether it shares a bottleneck"
		}
		p.Shares = append(p.Shares, sh)
		switch c.state {
		case Active:
			loads[i] = Load{max(0, c.due-now), units.Rate(c.rate())}
		case Opening:
			loads[i] = Load{max(0, c.Start-(now-c.opened)) + c.Latency, c.Rate}
		}
		sum += float64(loads[i].Rate)
	}
	p.Limited = p.Sink > 0 && sum > float64(p.Sink)
	var planned []int64
	p.Left, planned = Solve(left, p.Sink, loads)
	for i, n := range planned {
		p.Shares[i].Planned = n
	}
	return p
}

// String explains the plan in words, a line for each source.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s left", units.FormatBytes(p.Size-p.Stored), units.FormatBytes(p.Size))
	switch {
	case p.Stored == p.Size:
	case p.Left == Never:
		b.WriteString(", nobody delivers")
	default:
		fmt.Fprintf(&b, ", all sources done in %s", short(p.Left))
	}
	if p.Limited {
		fmt.Fprintf(&b, ", limited by this end to %s", units.FormatRate(p.Sink, false))
	}
	for _, sh := range p.Shares {
		b.WriteString("\n  " + sh.text(p.Size-p.Stored))
	}
	return b.String()
}

func (sh Share) text(left int64) string {
	t := fmt.Sprintf("%s: %s", sh.Name, sh.State)
	if sh.Planned > 0 && left > 0 {
		t = fmt.Sprintf("%s: %.0f%% of it, %s (%s)", sh.Name, 100*float64(sh.Planned)/float64(left), units.FormatRate(sh.Rate, false), sh.how())
		if sh.State == Opening {
			t += ", connecting"
			if sh.Start > 0 {
				t += ", which takes " + short(sh.Start)
			}
		}
	}
	if sh.Why != "" && (sh.State != Active || sh.Planned == 0) {
		t += ", " + sh.Why
	}
	return t
}

// how says by what a rate is known.
func (sh Share) how() string {
	how := "expected"
	switch {
	case sh.Measured:
		how = "seen"
	case sh.Runs == 1:
		how = "expected by an earlier run"
	case sh.Runs > 1:
		how = fmt.Sprintf("expected by %d earlier runs", sh.Runs)
	}
	if sh.Spread >= 0.1 {
		how += fmt.Sprintf(", varying by %.0f%%", 100*sh.Spread)
	}
	return how
}

// short prints a duration for people.
func short(d time.Duration) string {
	switch {
	case d >= 1000*time.Hour:
		return "ages"
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}
