package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
)

// progressSourceMost bounds the sources kept. Ours.
const progressSourceMost = 1024

// sourceState is what a view knows of the sources of a pull. The zero value knows of
// none. Not safe for concurrent use.
type sourceState struct {
	list []progressSource // in the order in which they were heard of first
}

// progressSource is the last word of one source.
type progressSource struct {
	events.ProgressSource
	at time.Time
}

// fold takes the state of one source in.
func (f *sourceState) fold(t time.Time, v events.ProgressSource) {
	i := slices.IndexFunc(f.list, func(s progressSource) bool { return s.Source == v.Source })
	switch {
	case i >= 0:
		f.list[i] = progressSource{v, t}
	case len(f.list) < progressSourceMost:
		f.list = append(f.list, progressSource{v, t})
	}
}

// forget forgets sources that are not heard of any more: those of a file that is
// complete.
func (f *sourceState) forget() {
	var newest time.Time
	for _, s := range f.list {
		if s.at.After(newest) {
			newest = s.at
		}
	}
	f.list = slices.DeleteFunc(f.list, func(s progressSource) bool { return newest.Sub(s.at) > progressStreamTime })
}

// lines gives a line for each of several sources, most lines at most of width columns:
// all in their order, or, where they do not fit, those that gave most, and a count of
// the others.
func (f *sourceState) lines(s viewStyle, width, most int) []string {
	f.forget()
	if most < sourceLeast || len(f.list) < 2 {
		return nil
	}
	show := slices.Clone(f.list)
	rest := 0
	if len(show) > most {
		slices.SortStableFunc(show, func(a, b progressSource) int { return cmp.Compare(b.DoneBytes, a.DoneBytes) })
		rest = len(show) - (most - 1)
		show = show[:most-1]
	}
	names := 0
	for _, v := range show {
		names = max(names, viewWidth(s.name(v.Source)))
	}
	names = min(names, max(8, width/2))
	var lines []string
	for _, v := range show {
		name := s.cut(s.name(v.Source), names)
		share := strconv.Itoa(int(100*min(1, max(0, v.Share))+0.5)) + "%"
		line := " " + name + strings.Repeat(" ", names-viewWidth(name)) + "  " + strings.Repeat(" ", max(0, 4-len(share))) + share
		tell := s.rate(v.RateBps)
		if v.State != "active" {
			tell = s.name(v.State)
		}
		tell += strings.Repeat(" ", max(0, 10-viewWidth(tell)))
		lines = append(lines, progressFit(width,
			line+"  "+tell+"  "+units.FormatBytes(max(0, v.DoneBytes)),
			line+"  "+strings.TrimRight(tell, " "),
			line))
	}
	if rest > 0 {
		lines = append(lines, s.cut(" and "+strconv.Itoa(rest)+" more", width))
	}
	return lines
}
