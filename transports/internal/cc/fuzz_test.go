package cc

import (
	"encoding/binary"
	"math"
	"testing"
	"time"
)

// events turns bytes into events, possible or not, for a controller.
type events struct {
	b []byte
	s Stats
}

func (e *events) byte() byte {
	if len(e.b) == 0 {
		return 0
	}
	c := e.b[0]
	e.b = e.b[1:]
	return c
}

// number gives small numbers mostly, and now and then any.
func (e *events) number() int64 {
	k := e.byte()
	if k < 0xf0 {
		return int64(k) << (e.byte() % 24)
	}
	var w [8]byte
	n := copy(w[:], e.b)
	e.b = e.b[n:]
	return int64(binary.BigEndian.Uint64(w[:]))
}

func (e *events) float() float64 {
	if k := e.byte(); k < 0xf0 {
		return float64(e.number())
	}
	return math.Float64frombits(uint64(e.number()))
}

// stir changes what stands in the stats.
func (e *events) stir() {
	s := &e.s
	switch e.byte() % 12 {
	case 0:
		s.RTT = time.Duration(e.number())
	case 1:
		s.MinRTT = time.Duration(e.number())
	case 2:
		s.ArrivalRate, s.Reports = e.float(), s.Reports+1
	case 3:
		s.Capacity = e.float()
	case 4:
		s.Sent = e.number()
	case 5:
		s.InFlight = int(e.number())
	case 6:
		s.Delivered = e.number()
	case 7:
		s.Lost, s.Resent = e.number(), e.number()
	case 8:
		s.AppLimited = !s.AppLimited
	case 9:
		s.MaxWindow = int(e.number())
	case 10:
		s.Now = time.Duration(e.number())
	default:
		s.Now += time.Duration(e.byte()) * time.Millisecond
		s.Acked += int64(e.byte())
		s.Sent = max(s.Sent, s.Acked)
		s.Delivered += int64(e.byte()) * 1500
	}
}

// next lets one thing happen to each of the controllers.
func (e *events) next(l []Controller) {
	e.stir()
	kind := e.byte() % 8
	a := Ack{}
	loss := Loss{}
	p := Packets{}
	switch kind {
	case 0, 1, 2:
		a = Ack{Packets: int(e.byte()), RTT: time.Duration(e.number()), Delivery: Delivery{Rate: e.float(), Prior: e.number(), AppLimited: e.byte()&1 > 0}}
	case 3:
		first := e.number()
		loss = Loss{Ranges: []Range{{first, first + int64(e.byte())}}, Packets: int(e.number())}
	case 5:
		p = Packets{First: e.number(), Count: int(e.byte()), Bytes: int(e.number())}
	}
	for _, c := range l {
		switch kind {
		case 0, 1, 2:
			c.OnAck(&e.s, &a)
		case 3:
			c.OnLoss(&e.s, &loss)
		case 4:
			c.OnTimeout(&e.s)
		case 5:
			c.OnSent(&e.s, p)
			c.OnReceived(&e.s, p)
		case 6:
			c.OnCustom(&e.s, e.b)
		case 7:
			c.OnLoss(&e.s, &Loss{})
			c.OnAck(&e.s, &Ack{Duplicate: true})
		}
	}
}

// Whatever happens, controls stay within their bounds, and two controllers that
// hear the same decide the same.
func FuzzController(f *testing.F) {
	for i := range Choices() {
		f.Add(byte(i), []byte("acknowledged, lost, and timed out; and again"))
		f.Add(byte(i), []byte{11, 10, 16, 100, 0, 20, 20, 5, 3, 1, 0, 0, 11, 255, 255, 255, 3, 9, 9, 0, 2, 0, 0xf1, 0xff, 0xff, 4})
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		c := Choices()[int(which)%len(Choices())]
		name := c.Name
		if c.make == nil {
			name = "blast=1Gbit"
		}
		x, err := New(name)
		if err != nil {
			t.Fatal(err)
		}
		y, _ := New(name)
		e := &events{b: b, s: Stats{MSS: 1500, MaxWindow: 1 << 16, RTT: 100 * time.Millisecond, Seed: 3}}
		if len(b) > 0 {
			e.s.MSS = 100 + int(b[0])*40
		}
		l := []Controller{x, y}
		for _, c := range l {
			c.Init(&e.s)
		}
		checkControl(t, x.Control())
		for len(e.b) > 0 {
			e.next(l)
			checkControl(t, x.Control())
			if x.Control() != y.Control() {
				t.Fatalf("the same events led to %+v and %+v", x.Control(), y.Control())
			}
		}
		x.Close(&e.s)
	})
}
