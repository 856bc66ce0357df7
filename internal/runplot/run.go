package runplot

import (
	"fmt"
	"strings"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/chart"
)

// gap is the time without a word after which nothing is known of what was between.
//
// Unit: seconds. Source: ours; it is well above the usual intervals.
const gap = 120.0

// Run is what is kept of the events of a run, or of several that were written one
// after the other. Not safe for concurrent use.
type Run struct {
	begin         time.Time
	end           float64 // seconds since begin, as all times here
	events        int64
	later         int64 // of a later schema
	strange       int64 // of kinds that are not known
	strangers     []string
	cutOff, ended bool
	starts        int

	version        string
	resumed        bool
	sources, dests []string
	planned        string
	total          int64
	result         events.JobEnd
	warnings       int64
	failures       int64

	confirmed, sent, retrans counter
	streams, rtt             track
	seen                     float64 // time of the last progress
	flowing                  bool    // since then nothing began or ended

	byID           map[streamKey]*stream
	order          []*stream
	streamsLeftOut int64

	byDest, bySource places
	lanes            map[string]*lane
	laneNames        []string
	lost             map[string]bool

	marks     []chart.Mark
	moreMarks int64
}

// streamKey names a stream: numbers are those of one destination.
type streamKey struct {
	dest string
	id   uint32
}

// stream is one data connection.
type stream struct {
	streamKey
	rate, rtt, cwnd track
	retrans         counter
}

func newRun() *Run {
	counts := counter{breaks: gap}
	return &Run{confirmed: counts, sent: counts, retrans: counts, byID: make(map[streamKey]*stream), lanes: make(map[string]*lane),
		lost: make(map[string]bool)}
}

// places are the destinations or sources of a run.
type places struct {
	names   []string
	rates   map[string]*counter
	planned map[string]*track // shares of what is to come; of sources only
}

// count notes how much a place has. Places beyond the bound are left out.
func (p *places) count(t float64, name string, done int64) {
	name = cut(name)
	c := p.rates[name]
	if c == nil {
		if len(p.names) >= maxPlaces {
			return
		}
		if p.rates == nil {
			p.rates = make(map[string]*counter)
		}
		c = &counter{breaks: gap}
		p.rates[name] = c
		p.names = append(p.names, name)
	}
	c.count(t, float64(done))
}

// plan notes which share a place is to give from now on.
func (p *places) plan(t float64, name string, share float64) {
	name = cut(name)
	if p.rates[name] == nil || !(share >= 0 && share <= 1) {
		return
	}
	if p.planned == nil {
		p.planned = make(map[string]*track)
	}
	if p.planned[name] == nil {
		p.planned[name] = &track{}
	}
	p.planned[name].add(t, share, 1)
}

// lane gives the lane of a name, nil beyond the bound.
func (r *Run) lane(name string) *lane {
	name = cut(name)
	if l := r.lanes[name]; l != nil {
		return l
	}
	if len(r.laneNames) >= maxPlaces {
		return nil
	}
	r.laneNames = append(r.laneNames, name)
	r.lanes[name] = &lane{}
	return r.lanes[name]
}

// mark notes a moment. Beyond the bound only those that matter more than others
// take the place of one that does not.
func (r *Run) mark(t float64, label string, s chart.Severity) {
	label = cut(strings.TrimSuffix(strings.TrimSpace(label), ":"))
	if len(r.marks) >= maxMarks {
		r.moreMarks++
		return
	}
	r.marks = append(r.marks, chart.Mark{X: t, Label: label, Severity: s})
}

// Notes says what a reader of the picture should know about what was read: events
// that were left out, and an end that is missing. One sentence each.
func (r *Run) Notes() []string {
	var notes []string
	if r.strange > 0 {
		names := strings.Join(r.strangers, ", ")
		notes = append(notes, fmt.Sprintf("%s of unknown kinds left out: %s", events1(r.strange), names))
	}
	if r.later > 0 {
		notes = append(notes, events1(r.later)+" of a later schema left out")
	}
	if r.cutOff {
		notes = append(notes, "the last line is cut off and left out")
	}
	if !r.ended {
		notes = append(notes, "there is no job.end: the run was killed, or goes on")
	}
	if r.streamsLeftOut > 0 {
		notes = append(notes, fmt.Sprintf("only the first %d streams are shown", maxStreams))
	}
	if r.moreMarks > 0 {
		notes = append(notes, fmt.Sprintf("%d more warnings and decisions are not marked", r.moreMarks))
	}
	return notes
}

// events1 counts events in words.
func events1(n int64) string {
	if n == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", n)
}
