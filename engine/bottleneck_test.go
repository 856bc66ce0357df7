package engine

import (
	"testing"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

func TestLimitedBy(t *testing.T) {
	// What the ends' streams do when the network is the limit, and when it is not.
	waits := end{streams: 12, net: 0.97, cpu: 0.1, cores: 2}
	fed := end{streams: 12, net: 0.96, cpu: 0.1, cores: 2}
	with := func(e end, change func(*end)) *end {
		change(&e)
		return &e
	}
	held := with(waits, func(e *end) { e.net, e.idle = 0.1, 0.88 })
	disk := with(fed, func(e *end) { e.net, e.disk, e.delay = 0.05, 0.93, 0.3 })
	computing := with(fed, func(e *end) { e.net, e.disk, e.cpu = 0.1, 0.3, 1.8 })
	more := moment{wanted: true, underway: true}
	for _, c := range []struct {
		name         string
		source, sink *end
		m            moment
		by, detail   string
	}{
		{"network", &waits, &fed, more, byNetwork, ""},
		{"network, nothing heard of the sink yet", &waits, nil, more, byNetwork, ""},
		{"rate", with(waits, func(e *end) { e.net, e.limited = 0.1, 0.85 }), &fed, more, byRate, ""},
		{"slower destinations", with(waits, func(e *end) { e.net, e.held = 0.4, 0.55 }), &fed, more, bySlowest, ""},
		{"source disk", with(waits, func(e *end) { e.net, e.disk = 0.03, 0.95 }), &fed, more, bySourceDisk, ""},
		{"files in memory are no disk", with(waits, func(e *end) { e.net, e.disk, e.cpu = 0.1, 0.6, 1.9 }), &fed, more, bySourceCPU, ""},
		{"nor are they on a crowded machine", &end{streams: 2, disk: 0.6, net: 0.1, cpu: 0.3, delay: 1.2, cores: 8}, &fed, more, bySourceCPU, ""},
		{"source cpu", with(waits, func(e *end) { e.net, e.disk, e.cpu = 0.1, 0.2, 1.9 }), &fed, more, bySourceCPU, ""},
		{"source with a quota", with(waits, func(e *end) { e.net, e.disk, e.cpu, e.delay, e.used = 0.6, 0.1, 0.02, 4, 1 }), &fed, more, bySourceCPU, ""},
		{"target disk", held, disk, more, byTargetDisk, ""},
		{"target disk, full sockets", &waits, disk, more, byTargetDisk, ""},
		{"target cpu", held, computing, more, byTargetCPU, ""},
		{"target with a quota", held, with(fed, func(e *end) { e.net, e.disk, e.cpu, e.delay, e.used = 0.6, 0.3, 0.02, 4, 1 }), more, byTargetCPU, ""},
		{"stopped target", held, &fed, moment{wanted: true, underway: true, silent: true}, byTargetCPU, ""},
		{"cable cut", &waits, &fed, moment{wanted: true, underway: true, silent: true, dead: true}, byNetwork, ""},
		{"full window, nothing heard of the sink yet", held, nil, more, "", ""},
		{"receive window", with(waits, func(e *end) { e.rwnd = 0.9 }), &fed, more, byWindow, ""},
		{"receive window shut by a disk", with(waits, func(e *end) { e.rwnd = 0.9 }), disk, more, byTargetDisk, ""},
		{"send buffer", with(waits, func(e *end) { e.buf = 0.9 }), &fed, more, byWindow, bySendBuffer},
		{"small files, at the source", with(waits, func(e *end) { e.net, e.disk = 0.03, 0.95 }), &fed, moment{wanted: true, underway: true, small: true}, bySmallFiles, ""},
		{"small files, at the target", held, disk, moment{wanted: true, underway: true, small: true}, bySmallFiles, ""},
		{"small files, listed too slowly", with(waits, func(e *end) { e.net, e.idle = 0, 0.99 }), &fed, moment{small: true}, bySmallFiles, ""},
		{"small files, nobody busy", with(waits, func(e *end) { e.net, e.disk, e.idle = 0.3, 0.1, 0.55 }), with(fed, func(e *end) { e.net = 0.55 }), moment{wanted: true, underway: true, small: true}, bySmallFiles, ""},
		{"small files on a slow network", &waits, &fed, moment{wanted: true, underway: true, small: true}, byNetwork, ""},
		{"the end of a job waits for its sync", with(waits, func(e *end) { e.net, e.idle = 0, 1 }), with(fed, func(e *end) { e.disk, e.net, e.sync = 0, 1, 1 }), moment{}, byTargetDisk, ""},
		{"nothing to do", with(waits, func(e *end) { e.net, e.idle = 0, 1 }), &fed, moment{}, "", ""},
		{"a system that tells nothing of processors", with(waits, func(e *end) { e.net, e.disk, e.cpu = 0.1, 0.1, 0 }), &fed, more, bySourceCPU, ""},
	} {
		if by, detail := limitedBy(c.source, c.sink, &c.m); by != c.by || detail != c.detail {
			t.Errorf("%s: %q %q, want %q %q", c.name, by, detail, c.by, c.detail)
		}
	}
}

// TestBetween: shares of the streams' time, whatever the counters are.
func TestBetween(t *testing.T) {
	s := int64(time.Second)
	old := &wire.Report{Span: 5 * s, Streams: 4, Disk: s, Network: s, Idle: s, CPU: s, Delay: s, Periods: 10, UsedUp: 5}
	now := &wire.Report{Span: 7 * s, Streams: 4, Disk: 3 * s, Network: 5 * s, Idle: s, Limited: 2 * s, RwndWait: 80 * s, Sync: s, CPU: 2 * s, Delay: 5 * s, Cores: 8, Periods: 50, UsedUp: 15}
	e, ok := between(old, now)
	want := end{streams: 4, disk: 0.25, net: 0.5, limited: 0.25, rwnd: 1, sync: 0.5, cpu: 0.5, delay: 2, cores: 8, used: 0.25}
	if e != want || !ok {
		t.Errorf("got  %+v, %v\nwant %+v", e, ok, want)
	}
	if e.busy() != 0.25 {
		t.Errorf("busy for %v of the time", e.busy())
	}
	const far = 1<<63 - 1
	for _, now := range []*wire.Report{{}, {Span: far}, {Span: -far, Streams: 1}, old} {
		if e, ok := between(old, now); ok {
			t.Errorf("%+v says %+v", now, e)
		}
	}
	e, ok = between(&wire.Report{Disk: far, CPU: far, Delay: far}, &wire.Report{Span: far, Streams: far, Disk: -far, CPU: -far, Delay: -far, Cores: -far, Periods: far, UsedUp: far})
	if !ok || e.disk != 0 || e.cpu != 0 || e.delay != 0 || e.cores != 1 || e.used != 1 {
		t.Errorf("of senseless reports %+v", e)
	}
}

// TestOpinion: one odd second changes nothing, the first word is taken at once.
func TestOpinion(t *testing.T) {
	var o opinion
	for i, c := range []struct{ found, told string }{
		{"", byUnknown}, {byNetwork, byNetwork}, {byTargetDisk, byNetwork}, {byNetwork, byNetwork}, {byTargetDisk, byNetwork}, {byTargetDisk, byTargetDisk},
		{bySourceDisk, byTargetDisk}, {"", byTargetDisk}, {bySourceDisk, byTargetDisk}, {bySourceDisk, bySourceDisk},
	} {
		if got, _ := o.take(c.found, ""); got != c.told {
			t.Errorf("%d: told %q, want %q", i, got, c.told)
		}
	}
	if got := limitWord("\x1b[2J"); got != byUnknown {
		t.Errorf("a far end can say %q", got)
	}
}

// TestFlow: counters of streams that come and go only add up.
func TestFlow(t *testing.T) {
	now := time.Unix(0, 0)
	var f flow
	a, b := &gauge{}, &gauge{}
	list := []*sendStream{{st: a}, {st: b}}
	f.look(now, list)
	step := func(list []*sendStream) {
		now = now.Add(time.Second)
		f.look(now, list)
	}
	a.st = transports.Stats{SendBlocked: time.Second, RwndLimited: time.Second, Retrans: 3, SentBytes: 100 * segment, RTT: 30, MinRTT: 20, Unacked: 5, NotSent: 5}
	b.st = transports.Stats{SendBlocked: time.Second, RTT: 40, MinRTT: 25, Unacked: 80, NotSent: 5}
	step(list)
	if f.net != 2*time.Second || f.rwnd != time.Second || f.losses != 1 || f.again != 3 || f.segs != 100 || f.rtt != 30 || f.acked != 100*segment-10 || f.least != 20 || !f.unacked {
		t.Errorf("%+v", f)
	}
	// The buffer of b holds nothing that has not been sent.
	if f.buf != time.Second {
		t.Errorf("the send buffer was the limit for %v", f.buf)
	}
	step(list[1:])
	if f.net != 2*time.Second || f.again != 3 || f.streams != 1 || f.retrans != 0 {
		t.Errorf("after a stream has gone: %+v", f)
	}
	if saturated(101*time.Millisecond, 100*time.Millisecond) || !saturated(104*time.Millisecond, 100*time.Millisecond) || saturated(2*time.Millisecond, time.Millisecond) {
		t.Error("a queue is seen where none is, or the other way round")
	}
}
