package mover

import (
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/replica/pull"
)

// gave adds up what came from each replica.
func (d *director) gave(places []pull.Place, r pull.Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, p := range r.Places {
		at := indexOf(&d.sources, places[i].Name)
		d.sources[at].Bytes += p.Bytes
	}
}

// indexOf is where a source stands in a list, to which it is added if it is not
// there.
func indexOf(l *[]events.SourceEnd, name string) int {
	for i := range *l {
		if (*l)[i].Source == name {
			return i
		}
	}
	*l = append(*l, events.SourceEnd{Source: name})
	return len(*l) - 1
}

// shares fills in which part of all each replica gave.
func shares(l []events.SourceEnd) []events.SourceEnd {
	sum := int64(0)
	for _, s := range l {
		sum += s.Bytes
	}
	for i := range l {
		if sum > 0 {
			l[i].Share = float64(l[i].Bytes) / float64(sum)
		}
	}
	return l
}

// sharing is an end that fetches from several replicas.
type sharing interface {
	// shared are the replicas that are used now, and how they are; none while none
	// are used.
	shared() (names []string, states []pull.PlaceState)
}

// shared implements sharing.
func (e *pullEnd) shared() (names []string, states []pull.PlaceState) {
	e.mu.Lock()
	p, at := e.now, e.at
	e.mu.Unlock()
	if p == nil {
		return nil, nil
	}
	for _, place := range e.files[at].places {
		names = append(names, place.Name)
	}
	return names, p.State().Places
}

// sourceStates are the states of the sources of what is being fetched, with what they
// gave of the files before. None when nothing is.
func (d *director) sourceStates() []events.ProgressSource {
	d.mu.Lock()
	e, ok := d.current.(sharing)
	ended := append([]events.SourceEnd(nil), d.sources...)
	d.mu.Unlock()
	if !ok {
		return nil
	}
	names, states := e.shared()
	left := int64(0)
	for i := range states {
		k := indexOf(&ended, names[i])
		ended[k].Bytes += states[i].Bytes
		left += states[i].Planned
	}
	ended = shares(ended)
	out := make([]events.ProgressSource, len(states))
	for i, now := range states {
		sum := ended[indexOf(&ended, names[i])]
		out[i] = events.ProgressSource{Source: sum.Source, DoneBytes: sum.Bytes, Share: sum.Share, RateBps: int64(now.Rate), State: now.State.String()}
		if left > 0 {
			out[i].PlannedShare = float64(now.Planned) / float64(left)
		}
	}
	return out
}
