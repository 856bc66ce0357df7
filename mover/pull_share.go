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

// sourceStates are the states of the sources of the file that is being fetched,
// with what they gave of the files before. None when no file is.
func (d *director) sourceStates() []events.ProgressSource {
	d.mu.Lock()
	e, ok := d.current.(*pullEnd)
	ended := append([]events.SourceEnd(nil), d.sources...)
	d.mu.Unlock()
	if !ok {
		return nil
	}
	e.mu.Lock()
	p, at := e.now, e.at
	e.mu.Unlock()
	if p == nil {
		return nil
	}
	s := p.State()
	places := e.files[at].places
	left := int64(0)
	for i := range s.Places {
		k := indexOf(&ended, places[i].Name)
		ended[k].Bytes += s.Places[i].Bytes
		left += s.Places[i].Planned
	}
	ended = shares(ended)
	out := make([]events.ProgressSource, len(places))
	for i, now := range s.Places {
		sum := ended[indexOf(&ended, places[i].Name)]
		out[i] = events.ProgressSource{Source: sum.Source, DoneBytes: sum.Bytes, Share: sum.Share, RateBps: int64(now.Rate), State: now.State.String()}
		if left > 0 {
			out[i].PlannedShare = float64(now.Planned) / float64(left)
		}
	}
	return out
}
