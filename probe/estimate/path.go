package estimate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Capacity is what the trains of one direction tell together.
type Capacity struct {
	Verdict Verdict
	Why     string
	// Rate is that of the narrowest link, counted in IP packets; Low and High are
	// what single trains said.
	Rate, Low, High units.Rate
	// Class is the Ethernet link that has this rate, such as "1 Gbit/s", or "".
	Class  string
	Varies bool // trains disagree: several paths, or bursts of other traffic
	Slowed bool // a shaper lets a burst pass; Rate is what remains
	// Available is what other traffic leaves; AtLeast if the trains that look for
	// it were sent no faster than it.
	Available units.Rate
	Free      Verdict
}

// agree is how much the trains of one path differ at most. Ours: more than other
// traffic does to trains that are sent much faster than the path.
const agree = 1.3

// Combine tells the capacity and the available bandwidth of a path from its
// trains, those sent as fast as possible and those paced.
//
// With other traffic of rate X on a link of capacity C, a train that reaches it
// at rate S leaves it at A = C S/(S+X), so 1/A = 1/C + (X/C)/S: trains sent at
// two rates tell C and X. Source: M. Jain, C. Dovrolis, 2002, proposition on the
// exit rate of a stream faster than the available bandwidth.
func Combine(ds []Dispersion) (c Capacity) {
	fast, paced := group(ds, false), group(ds, true)
	if len(fast) == 0 {
		c.Why = "no train was usable"
		for _, d := range ds {
			if d.Why != "" {
				c.Why = "a train was not usable: " + d.Why
			}
		}
		return c
	}
	for _, d := range fast {
		c.Slowed = c.Slowed || d.Slowed
		c.Low, c.High = lowest(c.Low, d.Rate), max(c.High, d.Rate)
	}
	usable, sent := len(fast), 0
	for _, d := range ds {
		if !d.Paced {
			sent++
		}
	}
	fast, c.Varies = lowerMode(fast)
	mid := fast[len(fast)/2]
	c.Rate, c.Verdict, c.Why = mid.Rate, mid.Verdict, mid.Why
	switch {
	case c.Verdict != Measured:
	case c.Varies:
		// Of several paths the slowest, or what a busy host made of the only one.
		c.Verdict, c.Why = AtLeast, "trains differ"
	case 2*usable < sent:
		c.Verdict, c.Why = AtLeast, "most trains were not usable"
	}
	if c.Verdict == AtLeast {
		c.Available, c.Free = c.Rate, AtLeast
		return c
	}
	if len(paced) > 0 {
		c.share(mid, paced)
	}
	c.Class = class(c.Rate)
	return c
}

// group gives the usable trains of one kind in order of their rates.
func group(ds []Dispersion, paced bool) (out []Dispersion) {
	for _, d := range ds {
		if d.Paced == paced && d.Verdict != Unusable {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b Dispersion) int { return int(a.Rate - b.Rate) })
	return out
}

// lowerMode leaves those of the lower mode when the trains disagree.
func lowerMode(ds []Dispersion) ([]Dispersion, bool) {
	low, high := float64(ds[0].Rate), float64(ds[len(ds)-1].Rate)
	if high <= agree*low {
		return ds, false
	}
	middle := math.Sqrt(low * high)
	n := slices.IndexFunc(ds, func(d Dispersion) bool { return float64(d.Rate) > middle })
	return ds[:n], true
}

// share finds what other traffic takes, with trains that were paced.
func (c *Capacity) share(fast Dispersion, paced []Dispersion) {
	mid := paced[len(paced)/2]
	if mid.SendRate <= 0 || mid.Rate <= 0 {
		return
	}
	if float64(mid.Rate) > limited*float64(mid.SendRate) {
		// As fast as it was sent: there is room for at least that.
		c.Available, c.Free = min(mid.SendRate, c.Rate), AtLeast
		if float64(c.Available) > limited*float64(c.Rate) {
			c.Free = Measured
		}
		return
	}
	y1, y2 := 1/float64(fast.Rate), 1/float64(mid.Rate)
	s1, s2 := 0.0, 1/float64(mid.SendRate)
	if fast.SendRate > 0 {
		s1 = 1 / float64(fast.SendRate)
	}
	if s2 < 1.1*s1 {
		return // sent alike: one rate tells nothing of the other traffic
	}
	taken := max((y2-y1)/(s2-s1), 0) // X/C
	if taken > maxTaken {
		return
	}
	if inverse := y1 - taken*s1; inverse > 0 && y1/inverse < maxCorrection {
		c.Rate = clampRate(1 / inverse)
		c.High = max(c.High, c.Rate)
	}
	c.Available, c.Free = units.Rate(float64(c.Rate)*(1-taken)), Measured
}

// maxTaken is the most that other traffic is believed to take, and maxCorrection
// by how much it is believed to have slowed trains down. Ours: beyond, the paced
// trains were held up by something else, and what is free stays unknown.
const maxTaken, maxCorrection = 0.95, 2

func lowest(a, b units.Rate) units.Rate {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// classes are rates of Ethernet links in bit/s.
var classes = []float64{10e6, 100e6, 1e9, 2.5e9, 5e9, 10e9, 25e9, 40e9, 50e9, 100e9, 200e9, 400e9}

// class names the Ethernet link that carries IP packets of 1500 bytes at a rate,
// with 38 bytes more each on the wire (IEEE 802.3: preamble, header, check sum,
// gap).
func class(r units.Rate) string {
	for _, c := range classes {
		if have, want := float64(r)*8, c*1500/1538; math.Abs(have-want) < 0.015*want {
			if c < 1e9 {
				return fmt.Sprintf("%g Mbit/s", c/1e6)
			}
			return fmt.Sprintf("%g Gbit/s", c/1e9)
		}
	}
	return ""
}

// BDP is the bandwidth-delay product: what is on its way when a path is full.
// Unit: bytes.
func BDP(r units.Rate, rtt time.Duration) int64 {
	return int64(min(float64(max(r, 0))*max(rtt, 0).Seconds(), math.MaxInt64/2))
}
