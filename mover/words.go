package mover

import (
	"strings"
	"time"

	"github.com/gomover/gomover/events"
)

// ownWords returns a recorder for a pull, whose source is far: what it says of
// itself and of the other end is put in the user's words.
func (d *director) ownWords() events.Recorder {
	if d.rec == nil {
		return nil
	}
	return wording{d.rec, strings.NewReplacer(
		otherEnd, "this machine", "this end", d.job.FarHost())}
}

type wording struct {
	rec   events.Recorder
	words *strings.Replacer
}

// Record implements events.Recorder.
func (w wording) Record(t time.Time, e events.Event) {
	switch x := e.(type) {
	case events.Warn:
		if x.Host == otherEnd {
			x.Host = ""
		}
		x.Message = w.words.Replace(x.Message)
		e = x
	case events.Plan:
		x.Reason = w.words.Replace(x.Reason)
		e = x
	case events.Transport:
		if x.Dest == otherEnd {
			x.Dest = "" // this machine
		}
		x.Reason = w.words.Replace(x.Reason)
		e = x
	}
	w.rec.Record(t, e)
}
