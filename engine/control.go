package engine

import (
	"fmt"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/wire"
)

// Values of Options.Priority and Control.Priority.
const (
	Fair       = "fair"       // also ""
	Bold       = "bold"       // more streams, which cost it hardly anything
	Background = "background" // gives way to everybody
)

// Bounds of what a Control may ask for.
const (
	maxRate   = 1 << 50 // bytes per second
	maxWindow = 1 << 30 // bytes, the largest window of TCP (RFC 7323, section 2.2)
)

// Control changes a job that runs. What is nil stays as it is.
type Control struct {
	// Rate is what all streams together may send, in bytes per second as they are
	// counted on an interface; 0 is no limit.
	Rate *int64 `json:"rate,omitempty"`
	// Streams are how many there are at least and at most; 0 is no bound.
	Streams *[2]int `json:"streams,omitempty"`
	// Window is the socket buffer in bytes of each stream that there is now.
	Window *int `json:"window,omitempty"`
	// Priority is Fair, Bold or Background.
	Priority *string `json:"priority,omitempty"`
	// Paused stops what has not been sent yet, or lets it go on.
	Paused *bool `json:"paused,omitempty"`
	// Known is what a probe tells of the path, instead of what was known before.
	Known *choice.Path `json:"known,omitempty"`
	// Why goes into the events.
	Why string `json:"why,omitempty"`
}

// check refuses what makes no sense; it may have come from the other end.
func (c *Control) check() error {
	switch {
	case c.Rate != nil && (*c.Rate < 0 || *c.Rate > maxRate):
	case c.Streams != nil && (c.Streams[0] < 0 || c.Streams[1] < 0 || c.Streams[0] > maxStreams || c.Streams[1] > maxStreams || c.Streams[1] > 0 && c.Streams[1] < c.Streams[0]):
	case c.Window != nil && (*c.Window <= 0 || *c.Window > maxWindow):
	case c.Priority != nil && !ValidPriority(*c.Priority):
	case c.Known != nil && !c.Known.Sensible():
	case len(c.Why) > wire.MaxText:
	default:
		return nil
	}
	return fmt.Errorf("%w: control out of range", wire.ErrMalformed)
}

// ValidPriority tells whether p is a priority.
func ValidPriority(p string) bool { return p == Fair || p == Bold || p == Background }

// Control changes the job from now on, and tells of it in events. Any goroutine may
// call it, before Run, too. It errs on what is out of range.
func (s *Source) Control(c Control) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Rate != nil {
		_, from := s.limit.rates()
		s.limit.set(*c.Rate)
		s.renew.Store(true)
		select {
		case s.nudge <- struct{}{}:
		default:
		}
		s.tellControl("rate", from, *c.Rate, c.Why)
	}
	if c.Paused != nil {
		from := s.limit.isPaused()
		s.limit.pause(*c.Paused)
		s.renew.Store(true)
		s.tellControl("pause", number(from), number(*c.Paused), c.Why)
	}
	if c.Known != nil {
		s.known.Store(c.Known)
	}
	if c.Priority != nil {
		s.mu.Lock()
		from := s.priority
		s.priority = *c.Priority
		s.mu.Unlock()
		if from != *c.Priority && (from != "" || *c.Priority != Fair) {
			s.restream()
			s.tellControl("priority", rank(from), rank(*c.Priority), c.Why)
		}
	}
	if c.Streams != nil {
		s.mu.Lock()
		s.bounds = *c.Streams
		s.mu.Unlock()
		before := s.streams.goal()
		s.restream()
		s.tellControl("streams", int64(before), int64(s.streams.goal()), c.Why)
	}
	if c.Window != nil {
		for _, ss := range s.streams.list() {
			// A refusal leaves the buffer as it was; the other end has one, too.
			_ = ss.st.Retune(transports.Settings{Window: *c.Window})
		}
		s.tellControl("window", 0, int64(*c.Window), c.Why)
	}
	return nil
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// rank is a priority as a number, for events.
func rank(p string) int64 {
	switch p {
	case Background:
		return -1
	case Bold:
		return 1
	}
	return 0
}

// tellControl says what somebody has changed.
func (s *Source) tellControl(what string, from, to int64, why string) {
	if from == to {
		return
	}
	if why == "" {
		why = "as asked"
	}
	s.emit(events.Tune{ID: s.tuneID(), What: what, From: from, To: to, Reason: why})
}

// tuneID gives the number of the next step of tuning.
func (s *Source) tuneID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tunes++
	return s.tunes
}

// streamBounds is how many streams there may be, at least and at most; 0 is any.
func (s *Source) streamBounds() [2]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bounds
	if s.priority == Background {
		b[1] = backgroundStreams
		b[0] = min(b[0], b[1])
	}
	return b
}

// backgroundStreams is how many streams a job has at most that gives way: each further
// one would take a share of its own.
const backgroundStreams = 2

// restream begins anew with as many streams as there are to be by now.
func (s *Source) restream() {
	s.renew.Store(true)
	if s.streams.goal() == 0 {
		return // it has not begun
	}
	var st transports.Stats
	if l := s.streams.list(); len(l) > 0 {
		st = l[0].st.Stats()
	}
	s.SetStreams(tuner.Initial(s.facts(st)).Streams)
}

// SetStreams changes how many data streams there should be, n >= 1, while the
// job runs. Streams beyond n finish what they carry.
func (s *Source) SetStreams(n int) {
	x := &s.streams
	x.mu.Lock()
	x.target = max(1, n)
	x.mu.Unlock()
	x.poke()
}

// goal is how many streams there are to be; 0 before the first.
func (x *streamSet) goal() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.target
}

// Control passes on what the source is to do, and changes the windows of this end.
// Any goroutine may call it, before Run, too.
func (s *Sink) Control(c Control) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Window != nil {
		s.mu.Lock()
		for _, r := range s.streams {
			_ = r.st.Retune(transports.Settings{Window: *c.Window}) // as at the source
		}
		s.mu.Unlock()
	}
	b, err := wire.AppendJSON(nil, wire.KindControl, c)
	if err != nil {
		return err
	}
	return s.link.Send(b)
}

// isPriority tells whether the job has a priority.
func (s *Source) isPriority(p string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.priority == p
}
