// Package runplot makes a chart of a run from its events (docs/events.md): rates,
// round trips, retransmissions and streams over time, with what was decided and
// what went wrong marked in it.
//
// It reads once, line by line, and keeps summaries of fixed size, so events of any
// length need some tens of megabytes. What it draws with is package chart's business.
//
// Start reading at [Read] and [Run.Chart].
package runplot

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Bounds of what is kept and taken. Source: ours.
const (
	maxLine    = 4 << 20 // bytes of one line: a command line may be long
	maxStreams = 256     // of those that carry data at one time
	maxPlaces  = 24      // hosts, destinations, sources
	maxMarks   = 600
	maxText    = 160 // characters of a label
	schema     = 1   // of the events, see docs/events.md
)

// ErrNoEvents is the error for input in which there is no event at all.
var ErrNoEvents = errors.New("there are no events in it")

// LineError is input that is not what docs/events.md describes.
type LineError struct {
	Line int // from 1
	Err  error
}

// Error gives the place and the reason.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap gives the reason.
func (e *LineError) Unwrap() error { return e.Err }

// head is what every event has. The time is read only when the schema is known.
type head struct {
	V  int             `json:"v"`
	T  json.RawMessage `json:"t"`
	Ev string          `json:"ev"`
}

// Read reads events, one JSON object a line, until the end.
//
// A last line without its end is left out if it is not whole, as after a crash;
// events that are not known, and those of a later schema, are counted and left out
// ([Run.Notes]). Memory is bounded whatever the input. Errors: [*LineError] with
// the first line that is no event; [ErrNoEvents]; those of r.
func Read(r io.Reader) (*Run, error) {
	run := newRun()
	in := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		line, whole, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			if errors.Is(err, errTooLong) {
				err = &LineError{number, err}
			}
			return nil, err
		}
		last := err != nil
		if len(line) > 0 {
			if err := run.line(line); err != nil {
				if !whole && number > 1 {
					run.cutOff = true
					break
				}
				return nil, &LineError{number, err}
			}
		}
		if last {
			break
		}
	}
	if run.events == 0 {
		if n := run.later + run.strange; n > 0 {
			return nil, fmt.Errorf("all of its %d events are of kinds or a version that this program does not know", n)
		}
		return nil, ErrNoEvents
	}
	return run, nil
}

// errTooLong is the error for a line that no event needs.
var errTooLong = fmt.Errorf("longer than %d bytes", maxLine)

// readLine reads a line without its end. whole is false when the input ended
// before the line did. The slice is valid until the next call.
func readLine(in *bufio.Reader) (line []byte, whole bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return nil, false, errTooLong
		}
		if err == nil && line == nil {
			return trim(part), true, nil
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return trim(line), true, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return trim(line), false, err
		}
	}
}

// trim takes the white space around a line away.
func trim(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r' || line[len(line)-1] == ' ') {
		line = line[:len(line)-1]
	}
	for len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	return line
}

// line takes one event.
func (r *Run) line(line []byte) error {
	var h head
	if err := json.Unmarshal(line, &h); err != nil {
		return fmt.Errorf("not a JSON object of an event: %w", err)
	}
	if h.V == 0 || h.Ev == "" {
		return errors.New(`not an event: "v" or "ev" is missing`)
	}
	if h.V > schema {
		r.later++
		return nil
	}
	var t time.Time
	if err := json.Unmarshal(h.T, &t); err != nil || t.IsZero() {
		return errors.New(`not an event: "t" is no time`)
	}
	take := takers(h.Ev)
	if take == nil {
		r.strange++
		if len(r.strangers) < 5 {
			r.strangers = appendNew(r.strangers, cut(h.Ev))
		}
		return nil
	}
	if r.events == 0 {
		r.begin = t
	}
	r.events++
	now := max(0, t.Sub(r.begin).Seconds())
	r.end = max(r.end, now)
	if err := take(r, now, line); err != nil {
		return fmt.Errorf("reading an event %q: %w", h.Ev, err)
	}
	return nil
}

// as makes a function that takes events of one kind from one that takes their
// fields.
func as[E any](take func(r *Run, t float64, e *E)) func(*Run, float64, []byte) error {
	return func(r *Run, t float64, line []byte) error {
		var e E
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		take(r, t, &e)
		return nil
	}
}

// appendNew appends a text that is not in the list yet.
func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// cut bounds a text that came from outside.
func cut(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxText {
			return s[:i] + "…"
		}
	}
	return s
}
