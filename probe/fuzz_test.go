package probe

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/gomover/gomover/probe/estimate"
)

var secret = bytes.Repeat([]byte{7}, secretLen)

func TestPacket(t *testing.T) {
	mine, theirs := newSealer(secret, asking), newSealer(secret, asking)
	h := head{kind: kindTrain, train: 3, seq: 1 << 30, a: 1, b: 1 << 60, c: 1 << 63}
	b := make([]byte, 100)
	mine.write(b, h)
	if got, ok := theirs.read(b); !ok || got != h {
		t.Errorf("got %+v, %v, want %+v", got, ok, h)
	}
	for i := range headLen {
		bad := slices.Clone(b)
		bad[i] ^= 1
		if _, ok := theirs.read(bad); ok {
			t.Errorf("byte %d changed: accepted", i)
		}
	}
	for n := range len(b) {
		if _, ok := theirs.read(b[:n]); ok {
			t.Errorf("cut to %d bytes: accepted", n)
		}
	}
	if _, ok := newSealer(secret, answering).read(b); ok {
		t.Error("accepted from the wrong end: answers could be reflected")
	}
	if _, ok := newSealer(make([]byte, secretLen), asking).read(b); ok {
		t.Error("accepted with another secret")
	}
}

func TestAnswered(t *testing.T) {
	var a answered
	for _, n := range []uint32{0, 63, 64, maxEchoes - 1} {
		if !a.first(n) || a.first(n) {
			t.Errorf("number %d is not answered exactly once", n)
		}
	}
	if a.first(maxEchoes) || a.first(1<<32-1) {
		t.Error("a number beyond the bound is answered")
	}
}

func TestArrivals(t *testing.T) {
	list := []estimate.Arrival{{Seq: 5, At: 0}, {Seq: 0, At: 10}, {Seq: 1 << 31, At: -20}, {Seq: 6, At: time.Second}}
	got, err := parseArrivals(appendArrivals(nil, list))
	if err != nil || !slices.Equal(got, list) {
		t.Errorf("got %v, %v, want %v", got, err, list)
	}
	b := appendArrivals(nil, list)
	for n := range b {
		if got, err := parseArrivals(b[:n]); err == nil && len(got) == len(list) {
			t.Errorf("cut to %d of %d bytes: got all", n, len(b))
		}
	}
	if _, err := parseArrivals(make([]byte, 2*maxArrivals+2)); err == nil {
		t.Error("a list beyond the bound was read")
	}
	if got := appendArrivals(nil, make([]estimate.Arrival, maxArrivals+5)); len(got) != 2*maxArrivals {
		t.Errorf("%d bytes for a list beyond the bound", len(got))
	}
}

// FuzzArrivals: a list is refused, or is within the bounds and reads back.
func FuzzArrivals(f *testing.F) {
	f.Add(appendArrivals(nil, []estimate.Arrival{{Seq: 0}, {Seq: 1, At: 12000}, {Seq: 3, At: 36000}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseArrivals(b)
		if err != nil {
			return
		}
		if len(list) > maxArrivals || len(list) > len(b) {
			t.Fatalf("%d arrivals of %d bytes", len(list), len(b))
		}
		again, err := parseArrivals(appendArrivals(nil, list))
		if err != nil || len(again) != len(list) {
			t.Fatalf("read back: %d, %v, of %d", len(again), err, len(list))
		}
		tr := estimate.Train{Sent: len(list), Size: 1500, Arrivals: list}
		if d := tr.Dispersion(); d.Rate < 0 {
			t.Fatalf("got %+v", d)
		}
	})
}

// FuzzPacket: nobody without the key is believed, whatever it sends.
func FuzzPacket(f *testing.F) {
	s := newSealer(secret, asking)
	b := make([]byte, shortest)
	// With another key: what is one changed bit away from being right is soon found.
	newSealer(secret, answering).write(b, head{kind: kindEcho})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := s.read(b); ok {
			t.Fatalf("accepted %+v", h)
		}
	})
}
