package mover

import (
	"strings"
	"time"

	"github.com/gomover/gomover/replica/pull"
)

// Constants of what is said to hold a pull back. Ours.
const (
	// lookEvery is over which time that is looked at.
	lookEvery = time.Second
	// mostlySpent is the share of the connections' time from which what they spend it on is
	// what holds them back.
	mostlySpent = 0.4
	// halfOfRates is the share of all rates from which sources decide.
	halfOfRates = 0.5
)

// pullLimit says what holds a pull back, by what its connections spend their time on and
// by what its hosts tell. It belongs to who holds the lock of the end.
type pullLimit struct {
	of     *pull.Pull
	at     time.Time
	spent  pull.Spent
	by     string // a word of events.Progress
	detail string
}

// look takes the state of a pull. held is what holds each place back that is read from a
// host, as far as that is known.
func (l *pullLimit) look(now time.Time, p *pull.Pull, s *pull.State, held []string, names []string) {
	if l.of != p {
		*l = pullLimit{of: p, at: now, spent: s.Spent, by: "unknown"}
		return
	}
	if now.Sub(l.at) < lookEvery {
		return
	}
	did := s.Spent.Since(l.spent)
	l.at, l.spent = now, s.Spent
	sum := float64(did.Read + did.Limit + did.Check + did.Write)
	part := func(d time.Duration) bool { return float64(d) > mostlySpent*sum }
	switch {
	case sum <= 0:
		l.by, l.detail = "unknown", ""
	case part(did.Limit):
		l.by, l.detail = "bwlimit", ""
	case part(did.Write):
		l.by, l.detail = heldByTarget, ""
	case part(did.Check):
		l.by, l.detail = "target cpu", ""
	default:
		l.by, l.detail = sourcesLimit(s, held, names)
	}
}

// sourcesLimit says what holds the sources back that give most.
func sourcesLimit(s *pull.State, held []string, names []string) (by, detail string) {
	sum, slow := 0.0, 0.0
	var who, shared []string
	for i, p := range s.Places {
		sum += float64(p.Rate)
		if held[i] == heldBySource {
			slow += float64(p.Rate)
			who = append(who, names[i])
		}
	}
	if slow > halfOfRates*sum {
		return heldBySource, strings.Join(who, ", ")
	}
	for _, sh := range s.Plan.Shares {
		if sh.Shared {
			shared = append(shared, sh.Name)
		}
	}
	if len(shared) > 0 {
		return heldByNetwork, "a bottleneck that " + strings.Join(shared, ", ") + " shares with others"
	}
	return heldByNetwork, ""
}
