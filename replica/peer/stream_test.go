package peer

import (
	"errors"
	"testing"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// dying is a request during whose last answer the stream ends, as it does when its other
// half fails.
type dying struct {
	s        *stream
	refused  bool
	finished int
}

func (d *dying) number() uint32 {
	if d.refused {
		d.s.end(errors.New("sending failed"))
	}
	return 1
}

func (d *dying) request() []byte { return nil }

func (d *dying) take(*transports.Frame) (kept, last bool, err error) {
	d.s.end(errors.New("sending failed"))
	return false, true, nil
}

func (d *dying) finish(error) { d.finished++ }

// TestEndsOnce: a request ends once, when its last answer comes as its stream ends, too.
func TestEndsOnce(t *testing.T) {
	for name, frame := range map[string][]byte{"an answer": {wire.FramePiece}, "a refusal": wire.Refused{ID: 1}.AppendFrame(nil)} {
		t.Run(name, func(t *testing.T) {
			s := newStream(newInside(nil))
			d := &dying{s: s, refused: name == "a refusal"}
			if !s.ask(d) {
				t.Fatal("it cannot be asked for")
			}
			f := transports.NewFrame(len(frame))
			copy(f.Resize(len(frame)), frame)
			if _, err := s.take(f); err != nil {
				t.Error(err)
			}
			if d.finished != 1 {
				t.Errorf("it ended %d times", d.finished)
			}
		})
	}
}
