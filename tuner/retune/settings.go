package retune

import (
	"fmt"
	"time"
)

// Settings is what a job's streams are set to.
type Settings struct {
	// Streams is how many there are, at least 1.
	Streams int
	// CC is their congestion control; "" is the system's own.
	CC string
	// Rate is what all of them together may send, in bytes per second; 0 is no
	// limit.
	Rate int64
}

// Priority is how a job behaves towards others.
type Priority uint8

// The priorities: fair pays a price for each further stream on a full path, bold
// hardly any, and background gives way to everything.
const (
	Fair Priority = iota
	Bold
	Background
)

// Config is what a policy knows from the start.
type Config struct {
	// Start is what the job begins with.
	Start Settings
	// Least and Most bound the number of streams: there are never fewer than
	// Least, and never more than Most or what the priority allows, whichever is
	// less; 0 is no bound. Equal ones pin it.
	Least, Most int
	// CCs are the congestion controls that streams may be given; without bbr
	// among them none is ever changed.
	CCs []string
	// Priority is how the job behaves towards others.
	Priority Priority
	// Limit is what the user allows, in bytes per second; 0 is any.
	Limit int64
	// Capacity is what the path is thought to carry, in bytes of payload per
	// second; 0 is unknown. A wrong one costs little.
	Capacity int64
	// MSS is the payload of a segment in bytes; 0 is 1448.
	MSS int
	// Interval is the least time between looks; 0 is one second. Ten round trips
	// are waited for in any case.
	Interval time.Duration
	// Running says that the streams have carried data for a while, so that slow start
	// need not be waited for.
	Running bool
	// Observe says that nothing shall be changed: decisions tell what would be
	// done.
	Observe bool
}

// Step is what a decision is: a trial begins, or it ends in one of two ways.
type Step uint8

// The steps of a trial, and what is told instead when a policy only observes.
const (
	Try   Step = iota // the settings change, to see what comes of it
	Keep              // it helped: they stay
	Undo              // it did not: they are what they were before
	Would             // they would change if they might
)

// String gives the word.
func (s Step) String() string { return [...]string{"try", "keep", "undo", "would try"}[s] }

// Decision is a change of settings, or that one stays.
type Decision struct {
	// Settings are what shall be from now on; of a decision that says what would
	// be done, they are unchanged.
	Settings
	// From is what was before, To what it is about: a trial's new settings.
	From, To Settings
	// ID is the trial's number; its end has that of its begin.
	ID   int
	At   time.Duration
	Step Step
	// Class is what held the job back.
	Class Class
	// Reason is for people.
	Reason string
	// Before and After are rates in bytes per second; After is 0 while a trial
	// runs.
	Before, After int64
}

// String gives the decision as a line of a log.
func (d Decision) String() string {
	s := fmt.Sprintf("%6.1fs #%d %s %s -> %s (%s): %s; %.1f Mbit/s", d.At.Seconds(), d.ID, d.Step, d.From, d.To, d.Class, d.Reason, float64(d.Before)*8/1e6)
	if d.After > 0 {
		s += fmt.Sprintf(" -> %.1f", float64(d.After)*8/1e6)
	}
	return s
}

// String gives the settings in few words.
func (s Settings) String() string {
	t := fmt.Sprintf("n=%d", s.Streams)
	if s.CC != "" {
		t += " " + s.CC
	}
	if s.Rate > 0 {
		t += fmt.Sprintf(" at most %.1f Mbit/s", float64(s.Rate)*8/1e6)
	}
	return t
}
