package engine

import (
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/wire"
)

// farEvent is the body of KindEvent: what a source that no user watches decided.
// Exactly one field is set.
type farEvent struct {
	Plan      *events.Plan      `json:"plan,omitempty"`
	Transport *events.Transport `json:"transport,omitempty"`
	Tune      *events.Tune      `json:"tune,omitempty"`
}

// Forward returns a recorder for a far source: it sends over l what the sink's
// user should see, and drops what the sink sees by itself.
func Forward(l Link) events.Recorder { return forwarder{l} }

type forwarder struct{ link Link }

// Record implements events.Recorder. A dead link ends the job by itself.
func (f forwarder) Record(_ time.Time, e events.Event) {
	var b []byte
	var err error
	switch e := e.(type) {
	case events.Plan:
		b, err = wire.AppendJSON(nil, wire.KindEvent, farEvent{Plan: &e})
	case events.Transport:
		b, err = wire.AppendJSON(nil, wire.KindEvent, farEvent{Transport: &e})
	case events.Tune:
		b, err = wire.AppendJSON(nil, wire.KindEvent, farEvent{Tune: &e})
	case events.Warn:
		b, err = wire.AppendJSON(nil, wire.KindWarn, wire.Warn{Code: e.Code, Text: e.Message, Path: []byte(e.Path)})
	default:
		return
	}
	if err == nil {
		_ = f.link.Send(b)
	}
}

// farEvent shows what the source decided.
func (s *Sink) farEvent(body []byte) error {
	var e farEvent
	if err := wire.ParseJSON(body, &e); err != nil {
		return err
	}
	switch { // which destination it is only this end can say, and there is one
	case e.Plan != nil:
		e.Plan.Dest = ""
		s.emit(*e.Plan)
	case e.Transport != nil:
		s.emit(*e.Transport)
	case e.Tune != nil:
		e.Tune.Dest = ""
		s.emit(*e.Tune)
	}
	return nil
}
