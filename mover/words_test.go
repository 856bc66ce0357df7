package mover

import (
	"testing"
	"time"

	"github.com/gomover/gomover/events"
)

// kept is the event that was recorded last.
type kept struct{ e events.Event }

// Record implements events.Recorder.
func (k *kept) Record(_ time.Time, e events.Event) { k.e = e }

// TestOwnWords: what a far source says of the ends is put in the user's words.
func TestOwnWords(t *testing.T) {
	k := new(kept)
	d := &director{rec: k, job: &Job{Sources: []Place{{Remote: true, Host: "far"}}}}
	rec := d.ownWords()
	for _, tt := range []struct{ say, want events.Event }{
		{events.Transport{Dest: otherEnd, From: "udt", To: "tcp", Reason: "the other end is gone"},
			events.Transport{From: "udt", To: "tcp", Reason: "this machine is gone"}},
		{events.Warn{Host: otherEnd, Message: "this end cannot reach the other end"},
			events.Warn{Message: "far cannot reach this machine"}},
	} {
		if rec.Record(time.Now(), tt.say); k.e != tt.want {
			t.Errorf("%+v became %+v, want %+v", tt.say, k.e, tt.want)
		}
	}
}
