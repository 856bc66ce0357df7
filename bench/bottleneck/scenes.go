package main

import "time"

// scene is one arranged bottleneck.
type scene struct {
	name string
	what string // for people
	want string // the right words

	link   []string // settings of the four links; every packet passes two
	path   []string // those of the far host's down link alone
	args   []string // of gomover
	files  bool     // a tree of small files instead of one large one
	source int64    // bytes per second that the source's disk reads; 0: memory
	target int64    // bytes per second that the target's disk writes; 0: memory
	sysctl string   // set at both hosts for the time
	quota  [2]int   // per mille of one processor that gomover has at source and target; 0: all
	third  []string // settings of the third host's links; the job goes to all three
	stop   bool     // the far end is stopped while data flows
}

// MB is the unit of disks' rates in bytes.
const MB = 1000 * 1000

// Links by their rate. Their queues hold a round trip and a half.
var (
	near1g   = []string{"rate=1gbit", "delay=1ms", "queue=2MB"}
	mid500   = []string{"rate=500mbit", "delay=5ms", "queue=2MB"}
	far1g    = []string{"rate=1gbit", "delay=25ms", "queue=12.5MB"}
	lossy200 = []string{"rate=200mbit", "delay=10ms", "queue=1MB"}
)

// scenes are the bottlenecks that are arranged, in this order.
var scenes = []scene{
	{name: "read2", what: "a source disk of 2 MB/s", want: "source disk", link: mid500, source: 2 * MB},
	{name: "read10", what: "a source disk of 10 MB/s", want: "source disk", link: mid500, source: 10 * MB},
	{name: "read30", what: "a source disk of 30 MB/s", want: "source disk", link: mid500, source: 30 * MB},
	{name: "write2", what: "a target disk of 2 MB/s", want: "target disk", link: mid500, target: 2 * MB},
	{name: "write10", what: "a target disk of 10 MB/s", want: "target disk", link: mid500, target: 10 * MB},
	{name: "write30", what: "a target disk of 30 MB/s", want: "target disk", link: mid500, target: 30 * MB},
	{name: "sourcecpu", what: "a source with 2% of a processor", want: "source cpu", link: mid500, quota: [2]int{20, 0}},
	{name: "targetcpu", what: "a target with 2% of a processor", want: "target cpu", link: mid500, quota: [2]int{0, 20}},
	{name: "stopped", what: "a receiver that was stopped", want: "target cpu", link: mid500, stop: true},
	{name: "rmem", what: "receive buffers of 1 MiB at 1 Gbit/s and 100 ms", want: "receiver window", link: far1g, args: []string{"--streams=4"}, sysctl: "net.ipv4.tcp_rmem=4096 131072 1048576"},
	{name: "wmem", what: "send buffers of 1 MiB at 1 Gbit/s and 100 ms", want: "receiver window", link: far1g, args: []string{"--streams=4"}, sysctl: "net.ipv4.tcp_wmem=4096 65536 1048576"},
	{name: "bwlimit", what: "a limit of 10 MB/s by option", want: "bwlimit", link: mid500, args: []string{"--bwlimit=10MB"}},
	{name: "files", what: "files of 4 KiB", want: "too many small files", link: near1g, files: true},
	{name: "loss01", what: "a loss of 0.1% at 200 Mbit/s and 40 ms", want: "network", link: lossy200, path: []string{"loss=0.1%"}},
	{name: "loss1", what: "a loss of 1% at 200 Mbit/s and 40 ms", want: "network", link: lossy200, path: []string{"loss=1%"}},
	{name: "rate50", what: "a link of 50 Mbit/s", want: "network", link: []string{"rate=50mbit", "delay=5ms", "queue=200KB"}},
	{name: "rate500", what: "a link of 500 Mbit/s", want: "network", link: mid500},
	{name: "cross", what: "other traffic of 400 on a link of 500 Mbit/s", want: "network", link: mid500, path: []string{"cross=400mbit"}},
	{name: "slowest", what: "three hosts, one of them behind 20 Mbit/s", want: "slowest host", link: mid500, args: []string{"--slow-dest=wait"}, third: []string{"rate=20mbit"}},
	{name: "ssh", what: "nothing but ssh", want: "network", link: mid500, args: []string{"--transport=ssh"}},
}

// plain are the settings that take away what a scene before has set.
var plain = []string{"rate=0", "delay=0", "queue=0", "loss=0", "cross=0"}

// settle is how long after the first data, or after what is arranged then, words do
// not count: they are of the second before.
const settle = 2 * time.Second
