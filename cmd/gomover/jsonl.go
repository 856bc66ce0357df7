package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gomover/gomover/events"
)

// jsonSchemaVersion is the value of "v". It changes only when a field is removed
// or redefined, never when one is added.
const jsonSchemaVersion = 1

// jsonHeldEvents is how many events wait for the job's ID before they are written
// without one.
//
// Unit: events. Source: ours; before the ID is known only connections are made.
const jsonHeldEvents = 4096

// jsonLines writes every event as one JSON object on a line (docs/events.md).
//
// Concurrency: every method may be called by any goroutine; seq counts in the
// order of the lines, without gaps. A reader that does not read holds the job
// back once some megabytes wait, since lines cannot be left out; a reader that
// has gone away does not.
type jsonLines struct {
	sink    *viewSink
	streams bool // write progress.stream events too

	// All below is guarded by the sink's lock.
	job   string // the job's ID, ready to be written
	known bool   // job is final
	held  []jsonHeld
	seq   int64
	ended bool // job.end was written; it is the last line
}

var _ events.Recorder = (*jsonLines)(nil)

// jsonHeld is an event that waits for the job's ID.
type jsonHeld struct {
	t    time.Time
	name string
	body []byte
}

// newJSONLines writes to w. jobID may be empty when it is not known yet: events
// are then kept until SetJob. streams says whether progress.stream is wanted.
func newJSONLines(w io.Writer, jobID string, streams bool) *jsonLines {
	j := &jsonLines{sink: newViewSink(w), streams: streams}
	if jobID != "" {
		j.SetJob(jobID)
	}
	return j
}

// SetJob tells the job's ID and writes what waited for it. Only the first call
// counts.
func (j *jsonLines) SetJob(id string) {
	j.sink.put(func(buf []byte) []byte {
		if j.known {
			return buf
		}
		j.job, j.known = id, true
		return j.flush(buf)
	})
}

// Record implements events.Recorder.
func (j *jsonLines) Record(t time.Time, e events.Event) {
	if _, ok := e.(events.ProgressStream); ok && !j.streams {
		return
	}
	body, err := jsonBody(e)
	if err != nil {
		// None of our events can be refused by the encoder; one that could is
		// better left out than written as half a line.
		return
	}
	_, last := e.(events.JobEnd)
	j.sink.put(func(buf []byte) []byte {
		if j.ended {
			return buf
		}
		j.held = append(j.held, jsonHeld{t, e.Name(), body})
		j.ended = last
		if !j.known && len(j.held) < jsonHeldEvents {
			return buf
		}
		j.known = true
		return j.flush(buf)
	})
}

// flush appends the lines that were kept. The sink's lock is held.
func (j *jsonLines) flush(buf []byte) []byte {
	for _, h := range j.held {
		j.seq++
		buf = append(buf, `{"v":`...)
		buf = strconv.AppendInt(buf, jsonSchemaVersion, 10)
		buf = append(buf, `,"t":"`...)
		buf = h.t.UTC().AppendFormat(buf, "2006-01-02T15:04:05.000Z")
		buf = append(buf, `","job":`...)
		buf = append(buf, jsonText(j.job)...)
		buf = append(buf, `,"seq":`...)
		buf = strconv.AppendInt(buf, j.seq, 10)
		buf = append(buf, `,"ev":`...)
		buf = append(buf, jsonText(h.name)...)
		if len(h.body) > 2 {
			buf = append(buf, ',')
		}
		buf = append(buf, h.body[1:]...)
		buf = append(buf, '\n')
	}
	j.held = nil
	return buf
}

// Close writes what waits, also when the job never got an ID, and blocks until
// the reader has taken it. The error is that of the first write that did not
// work; a closed pipe is no reason to end the job with a failure.
func (j *jsonLines) Close() error {
	j.sink.put(func(buf []byte) []byte {
		j.known = true
		return j.flush(buf)
	})
	return j.sink.Close(0)
}

// jsonBody gives the fields of an event as an object, with paths in both forms,
// lists that are never null and no number that JSON cannot hold.
func jsonBody(e events.Event) ([]byte, error) {
	switch v := e.(type) {
	case events.JobStart:
		v.Argv, v.Sources, v.Dests = jsonList(v.Argv), jsonList(v.Sources), jsonList(v.Dests)
		return jsonEncode(v)
	case events.Plan:
		v.Alternatives, v.RTTms = jsonList(v.Alternatives), jsonNumber(v.RTTms)
		return jsonEncode(v)
	case events.Probe:
		v.Flags = jsonList(v.Flags)
		return jsonEncode(v)
	case events.Facts:
		v.CCs, v.AllowedCCs = jsonList(v.CCs), jsonList(v.AllowedCCs)
		return jsonEncode(v)
	case events.Progress:
		v.RTTms = jsonNumber(v.RTTms)
		return jsonEncode(v)
	case events.ProgressStream:
		v.RTTms = jsonNumber(v.RTTms)
		return jsonEncode(v)
	case events.ProgressSource:
		v.Share, v.PlannedShare = jsonNumber(v.Share), jsonNumber(v.PlannedShare)
		return jsonEncode(v)
	case events.File:
		return jsonEncode(struct {
			Path string `json:"path"`
			B64  string `json:"path_b64,omitempty"`
			events.File
		}{v.Path, jsonPath64(v.Path), v})
	case events.Warn:
		return jsonEncode(struct {
			events.Warn
			B64 string `json:"path_b64,omitempty"`
		}{v, jsonPath64(v.Path)})
	case events.Error:
		return jsonEncode(struct {
			events.Error
			B64 string `json:"path_b64,omitempty"`
		}{v, jsonPath64(v.Path)})
	case events.JobEnd:
		v.Dests = jsonList(v.Dests)
		sources := make([]events.SourceEnd, 0, len(v.Sources))
		for _, s := range v.Sources {
			s.Share = jsonNumber(s.Share)
			sources = append(sources, s)
		}
		v.Sources = sources
		return jsonEncode(v)
	}
	return jsonEncode(e)
}

// jsonEncode gives v as JSON on one line. Unlike json.Marshal it leaves <, > and
// & alone: "->" in a reason is for people to read.
func jsonEncode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// jsonText gives a string as JSON; bytes that are not UTF-8 become U+FFFD.
func jsonText(s string) []byte {
	text, err := jsonEncode(s)
	if err != nil {
		return []byte(`""`)
	}
	return text
}

// jsonPath64 gives the raw bytes of a path that is not UTF-8 in base64, else "".
func jsonPath64(path string) string {
	if utf8.ValidString(path) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(path))
}

// jsonList gives an empty list for nil, so that readers never meet null.
func jsonList[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// jsonNumber gives 0 for what JSON has no number for.
func jsonNumber(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
