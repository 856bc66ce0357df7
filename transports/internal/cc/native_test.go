package cc

import (
	"math"
	"testing"
	"time"
)

// steady makes a Native beyond slow start, with a period in microseconds.
func steadyNative(stock bool, period, capacity float64) (*Native, *Stats) {
	c, s := &Native{stock: stock}, start()
	s.ArrivalRate, s.Capacity, s.Reports = 1e6/period, capacity, 100
	c.Init(s)
	c.slowStart, c.period, c.cwnd = false, period, 1000
	c.decreaseFrom = period
	return c, s
}

// The steps of the increase, by the spare capacity: from 10 Mbit/s of spare on,
// ten times as much for each decade.
func TestNativeIncrease(t *testing.T) {
	const used = 1000 // packets per second
	for _, stock := range []bool{true, false} {
		for _, p := range []struct{ spareMbit, inc float64 }{
			{-5, 0.01}, {0, 0.01}, {1, 0.01}, {9.9, 0.01}, {11, 0.1}, {99, 0.1}, {101, 1}, {900, 1}, {1100, 10}, {50000, 100},
		} {
			c, s := steadyNative(stock, 1e6/used, used+p.spareMbit*1e6/8/1500)
			s.Now, s.Acked = synInterval, 10
			c.OnAck(s, &Ack{Packets: 10})
			if got := (1e6/c.period - used) / 100; math.Abs(got-p.inc) > 1e-6+p.inc*1e-3 {
				t.Errorf("stock %v, %v Mbit/s spare: %.4f packets per interval, want %v", stock, p.spareMbit, got, p.inc)
			}
			if want := float64(used)*0.11 + 16; c.Control().Window != math.Floor(want) {
				t.Errorf("window %v, want %v", c.Control().Window, want)
			}
		}
	}
}

func TestNativeIncreasesOnceInAnInterval(t *testing.T) {
	c, s := steadyNative(true, 100, 1e5)
	for i := range 10 {
		s.Now = time.Duration(i) * time.Millisecond
		c.OnAck(s, &Ack{Packets: 1})
	}
	if c.period != 100 {
		t.Errorf("within an interval the period became %v", c.period)
	}
	s.Now = synInterval
	c.OnAck(s, &Ack{Packets: 1})
	if c.period >= 100 {
		t.Errorf("after an interval it is still %v", c.period)
	}
}

// At most five decreases in an epoch, two in the mended form, each by a ninth of
// the rate.
func TestNativeDecrease(t *testing.T) {
	for _, p := range []struct {
		stock bool
		want  float64
	}{{true, 1805}, {false, 1000 * math.Pow(1.125, 2)}} {
		c, s := steadyNative(p.stock, 1000, 1000)
		s.Sent = 500
		for i := range int64(20) {
			lose(c, s, 100+i, 100+i)
		}
		if !near(c.period, p.want, 1e-9) {
			t.Errorf("stock %v: period %v after an epoch, want %v", p.stock, c.period, p.want)
		}
		before := c.period
		s.Now, s.Sent = synInterval, 600
		c.OnAck(s, &Ack{Packets: 1})
		if c.period != before {
			t.Errorf("it grew in an interval that saw losses")
		}
		lose(c, s, 500, 500)
		if c.period < before*1.125 {
			t.Errorf("a new epoch did not decrease: %v after %v", c.period, before)
		}
	}
}

// A loss among the first packets: the library falls to its guess of 16 packets
// per second, unless the peer has reported.
func TestNativeFirstLoss(t *testing.T) {
	for _, p := range []struct {
		name    string
		stock   bool
		reports int
		arrival float64
		want    float64 // us
	}{
		{"stock without reports", true, 0, 0, 62500},
		{"stock with a report", true, 1, 2000, 500},
		{"stock with a report of nothing", true, 1, 0, 1}, // 16/110000, rounded up
		{"mended without reports", false, 0, 0, 110000.0 / 16},
		{"mended with too few", false, 3, 2000, 110000.0 / 16},
		{"mended with enough", false, 4, 2000, 500},
	} {
		for _, timeout := range []bool{false, true} {
			if timeout && p.stock && p.reports > 0 && p.arrival == 0 {
				continue
			}
			c, s := &Native{stock: p.stock}, start()
			s.Reports, s.ArrivalRate = p.reports, p.arrival
			c.Init(s)
			s.Sent = 16
			if timeout {
				c.OnTimeout(s)
			} else {
				lose(c, s, 3, 3)
			}
			if !near(c.period, p.want, 1e-9) || c.slowStart {
				t.Errorf("%s, timeout %v: period %v us, want %v", p.name, timeout, c.period, p.want)
			}
		}
	}
}

func TestNativeSlowStart(t *testing.T) {
	c, s := NewStockNative(), start()
	c.Init(s)
	if got := c.Control(); got.Window != 16 || got.Rate != 1_500_000_000 {
		t.Errorf("begin: %+v, want 16 packets and a period of 1 us", got)
	}
	s.Now, s.Acked = synInterval, 16
	c.OnAck(s, &Ack{Packets: 16})
	if got := c.Control().Window; got != 16+18 { // the library counts one more, and starts one lower
		t.Errorf("after 16 packets: window %v, want 34", got)
	}
	m := NewNative()
	s = start()
	m.Init(s)
	if got := m.Control().Rate; !near(float64(got), 2*16*1500/0.1, 0.01) {
		t.Errorf("mended: rate %v, want two windows in an RTT", got)
	}
}

// What an idle application sends does not become the path's rate.
func TestNativeIgnoresIdleRates(t *testing.T) {
	c, s := NewNative(), start()
	c.Init(s)
	for i := range 100 {
		s.Now += synInterval
		s.Acked += 100
		s.Delivered += 100 * 1500
		d := Delivery{Rate: 15e6, Prior: s.Delivered - 150_000}
		if s.AppLimited = i > 50; s.AppLimited {
			d.Rate, d.AppLimited = 7500, true
		}
		c.OnAck(s, &Ack{Packets: 100, Delivery: d})
	}
	s.Sent = s.Acked + 10
	c.OnTimeout(s)
	if got := c.Control(); got.Rate < 14e6 {
		t.Errorf("after idling: %+v, want about 15 MB/s", got)
	}
}
