package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
)

// fanState is what a view knows of several destinations. The zero value stands for
// one destination, of which it knows nothing. Not safe for concurrent use.
type fanState struct {
	dests []events.ProgressDest // in the order of the command
	at    map[string]int
}

// begin takes the destinations of a job.
func (f *fanState) begin(dests []string) {
	f.dests, f.at = nil, make(map[string]int)
	for i, d := range dests {
		f.dests = append(f.dests, events.ProgressDest{Dest: d, State: "connecting"})
		f.at[d] = i
	}
}

// fold takes the state of one destination in.
func (f *fanState) fold(d events.ProgressDest) {
	if i, ok := f.at[d.Dest]; ok {
		f.dests[i] = d
	}
}

func (f *fanState) several() bool { return len(f.dests) > 1 }

// count is the number of destinations, 1 when nothing is known of them.
func (f *fanState) count() int64 { return int64(max(1, len(f.dests))) }

// rate gives the rate of the job: with several destinations the mean of those that
// get data.
func (f *fanState) rate(s viewStyle, bps int64) string {
	if !f.several() {
		return s.rate(bps)
	}
	n := int64(0)
	for _, d := range f.dests {
		if d.State == "running" || d.State == "held" {
			n++
		}
	}
	return s.rate(bps/max(1, n)) + " to each"
}

// ways says how many destinations are served by which transport: tcp to 3, ssh to 1.
func (f *fanState) ways() string {
	count := make(map[string]int64)
	for _, d := range f.dests {
		if d.Transport != "" {
			count[d.Transport]++
		}
	}
	var parts []string
	for _, kind := range summaryKinds(count) {
		parts = append(parts, kind+" to "+strconv.FormatInt(count[kind], 10))
	}
	return strings.Join(parts, ", ")
}

// fanUrgency orders states of destinations: what a person should see first has the
// lowest number.
var fanUrgency = map[string]int{"lost": 0, "failed": 1, "connecting": 2, "running": 3, "held": 4, "done": 5}

// lines gives a line for each destination, most lines at most of width columns:
// all in the order of the command, or, where they do not fit, those first which need
// looking at, and a count of the others. silent is how long ago they were heard of.
func (f *fanState) lines(s viewStyle, width, most int, silent time.Duration) []string {
	if most < 1 {
		return nil
	}
	show := slices.Clone(f.dests)
	var rest []events.ProgressDest
	if len(show) > most {
		slices.SortStableFunc(show, func(a, b events.ProgressDest) int {
			return cmp.Or(cmp.Compare(fanUrgency[a.State], fanUrgency[b.State]), cmp.Compare(a.DoneBytes, b.DoneBytes))
		})
		show, rest = show[:most-1], show[most-1:]
	}
	names := 0
	for _, d := range show {
		names = max(names, viewWidth(s.name(d.Dest)))
	}
	names = min(names, max(8, width/3))
	var lines []string
	for _, d := range show {
		name := s.cut(s.name(d.Dest), names)
		head := " " + name + strings.Repeat(" ", names-viewWidth(name)) + "  "
		lines = append(lines, s.cut(head+f.line(s, d, width-viewWidth(head), silent), width))
	}
	if len(rest) > 0 {
		lines = append(lines, s.cut(" and "+fanCounts(rest), width))
	}
	return lines
}

// line says how far one destination is, in width columns.
func (f *fanState) line(s viewStyle, d events.ProgressDest, width int, silent time.Duration) string {
	percent := fanPercent(d)
	percent = strings.Repeat(" ", max(0, 4-len(percent))) + percent
	repaired := ""
	if d.RepairedBlocks > 0 {
		repaired = viewPlural(d.RepairedBlocks, "block") + " repaired"
	}
	way := s.name(d.Transport) // another destination may have told it
	if d.Streams > 0 {
		way += " x" + strconv.Itoa(d.Streams)
	}
	if d.Via != "" {
		way += " via " + s.name(d.Via)
	}
	tell := ""
	switch d.State {
	case "done":
		tell = d.State
	case "failed", "lost", "connecting":
		tell = d.Detail
		if tell == "" {
			tell = d.State
		}
	case "held":
		tell = "waits for the slowest"
	}
	if tell != "" {
		// What follows a host's name need not name it again.
		host, _, _ := strings.Cut(d.Dest, ":")
		tell = s.name(strings.TrimPrefix(tell, host+": "))
		if strings.TrimSpace(percent) == "" {
			return s.cut(tell, width)
		}
		return percent + "  " + s.cut(tell, max(8, width-6))
	}
	rate := s.rate(d.RateBps)
	if text := viewStalled(events.Progress{StalledMs: d.StalledMs, State: d.Detail}, silent); text != "" {
		rate = s.name(text)
	}
	rate += strings.Repeat(" ", max(0, 10-len(rate)))
	return strings.TrimRight(progressFit(width,
		percent+"  "+progressJoin("  ", rate, way, repaired),
		percent+"  "+progressJoin("  ", rate, way),
		percent+"  "+rate), " ")
}

// fanPercent is how much of its data a destination has: "58%", "" while that is
// not known.
func fanPercent(d events.ProgressDest) string {
	switch {
	case d.State == "done":
		return "100%"
	case d.TotalBytes == nil:
		return ""
	case *d.TotalBytes == 0:
		return "0%"
	}
	return progressPercent(int(min(99, max(0, 100*float64(d.DoneBytes)/float64(*d.TotalBytes)))))
}

// fanCounts counts destinations by their state: 7 more: 5 done, 2 running.
func fanCounts(list []events.ProgressDest) string {
	count := make(map[string]int64)
	for _, d := range list {
		count[d.State]++
	}
	var parts []string
	for _, kind := range summaryKinds(count) {
		parts = append(parts, strconv.FormatInt(count[kind], 10)+" "+kind)
	}
	return strconv.Itoa(len(list)) + " more: " + strings.Join(parts, ", ")
}

// plainDests bounds the destinations that a line of the plain log tells of. Ours.
const plainDests = 12

// plain gives what the plain log says of several destinations.
func (f *fanState) plain(s viewStyle) []string {
	if !f.several() {
		return nil
	}
	var parts []string
	var rest []events.ProgressDest
	for _, d := range f.dests {
		if len(parts) == plainDests {
			rest = append(rest, d)
			continue
		}
		text := s.name(d.Dest)
		if p := fanPercent(d); p != "" {
			text += " " + p
		}
		if d.State == "running" {
			text += " " + s.compactRate(d.RateBps)
		} else if d.State != "done" {
			text += " " + d.State
		}
		parts = append(parts, text)
	}
	text := strings.Join(parts, ", ")
	if len(rest) > 0 {
		text += ", " + fanCounts(rest)
	}
	return []string{plainLine("dests", text)}
}

// plainDest begins a line that is about one of several destinations.
func plainDest(dest string) string {
	switch {
	case dest == "":
		return ""
	case strings.HasSuffix(dest, ":"):
		return dest + " "
	}
	return dest + ": "
}

// fanTitle names the destinations of a job.
func fanTitle(e events.JobStart) string {
	if e.Mode == "fanout" {
		return viewPlural(int64(len(e.Dests)), "destination")
	}
	return progressTitle(e.Dests)
}

// fanCopies says what multicast was good for: how many copies have left, whole packets
// of the group's session and payload of all else, and how many need not.
func fanCopies(end events.JobEnd) string {
	m := end.Multicast
	if m == nil || m.CopyBytes <= 0 || m.Dests == 0 {
		return ""
	}
	sent := float64(m.WireBytes+max(0, end.SentBytes-m.GroupBytes-m.UnicastBytes)) / float64(m.CopyBytes)
	text := strconv.FormatFloat(sent, 'f', 2, 64) + " copies sent for " + viewPlural(int64(len(end.Dests)), "destination")
	if saved := float64(m.GotBytes)/float64(m.CopyBytes) - sent; saved >= 0.005 {
		text += ", " + strconv.FormatFloat(saved, 'f', 2, 64) + " saved"
	}
	return text
}

// fanCarried says by what a destination got its data within a group's session.
func fanCarried(d events.DestEnd) string {
	if d.GroupPackets+d.UnicastPackets == 0 {
		return ""
	}
	text := units.FormatBytes(d.GroupBytes) + " in " + viewPlural(d.GroupPackets, "packet") + " by multicast, " +
		units.FormatBytes(d.UnicastBytes) + " in " + viewPlural(d.UnicastPackets, "packet") + " by unicast"
	if d.ResentBytes > 0 {
		text += ", " + units.FormatBytes(d.ResentBytes) + " of that again"
	}
	if d.RefusedBlocks+d.RefusedPackets > 0 {
		text += "; refused: " + viewPlural(d.RefusedBlocks, "forged block") + ", " + viewPlural(d.RefusedPackets, "packet")
	}
	return text
}

// fanHead gives the headline of a job with several destinations, without its
// first word: 2.00 GB to each of 3 destinations in 18.2 s, 118 MB/s to each.
func fanHead(end events.JobEnd, info summaryInfo, s viewStyle) string {
	n := int64(len(end.Dests))
	complete := int64(0)
	for _, d := range end.Dests {
		if d.Exit == 0 {
			complete++
		}
	}
	to := "each of " + viewPlural(n, "destination")
	if complete == n && end.FilesOK == 0 && end.SentBytes == 0 && end.FilesSkipped > 0 {
		return "nothing to do, " + viewPlural(end.FilesSkipped/n, "file") + " already at " + to
	}
	var parts []string
	if complete == n {
		parts = append(parts, units.FormatBytes(end.DoneBytes/n)+" to "+to+" in "+summaryTime(end.Ms))
	} else {
		parts = append(parts, strconv.FormatInt(complete, 10)+" of "+viewPlural(n, "destination")+" complete, "+
			viewAmount(end.DoneBytes, end.TotalBytes)+" in "+summaryTime(end.Ms))
	}
	if end.AvgBps > 0 {
		parts = append(parts, s.rate(end.AvgBps/n)+" to each")
	}
	for _, d := range end.Dests {
		if d.Exit == 0 && d.DoneBytes == 0 {
			parts = parts[:1] // nothing but names
			break
		}
	}
	if end.FilesSkipped > 0 {
		parts = append(parts, viewPlural(end.FilesSkipped, "file")+" already there")
	}
	if end.FilesFailed > 0 {
		parts = append(parts, viewPlural(end.FilesFailed, "file")+" failed")
	}
	if info.Verified != "" && complete == n {
		parts = append(parts, info.Verified)
	}
	return strings.Join(parts, ", ")
}
