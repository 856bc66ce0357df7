package main

import (
	"io"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/events"
)

// Bounds of what the summary keeps. Ours.
const (
	summaryFailedMost = 20 // failed files kept; the rest is counted
	summaryTunesMost  = 50
	summaryKindsMost  = 100 // kinds of warnings, reasons for skipping
)

// summaryFailure is a file that could not be copied.
type summaryFailure struct {
	Dest, Path, Reason string
}

// summaryTune is a step of the tuner.
type summaryTune struct {
	At time.Time
	events.Tune
}

// summaryInfo is what was collected of a job besides its last event.
type summaryInfo struct {
	Start      events.JobStart
	Plan       events.Plan // the last one; zero if there was none
	Scan       events.Scan // the last one
	Verified   string      // how far the bytes were checked, in words
	Percent    int         // -1: not known
	Failed     []summaryFailure
	FailedMore int64            // failed files that are not in Failed
	FailedList string           // where all of them are listed; "" when nowhere
	Skipped    map[string]int64 // files by reason
	Warnings   map[string]int64 // by code
	Tunes      []summaryTune
	Transports []events.Transport
	End        *events.JobEnd // nil: the job has not ended
}

// summaryCollector keeps what the summary needs. It is also the one that knows a
// progress line when there is no view that shows one.
//
// Concurrency: every method may be called by any goroutine.
type summaryCollector struct {
	style viewStyle
	list  summaryList

	mu    sync.Mutex // guards all below
	info  summaryInfo
	state plainState
}

var _ events.Recorder = (*summaryCollector)(nil)

// newSummaryCollector collects for the summary. openList, which may be nil, makes
// the file that lists every failed file once there are more than are shown, and
// gives its path; it is called at most once.
func newSummaryCollector(style viewStyle, openList func() (io.WriteCloser, string, error)) *summaryCollector {
	return &summaryCollector{
		style: style,
		list:  summaryList{style: style, open: openList},
		state: plainState{style: style},
		info:  summaryInfo{Skipped: map[string]int64{}, Warnings: map[string]int64{}},
	}
}

// Record implements events.Recorder.
func (c *summaryCollector) Record(t time.Time, e events.Event) {
	for _, f := range c.fold(t, e) {
		c.list.add(f)
	}
}

// fold takes an event in and gives the failures that are to go to the list.
func (c *summaryCollector) fold(t time.Time, e events.Event) []summaryFailure {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.fold(t, e)
	switch v := e.(type) {
	case events.JobStart:
		c.info.Start = v
	case events.Plan:
		c.info.Plan = v
	case events.Scan:
		c.info.Scan = v
	case events.Tune:
		c.tuneLocked(t, v)
	case events.Transport:
		if len(c.info.Transports) < summaryTunesMost {
			c.info.Transports = append(c.info.Transports, v)
		}
	case events.Warn:
		summaryCount(c.info.Warnings, v.Code)
	case events.File:
		return c.fileLocked(v)
	case events.JobEnd:
		c.info.End = &v
	}
	return nil
}

// tuneLocked keeps a step; a later event of the same step brings its gain.
func (c *summaryCollector) tuneLocked(t time.Time, e events.Tune) {
	for i := range c.info.Tunes {
		if c.info.Tunes[i].ID == e.ID {
			c.info.Tunes[i].Tune = e
			return
		}
	}
	if len(c.info.Tunes) < summaryTunesMost {
		c.info.Tunes = append(c.info.Tunes, summaryTune{t, e})
	}
}

// summaryThere is the reason for skipping that needs no telling.
const summaryThere = "already there"

// fileLocked counts a file that has ended, and gives what the list of failures
// lacks: nothing while all are kept here, and all of them once they are not.
func (c *summaryCollector) fileLocked(e events.File) []summaryFailure {
	switch e.Action {
	case "skip":
		reason := e.Error
		if reason == "" {
			reason = summaryThere
		}
		summaryCount(c.info.Skipped, reason)
	case "fail":
		f := summaryFailure{e.Dest, e.Path, e.Error}
		if len(c.info.Failed) < summaryFailedMost {
			c.info.Failed = append(c.info.Failed, f)
			return nil
		}
		c.info.FailedMore++
		if c.info.FailedMore == 1 {
			return append(slices.Clone(c.info.Failed), f)
		}
		return []summaryFailure{f}
	}
	return nil
}

// summaryCount counts by kind; kinds beyond the bound are counted together.
func summaryCount(counts map[string]int64, kind string) {
	if _, ok := counts[kind]; !ok && len(counts) >= summaryKindsMost {
		kind = "other"
	}
	counts[kind]++
}

// Info gives what was collected so far; it shares nothing with the collector.
func (c *summaryCollector) Info() summaryInfo {
	path := c.list.path()
	c.mu.Lock()
	defer c.mu.Unlock()
	info := c.info
	info.FailedList = path
	info.Failed = slices.Clone(info.Failed)
	info.Tunes = slices.Clone(info.Tunes)
	info.Transports = slices.Clone(info.Transports)
	info.Skipped, info.Warnings = summaryCopy(info.Skipped), summaryCopy(info.Warnings)
	info.Verified = c.state.verified()
	info.Percent = -1
	if c.state.last.TotalBytes != nil {
		info.Percent = c.state.percent.highest
	}
	return info
}

// summaryCopy copies counts.
func summaryCopy(counts map[string]int64) map[string]int64 {
	out := make(map[string]int64, len(counts))
	for k, n := range counts {
		out[k] = n
	}
	return out
}

// StatusLine gives one plain progress line about now, without a time in front;
// it is what a signal asks for.
func (c *summaryCollector) StatusLine(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.line(now)
}

// Close ends the list of failed files.
func (c *summaryCollector) Close() error { return c.list.close() }

// summaryList writes all failed files to a file made when it is first needed.
type summaryList struct {
	style viewStyle
	open  func() (io.WriteCloser, string, error)

	once sync.Once
	file io.WriteCloser // set once
	sink *viewSink      // set once; nil when there is no file

	mu   sync.Mutex // guards name
	name string
}

// add appends a failure: its path, a tab and the reason. A list that cannot be
// made or written is left out: the failures are counted all the same.
func (l *summaryList) add(f summaryFailure) {
	l.once.Do(l.start)
	if l.sink == nil {
		return
	}
	l.sink.put(func(buf []byte) []byte {
		if f.Dest != "" {
			buf = append(buf, l.style.name(f.Dest)+"\t"...)
		}
		return append(buf, l.style.name(f.Path)+"\t"+l.style.name(f.Reason)+"\n"...)
	})
}

// start makes the file.
func (l *summaryList) start() {
	if l.open == nil {
		return
	}
	file, name, err := l.open()
	if err != nil {
		return
	}
	l.file, l.sink = file, newViewSink(file)
	l.mu.Lock()
	l.name = name
	l.mu.Unlock()
}

// path is where the list is, "" when there is none.
func (l *summaryList) path() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.name
}

// close writes what waits and closes the file. Nothing is added afterwards.
func (l *summaryList) close() error {
	l.once.Do(func() {})
	if l.sink == nil {
		return nil
	}
	err := l.sink.Close(plainCloseLimit)
	if closeErr := l.file.Close(); err == nil {
		err = closeErr
	}
	return err
}
