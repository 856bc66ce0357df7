package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gomover/gomover/events"
)

// Times of the terminal view. Ours.
const (
	progressUnsure     = 3 * time.Second  // the spread of rates means nothing before
	progressNoteTime   = 10 * time.Second // how long a tuner's step stays in view
	progressStreamTime = 3 * time.Second  // a stream not heard of for this long is gone
)

// progressStreamMost bounds the streams kept; there are at most 256 per
// destination.
const progressStreamMost = 4096

// progressState is what the terminal view knows of the job: the latest event of
// each kind. It is pure; time comes in with each call. Not safe for concurrent use.
type progressState struct {
	style   viewStyle
	streams bool // stream line wanted
	files   bool // file line wanted
	dests   bool // lines of destinations wanted
	sources bool // lines of the sources of a pull wanted
	fan     fanState
	src     sourceState

	title   string
	plan    events.Plan
	scan    events.Scan
	host    events.Host // last one that was not well; zero when all are
	failed  int64
	paused  bool
	begun   bool // an event was seen
	ended   bool
	percent viewPercent

	last    events.Progress
	lastAt  time.Time // zero before the first
	firstAt time.Time // of the first progress
	resumed bool
	from    int // percentage at which a resumed job started, -1 if not known

	tune    events.Tune
	tuneAt  time.Time
	perLine map[uint32]progressStream
}

// progressStream is the last word of one stream.
type progressStream struct {
	events.ProgressStream
	at time.Time
}

// fold takes an event in.
func (p *progressState) fold(t time.Time, e events.Event) {
	p.begun = true
	switch v := e.(type) {
	case events.JobStart:
		p.resumed, p.from = v.Resumed, -1
		if p.title == "" {
			p.title = progressTitle(v.Sources) + " -> " + fanTitle(v)
		}
		p.fan.begin(v.Dests)
	case events.Plan:
		p.plan = v
	case events.Transport:
		p.plan.Transport = v.To
	case events.Scan:
		p.scan = v
	case events.Host:
		switch v.State {
		case "ready", "back", "gone":
			if p.host.Host == v.Host {
				p.host = events.Host{}
			}
		default:
			p.host = v
		}
	case events.ProgressDest:
		p.fan.fold(v)
	case events.ProgressSource:
		p.src.fold(t, v)
	case events.Tune:
		p.tune, p.tuneAt = v, t
		if v.What == "streams" && v.To > 0 && v.To < progressStreamMost {
			p.plan.Streams = int(v.To)
		}
	case events.ProgressStream:
		if p.perLine == nil {
			p.perLine = make(map[uint32]progressStream)
		}
		if _, ok := p.perLine[v.Stream]; ok || len(p.perLine) < progressStreamMost {
			p.perLine[v.Stream] = progressStream{v, t}
		}
	case events.Progress:
		if p.lastAt.IsZero() {
			p.firstAt = t
		}
		p.last, p.lastAt = v, t
		percent := p.percent.of(v)
		if p.resumed && p.from < 0 && percent >= 0 {
			p.from = percent
		}
		if v.TotalBytes != nil {
			p.scan.Done = true
		}
	case events.File:
		if v.Action == "fail" {
			p.failed++
		}
	case events.JobEnd:
		p.ended = true
	}
}

// progressTitle names one or several places in a few words.
func progressTitle(places []string) string {
	switch len(places) {
	case 0:
		return "?"
	case 1:
		return places[0]
	}
	return places[0] + " and " + viewPlural(int64(len(places)-1), "other")
}

// live gives the streams heard of lately, by number, and forgets the others.
func (p *progressState) live() []progressStream {
	var newest time.Time
	for _, s := range p.perLine {
		if s.at.After(newest) {
			newest = s.at
		}
	}
	var list []progressStream
	for id, s := range p.perLine {
		if newest.Sub(s.at) > progressStreamTime {
			delete(p.perLine, id)
			continue
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b progressStream) int { return cmp.Compare(a.Stream, b.Stream) })
	return list
}

// note gives what happened lately and is worth a few words, or "".
func (p *progressState) note(now time.Time) string {
	switch {
	case !p.tuneAt.IsZero() && now.Sub(p.tuneAt) < progressNoteTime:
		return p.style.name("tune: " + viewTune(p.tune, p.style))
	case p.from > 0 && now.Sub(p.firstAt) < progressNoteTime:
		return "resumed at " + progressPercent(p.from)
	}
	return ""
}

// doing says what happens before the first byte, such as connecting.
func (p *progressState) doing() string {
	host, detail := p.host.Host, ""
	if p.host.Detail != "" {
		detail = ", " + p.host.Detail
	}
	text := "starting"
	switch p.host.State {
	case "connecting":
		text = "connecting to " + host + detail
	case "agent":
		text = "starting the agent on " + host + detail
	case "lost":
		text = "lost " + host + detail
	}
	if files := progressScan(p.scan); files != "" && !p.scan.Done {
		text += ", " + files
	}
	return p.style.name(strings.TrimSpace(text))
}
