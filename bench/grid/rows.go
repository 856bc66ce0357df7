package main

import (
	"slices"
	"strconv"
	"strings"
)

// path is one row: a network, and what else holds a copy back on it.
type path struct {
	name   string
	all    []string // settings of all links, words for lab set
	down   []string // of the way to the target alone
	ccs    []string // that a user may have there; where it is one, runs without flags are told it, too
	window string   // of tcp_rmem at the target, in bytes: least, first, most; "": as it is
	disk   int64    // bytes per second that the target's disk writes; 0: memory
}

// paths are clean and lossy, near and far, with little and much queue, and with ends
// that are slower than the network. They are slow, so that several can be emulated side
// by side; what matters to a policy are round trips, losses and queues in multiples of
// what a path holds.
var paths = []path{
	{name: "50 Mbit/s, 50 ms", all: []string{"rate=50mbit", "delay=12.5ms", "queue=312KB"}, ccs: both},
	{name: "50 Mbit/s, 100 ms, queue of a tenth", all: []string{"rate=50mbit", "delay=25ms", "queue=62KB"}, ccs: both},
	{name: "40 Mbit/s, 100 ms, loss 0.1%", all: []string{"rate=40mbit", "delay=25ms", "queue=500KB"}, down: []string{"loss=0.1%"}, ccs: both},
	{name: "40 Mbit/s, 100 ms, loss 0.1%, cubic alone", all: []string{"rate=40mbit", "delay=25ms", "queue=500KB"}, down: []string{"loss=0.1%"}, ccs: both[:1]},
	{name: "20 Mbit/s, 300 ms, loss 1%", all: []string{"rate=20mbit", "delay=75ms", "queue=750KB"}, down: []string{"loss=1%"}, ccs: both},
	{name: "50 Mbit/s, 10 ms, queue of four times the path", all: []string{"rate=50mbit", "delay=2.5ms", "queue=250KB"}, ccs: both},
	{name: "50 Mbit/s, 200 ms, windows of 64 KiB", all: []string{"rate=50mbit", "delay=50ms", "queue=1.25MB"}, ccs: both, window: "4096 16384 65536"},
	{name: "100 Mbit/s, 20 ms, disk of 4 MB/s", all: []string{"rate=100mbit", "delay=5ms", "queue=250KB"}, ccs: both, disk: 4e6},
}

var both = []string{"cubic", "bbr"}

// streams are the fixed numbers of streams.
var streams = []int{1, 2, 4, 8, 16, 32, 64}

// decisive is the number of streams with which the congestion controls are compared.
const decisive = 8

// setting is what a run is started with.
type setting struct {
	name  string
	flags []string
}

// free is the setting that is judged: no flags, but what the path's users may have, and
// those that are tried in place of the defaults.
func (p *path) free(also []string) setting {
	s := setting{name: "no flags", flags: slices.Clone(also)}
	if len(also) > 0 {
		s.name = strings.Join(also, " ")
	}
	if len(p.ccs) == 1 {
		s.flags = append(s.flags, "--cc="+p.ccs[0])
	}
	return s
}

// fixed is a setting that nothing changes while it runs.
func fixed(n int, cc string) setting {
	name := strconv.Itoa(n) + " " + cc
	return setting{name: name, flags: []string{"--streams=" + strconv.Itoa(n), "--cc=" + cc, "--retune=off", "--transport=tcp"}}
}
