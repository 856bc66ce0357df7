package main

import (
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
)

// Times of the plain log.
const (
	plainInterval   = 30 * time.Second // between two progress lines
	plainCloseLimit = 2 * time.Second  // ours: a reader that takes longer loses the rest
)

// plainOptions is what the plain log needs to know.
type plainOptions struct {
	Interval time.Duration // between two progress lines; 0: plainInterval
	Style    viewStyle
	JobID    string // empty: not known yet, then "job" is left out of the start line
	Title    string // "run42/ -> dtn2:/scratch"; empty: from job.start
	Verbose  bool   // hosts too
	NoErrors bool   // warnings and errors are left to somebody else
}

// plainLog writes a job as lines with a time in front: one at the start, one at
// each interval, one for each warning, error, change of transport or of a
// setting, one at the end. No carriage returns and no escapes.
//
// Concurrency: every method may be called by any goroutine. Lines are written by
// a goroutine of its own until Close.
type plainLog struct {
	sink *viewSink
	o    plainOptions

	// All below is guarded by the sink's lock.
	state   plainState
	fan     fanState
	repeats viewRepeats
	lastAt  time.Time         // when the last progress line was written, or the job began
	plans   map[string]string // the last one of each destination, as it was written
}

var _ events.Recorder = (*plainLog)(nil)

// newPlainLog writes to w; Close ends it.
func newPlainLog(w io.Writer, o plainOptions) *plainLog {
	if o.Interval <= 0 {
		o.Interval = plainInterval
	}
	return &plainLog{sink: newViewSink(w), o: o, state: plainState{style: o.Style}}
}

// Record implements events.Recorder.
func (l *plainLog) Record(t time.Time, e events.Event) {
	l.sink.put(func(buf []byte) []byte {
		l.state.fold(t, e)
		for _, line := range l.lines(t, e) {
			buf = plainAppend(buf, t, line)
		}
		return buf
	})
}

// Print writes a line with the present time in front. The line is made safe to
// print; it needs no newline.
func (l *plainLog) Print(line string) {
	l.sink.put(func(buf []byte) []byte {
		return plainAppend(buf, time.Now(), l.o.Style.name(line))
	})
}

// Close writes what waits and the counts of messages that were not shown. It
// waits for the reader, at most plainCloseLimit. The error is that of the first
// write that did not work.
func (l *plainLog) Close() error {
	l.sink.put(func(buf []byte) []byte {
		for _, line := range l.repeats.rest() {
			buf = plainAppend(buf, time.Now(), plainLine("warn", line))
		}
		return buf
	})
	return l.sink.Close(plainCloseLimit)
}

// plainAppend appends a line and its time.
func plainAppend(buf []byte, t time.Time, line string) []byte {
	buf = t.UTC().AppendFormat(buf, time.RFC3339)
	buf = append(buf, ' ')
	buf = append(buf, strings.TrimRight(line, " ")...)
	return append(buf, '\n')
}

// plainLine puts a word in the first column.
func plainLine(word, text string) string {
	return word + strings.Repeat(" ", max(1, 7-len(word))) + text
}

// lines gives the lines that an event is worth. The sink's lock is held.
func (l *plainLog) lines(t time.Time, e events.Event) []string {
	s := l.o.Style
	switch v := e.(type) {
	case events.JobStart:
		l.lastAt = t
		l.fan.begin(v.Dests)
		return []string{plainLine("start", l.start(v))}
	case events.Scan:
		if v.Done {
			return []string{plainLine("list", viewCompact(v.Bytes)+" in "+viewPlural(v.Files, "file")+", "+viewPlural(v.Dirs, "directory"))}
		}
	case events.Plan:
		text := plainPlan(v, s)
		if l.plans[v.Dest] == text { // a session that begins anew as the one before
			return nil
		}
		if l.plans == nil {
			l.plans = make(map[string]string)
		}
		l.plans[v.Dest] = text
		return []string{plainLine("plan", s.name(plainDest(v.Dest)+text))}
	case events.Tune:
		return []string{plainLine("tune", s.name(plainDest(v.Dest)+plainTune(v, s)))}
	case events.Transport:
		return []string{plainLine("path", s.name(viewTransport(v)))}
	case events.Host:
		if l.o.Verbose || v.State == "lost" || v.State == "back" {
			text := v.Host + " " + v.State
			if v.Detail != "" {
				text += ", " + v.Detail
			}
			return []string{plainLine("host", s.name(text))}
		}
	case events.Warn:
		lines := s.messageLines(s.prefix(v.Message, v.Host, v.Path), "")
		if !l.o.NoErrors && l.repeats.show(v.Code, v.Host, lines[0]) {
			return plainBlock("warn", lines)
		}
	case events.Error:
		lines := s.errorLines(v)
		if !l.o.NoErrors && (v.Fatal || l.repeats.show(v.Code, v.Host, lines[0])) {
			return plainBlock("error", lines)
		}
	case events.ProgressDest:
		l.fan.fold(v)
	case events.Progress:
		if t.Sub(l.lastAt) >= l.o.Interval {
			l.lastAt = t
			return append([]string{l.state.line(t)}, l.fan.plain(s)...)
		}
	case events.JobEnd:
		return []string{summaryPlain(v, l.state.verified(), s)}
	}
	return nil
}

// plainBlock puts a word before the first of several lines and room before the
// others.
func plainBlock(word string, lines []string) []string {
	out := []string{plainLine(word, lines[0])}
	for _, line := range lines[1:] {
		out = append(out, plainLine("", line))
	}
	return out
}

// start gives the text of the first line.
func (l *plainLog) start(v events.JobStart) string {
	title := l.o.Title
	if title == "" {
		title = progressTitle(v.Sources) + " -> " + fanTitle(v)
	}
	text := l.o.Style.name(title)
	if l.o.JobID != "" {
		text = "job " + l.o.Style.name(l.o.JobID) + " " + text
	}
	if v.Resumed {
		text += "  resumed"
	}
	if v.DryRun {
		text += "  dry run"
	}
	return text
}

// plainPlan gives a plan on one line: tcp x5 16MiB bbr rtt 88.1ms (udt 640MB/s predicted).
func plainPlan(p events.Plan, s viewStyle) string {
	text := p.Transport
	if p.Streams > 0 && p.Transport != "local" {
		text += " x" + strconv.Itoa(p.Streams)
	}
	if p.WindowBytes > 0 {
		text += " " + strings.ReplaceAll(viewBinary(p.WindowBytes), " ", "")
	}
	if p.CC != "" {
		text += " " + p.CC
	}
	if p.RTTms > 0 {
		text += " rtt " + strings.ReplaceAll(viewMillis(p.RTTms), " ", "")
	}
	if p.Encrypt != "" {
		text += " encrypt " + p.Encrypt
	}
	var others []string
	for _, a := range p.Alternatives {
		if a.PredictedBps > 0 {
			others = append(others, a.Transport+" "+s.compactRate(a.PredictedBps))
		}
	}
	if len(others) > 0 {
		text += " (" + strings.Join(others, ", ") + " predicted)"
	}
	return text
}

// plainTune gives a tuner's step: streams 5 -> 6: +7%, with the reason until the
// gain is known.
func plainTune(e events.Tune, s viewStyle) string {
	gain := viewGain(e)
	e.AfterBps = 0
	text := viewTune(e, s)
	if e.What == "streams" || e.What == "jobs" {
		text = e.What + " " + strings.TrimSuffix(text, " "+e.What)
	}
	switch {
	case gain != "":
		text += ": " + gain
	case e.Reason != "":
		text += ": " + e.Reason
	}
	return text
}

// plainState is what progress lines are made of. Not safe for concurrent use.
type plainState struct {
	style    viewStyle
	percent  viewPercent
	scan     events.Scan
	last     events.Progress
	lastAt   time.Time // zero before the first
	firstAt  time.Time
	checked  int64 // files of which the bytes were checked
	readback int64 // those read back from storage
	bare     int64 // files of which only the length is known
}

// fold takes an event in.
func (p *plainState) fold(t time.Time, e events.Event) {
	switch v := e.(type) {
	case events.Scan:
		p.scan = v
	case events.Progress:
		if p.lastAt.IsZero() {
			p.firstAt = t
		}
		p.last, p.lastAt = v, t
		p.percent.of(v)
	case events.File:
		switch v.Action {
		case "new", "resume", "replace":
			switch v.Verified {
			case "readback":
				p.readback++
				p.checked++
			case "none":
				p.bare++
			default:
				p.checked++
			}
		}
	}
}

// verified says how far the bytes were checked, for the last line.
func (p *plainState) verified() string {
	switch {
	case p.bare > 0 && p.checked == 0:
		return "not verified"
	case p.bare > 0:
		return strconv.FormatInt(p.bare, 10) + " not verified"
	case p.readback > 0 && p.readback == p.checked:
		return "verified by reading back"
	}
	return "verified"
}

// line gives one progress line without a time:
// 4%     80.1GB 912MB/s eta 35m limited-by network.
func (p *plainState) line(now time.Time) string {
	if p.lastAt.IsZero() {
		return plainLine("run", "nothing confirmed yet"+plainScan(p.scan))
	}
	v := p.last
	word, text := "run", viewCompact(v.DoneBytes)
	if v.TotalBytes != nil {
		word = progressPercent(p.percent.highest)
	}
	if stalled := viewStalled(v, now.Sub(p.lastAt)); stalled != "" {
		return plainLine(word, text+" "+p.style.name(stalled))
	}
	text += " " + p.style.compactRate(v.RateBps)
	switch {
	case v.TotalBytes == nil:
		text += plainScan(p.scan)
	case v.DoneBytes >= *v.TotalBytes && *v.TotalBytes > 0:
		if p.percent.highest < 100 {
			text += " finishing"
		}
	case v.ETAms >= 0 && now.Sub(p.firstAt) >= progressUnsure:
		text += " eta " + plainLeft(v.ETAms)
	}
	if v.LimitedBy != "" && (v.TotalBytes == nil || v.DoneBytes < *v.TotalBytes) {
		text += " limited-by " + p.style.name(limitText(v))
	}
	return plainLine(word, strings.TrimRight(text, " "))
}

// plainScan says how much was listed so far, to follow other words.
func plainScan(s events.Scan) string {
	if s.Files == 0 {
		return ""
	}
	return " of at least " + viewCompact(s.Bytes) + " in " + viewPlural(s.Files, "file") + " so far"
}

// plainLeft gives milliseconds left no finer than such a guess deserves: 45s,
// 35m, 2h05m.
func plainLeft(ms int64) string {
	d := viewDuration(ms)
	switch {
	case d < time.Minute:
		return strconv.FormatInt(int64(d.Round(time.Second)/time.Second), 10) + "s"
	case d < time.Hour:
		return strconv.FormatInt(int64(d.Round(time.Minute)/time.Minute), 10) + "m"
	}
	return units.FormatDuration(d)
}
