package engine

import (
	"slices"

	"github.com/gomover/gomover/wire"
)

// What a transfer can be limited by, for people and programs.
const (
	bySlowest    = "slowest host"
	byRate       = "bwlimit"
	bySourceDisk = "source disk"
	bySourceCPU  = "source cpu"
	bySmallFiles = "too many small files"
	byTargetDisk = "target disk"
	byTargetCPU  = "target cpu"
	byWindow     = "receiver window"
	byNetwork    = "network"
	byUnknown    = "unknown"
	bySendBuffer = "send buffer" // detail of byWindow: not the receiver's, ours
)

// limits are the words that may come from the far end.
var limits = []string{bySlowest, byRate, bySourceDisk, bySourceCPU, bySmallFiles, byTargetDisk, byTargetCPU, byWindow, byNetwork, byUnknown}

// end is what the streams of one end did between two of its reports. Shares are of
// their time, means over the streams.
type end struct {
	streams float64 // how many there were
	disk    float64 // reading and writing files
	net     float64 // waiting for the network
	idle    float64 // waiting for work, or for confirmations
	limited float64 // waiting for the limit of the rate
	held    float64 // waiting for other destinations, which have less
	rwnd    float64 // the kernel waited for the receiver's window
	buf     float64 // the kernel waited for room in the send buffer
	sync    float64 // at the sink: files were synced
	cpu     float64 // processors that the process used, in the mean
	delay   float64 // threads that were ready and waited for a processor, in the mean
	cores   float64 // processors that it may use
	used    float64 // of the periods of its quota, in which that was used up
}

// between is what an end did between two reports; ok is false when they do not tell.
func between(old, now *wire.Report) (e end, ok bool) {
	span := float64(now.Span) - float64(old.Span)
	if span <= 0 || now.Streams <= 0 {
		return e, false
	}
	e.streams, e.cores = float64(now.Streams), float64(max(1, now.Cores))
	all := span * e.streams
	share := func(now, old int64) float64 { return min(max(0, (float64(now)-float64(old))/all), 1) }
	e.disk, e.net = share(now.Disk, old.Disk), share(now.Network, old.Network)
	e.idle, e.limited = share(now.Idle, old.Idle), share(now.Limited, old.Limited)
	e.held = share(now.Held, old.Held)
	e.rwnd, e.buf = share(now.RwndWait, old.RwndWait), share(now.BufWait, old.BufWait)
	e.sync = min(max(0, (float64(now.Sync)-float64(old.Sync))/span), 1)
	e.cpu = max(0, (float64(now.CPU)-float64(old.CPU))/span)
	e.delay = max(0, (float64(now.Delay)-float64(old.Delay))/span)
	if periods := float64(now.Periods) - float64(old.Periods); periods > 0 {
		e.used = min(max(0, (float64(now.UsedUp)-float64(old.UsedUp))/periods), 1)
	}
	return e, true
}

// Shares from which something is the cause. Ours, found with bench/bottleneck.
const (
	mostly     = 0.5
	limitShare = 0.3 // of waiting for a limit or a window, which comes in pieces
	computing  = 0.6 // of the time with files on processors: no disk
	allCores   = 0.8
	flooded    = 0.9 // of waiting for a network that is really full
)

// busy is the share of time in which streams waited for nobody else.
func (e *end) busy() float64 { return max(0, 1-e.net-e.idle-e.limited-e.held) }

// starved tells that the process has used up its quota of the processors. Whatever
// else its threads seem to wait for, that comes late because of it.
func (e *end) starved() bool { return e.used > mostly }

// computes tells that the busy time was spent on processors or waiting for them, and
// not waiting for a disk.
func (e *end) computes() bool {
	switch {
	case e.starved(), e.disk < mostly*e.busy(), e.cpu > allCores*e.cores:
		return true
	}
	// Files in memory take processors, too, and threads that wait for those.
	return e.cpu+e.delay > computing*e.disk*e.streams
}

// moment is what the source knows beside both ends' accounts.
type moment struct {
	wanted   bool // there is more to send
	underway bool // sent and not confirmed
	small    bool // mostly small files are sent
	verdicts bool // many entries wait for the sink's verdict
	silent   bool // the sink has not reported as it should
	dead     bool // nor does its kernel acknowledge anything
}

// limitedBy names what held a transfer back, from what the streams of both ends spent
// their time on. sink is nil while nothing is known of it. by is "" when there was
// nothing to hold back.
func limitedBy(source, sink *end, m *moment) (by, detail string) {
	switch {
	case source.held > limitShare:
		return bySlowest, ""
	case source.limited > limitShare:
		return byRate, ""
	case source.idle > mostly && !m.wanted && !m.underway:
		return atRest(sink, m), ""
	case source.net+source.idle <= mostly || source.starved():
		return endLimit(source, m, bySourceDisk, bySourceCPU), ""
	case m.silent && m.dead:
		return byNetwork, "" // it may be gone
	case m.silent:
		return byTargetCPU, "" // its kernel answers, the program does not
	case m.small && source.net < flooded:
		return bySmallFiles, ""
	case sink == nil && source.idle > 1-flooded:
		return "", "" // it confirms too slowly, and has not said why
	case sink != nil && (sink.net <= mostly || sink.starved()):
		return endLimit(sink, m, byTargetDisk, byTargetCPU), ""
	case source.rwnd > limitShare:
		return byWindow, ""
	case source.buf > limitShare:
		return byWindow, bySendBuffer
	}
	return byNetwork, ""
}

// atRest names what a source waits for that has nothing more to send at present.
func atRest(sink *end, m *moment) string {
	switch {
	case m.small:
		return bySmallFiles
	case sink == nil:
		return ""
	case sink.starved():
		return byTargetCPU
	case sink.sync > mostly:
		return byTargetDisk
	case m.verdicts:
		return endLimit(sink, m, byTargetDisk, byTargetCPU)
	}
	return ""
}

// endLimit names what holds back an end that is the limit.
func endLimit(e *end, m *moment, disk, cpu string) string {
	switch {
	case m.small:
		return bySmallFiles
	case e.computes():
		return cpu
	}
	return disk
}

// limitWord is a word from the far end, if it is one.
func limitWord(s string) string {
	if slices.Contains(limits, s) {
		return s
	}
	return byUnknown
}

// opinion holds a word until another one was found twice in a row: work comes in
// batches, and the seconds between two causes belong to neither.
type opinion struct {
	by, detail string
	next       string // found once
}

// take gives the word after another look.
func (v *opinion) take(by, detail string) (string, string) {
	switch by {
	case "", v.by:
		v.next = ""
		if by != "" {
			v.detail = detail
		}
	default:
		if v.by == "" || v.by == byUnknown || v.next == by {
			v.by, v.detail, v.next = by, detail, ""
		} else {
			v.next = by
		}
	}
	if v.by == "" {
		return byUnknown, ""
	}
	return v.by, v.detail
}
