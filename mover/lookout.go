package mover

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/host"
)

// Constants of looking again. Ours.
const (
	// lookApart is how much time is between two probes beside a job at least.
	lookApart = time.Minute
	// againBytes bounds the trains of each direction, and againTrains for how long
	// they last together. They are left out where they were more than 1% of what is
	// left, and beside a job that gives way to others.
	againBytes  = 2 << 20
	againTrains = 50 * time.Millisecond
)

// lookout says when the path is looked at again. Any goroutine may use it.
type lookout struct {
	mu     sync.Mutex // guards what follows
	wanted chan struct{}
	begun  bool      // there was a probe
	last   time.Time // when the last one began that was asked for; zero: none was
}

// open begins to take wishes.
func (l *lookout) open() {
	l.mu.Lock()
	l.wanted = make(chan struct{}, 1)
	l.mu.Unlock()
}

// close ends that.
func (l *lookout) close() {
	l.mu.Lock()
	l.wanted = nil
	l.mu.Unlock()
}

// begin notes that a probe begins, perhaps one that was asked for.
func (l *lookout) begin(asked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
	if asked {
		l.last = time.Now()
	}
}

// looked tells that there was a probe.
func (l *lookout) looked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun
}

// ask wants the path to be looked at, and tells whether that will be done: not if it
// cannot be, nor within a minute of the last time that it was asked for.
func (l *lookout) ask() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wanted == nil || !l.last.IsZero() && time.Since(l.last) < lookApart {
		return false
	}
	select {
	case l.wanted <- struct{}{}:
	default: // somebody has asked just now
	}
	return true
}

// run calls look for each time that it was asked for, until ctx ends.
func (l *lookout) run(ctx context.Context, look func()) {
	l.mu.Lock()
	wanted := l.wanted
	l.mu.Unlock()
	for {
		select {
		case <-wanted:
			look()
		case <-ctx.Done():
			return
		}
	}
}

// lookAgain probes the path while data flows, and tells what has changed since it was
// measured or remembered.
func (d *director) lookAgain(ctx context.Context, m measure) {
	before := d.known
	d.lookout.begin(true)
	r := d.look(ctx, m, d.againParams())
	if r == nil {
		if ctx.Err() == nil {
			record(d.rec, events.Warn{Code: "net.probed", Message: fmt.Sprintf("looked at the path to %s again: nothing could be learned within %v", d.job.FarHost(), besideLimit)})
		}
		return
	}
	c, _, _ := d.now()
	there, back := ProbeEvents(d.job.FarHost(), r)
	text := fmt.Sprintf("looked at the path to %s again: %s", d.job.FarHost(), finding(&before, r, d.way(r), c.Path.Saturated, d.job.FarHost()))
	there.Finding, back.Finding = text, text
	record(d.rec, there)
	record(d.rec, back)
	record(d.rec, events.Warn{Code: "net.probed", Message: text})
}

// againParams bounds a probe beside a running job.
func (d *director) againParams() probe.Params {
	c, _, _ := d.now()
	left := c.Bytes - c.DoneBytes
	if d.controls.background() || left < besideShare*againBytes {
		return probe.Params{Bytes: -1}
	}
	return probe.Params{Bytes: againBytes, Time: againTrains}
}

// What counts as another one than before. Ours.
const (
	otherRTT, otherRTTms = 0.2, 1 // share, and milliseconds
	otherRate            = 0.25
)

// finding says what a probe has found in comparison with what was known before, on one
// line. full tells that the data fills queues of the path.
func finding(before *memory, r *probe.Report, way *probe.Direction, full bool, far string) string {
	now := probeFactOf(r, way)
	known := before.weight > 0
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if d := math.Abs(now.RTTms - before.RTTms); known && now.RTTms > 0 && before.RTTms > 0 && d > max(otherRTTms, otherRTT*before.RTTms) {
		queues := map[bool]string{true: " with what waits in queues"}[full]
		say("the round trip is %.3g ms%s, it was %.3g ms", now.RTTms, queues, before.RTTms)
	}
	if r.Lost > 0 {
		say("%d of %d echoes were lost", r.Lost, r.Echoes)
	}
	rate, was := units.FormatRate(way.Rate, true), units.FormatRate(units.Rate(before.Capacity), true)
	switch {
	case way.Verdict != estimate.Measured:
	case before.Capacity == 0:
		say("the link carries %s", rate)
	case math.Abs(float64(way.Rate)-before.Capacity) > otherRate*before.Capacity:
		say("the link carries %s, it was %s", rate, was)
	}
	if known && before.MTU > 0 && now.MTU > 0 && now.MTU != before.MTU {
		say("packets of up to %d bytes pass, it was %d", now.MTU, before.MTU)
	}
	switch udp := r.UDPOut.OK || r.UDPIn.OK; {
	case known && before.UDP && !udp:
		say("UDP does not get through any more")
	case known && !before.UDP && udp:
		say("UDP gets through now")
	}
	said = append(said, busyText("here", &r.Here)...)
	said = append(said, busyText("on "+far, &r.Far)...)
	if len(said) == 0 {
		say("nothing else has changed, round trip %.3g ms", now.RTTms)
	}
	return strings.Join(said, "; ")
}

// busyText says what of a host has no more to give.
func busyText(where string, f *host.Facts) (said []string) {
	if f.Processor.Busy > busyShare {
		said = append(said, fmt.Sprintf("the processors %s are busy for %.0f%% of the time", where, 100*f.Processor.Busy))
	}
	if f.Disk.Busy > busyShare {
		said = append(said, fmt.Sprintf("the disk %s is busy for %.0f%% of the time", where, 100*f.Disk.Busy))
	}
	return said
}
