package main

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
)

// summaryOptions says how the summary is written.
type summaryOptions struct {
	Kind     string // short, full, none
	Width    int    // columns; failed files' names are cut to it; 0: not cut
	Style    viewStyle
	Headless bool // leave out the headline, which the plain log has written
}

// summaryLines gives the summary of a job that has ended: the headline, the
// failed files, with full the details, and last of all how to go on.
func summaryLines(end events.JobEnd, info summaryInfo, o summaryOptions) []string {
	if o.Kind == "none" {
		return nil
	}
	var lines []string
	if !o.Headless {
		lines = append(lines, summaryHead(end, info, o.Style))
	}
	lines = append(lines, summaryFailedLines(info, o)...)
	if text := fanCopies(end); text != "" {
		lines = append(lines, "  multicast: "+text)
	}
	if o.Kind == "full" {
		lines = append(lines, summaryDetails(end, info, o)...)
	} else {
		lines = append(lines, summarySkipped(info, o)...)
	}
	if end.Resumable && end.ResumeCmd != "" {
		lines = append(lines, "to continue: "+o.Style.name(end.ResumeCmd))
	}
	return lines
}

// summaryHead gives the headline:
// done  2.00 GB in 18.2 s, 118 MB/s, 1 file, verified.
func summaryHead(end events.JobEnd, info summaryInfo, s viewStyle) string {
	word := summaryWord(end)
	if len(end.Dests) > 1 {
		return word + "  " + fanHead(end, info, s)
	}
	if info.Start.DryRun && end.Exit == 0 {
		return "dry run  " + units.FormatBytes(end.TotalBytes) + ", " +
			viewPlural(end.FilesOK, "file") + " to copy, " + strconv.FormatInt(end.FilesSkipped, 10) + " already there"
	}
	if end.Exit == 0 && end.FilesOK == 0 && end.FilesFailed == 0 && end.SentBytes == 0 && end.FilesSkipped > 0 {
		return word + "  nothing to do, " + viewPlural(end.FilesSkipped, "file") + " already there"
	}
	var parts []string
	amount := units.FormatBytes(end.DoneBytes)
	if end.Exit != 0 && end.TotalBytes > 0 {
		amount = progressPercent(summaryPercent(end, info)) + ", " + viewAmount(end.DoneBytes, end.TotalBytes)
	}
	parts = append(parts, amount+" in "+summaryTime(end.Ms))
	if end.AvgBps > 0 {
		parts = append(parts, s.rate(end.AvgBps))
	}
	parts = append(parts, viewPlural(end.FilesOK, "file"))
	if end.FilesSkipped > 0 {
		parts = append(parts, strconv.FormatInt(end.FilesSkipped, 10)+" already there")
	}
	if end.FilesFailed > 0 {
		parts = append(parts, strconv.FormatInt(end.FilesFailed, 10)+" failed")
	}
	if saved := end.DoneBytes - end.SentBytes; info.Start.Resumed && end.SentBytes > 0 && saved > 0 {
		parts = append(parts, units.FormatBytes(end.SentBytes)+" sent")
	}
	if end.Exit == 0 && info.Verified != "" {
		parts = append(parts, info.Verified)
	}
	head := word + "  " + strings.Join(parts, ", ")
	if end.Exit != 0 && end.Reason != "" && end.Reason != word {
		head += ": " + s.name(end.Reason)
	}
	return head
}

// summaryPlain gives the headline as the plain log writes it:
// done   2.00TB in 37m44s, 884MB/s, 30119 files, verified, 0 failed.
func summaryPlain(end events.JobEnd, verified string, s viewStyle) string {
	text := viewCompact(end.DoneBytes)
	if end.Exit != 0 && end.TotalBytes > 0 {
		text += " of " + viewCompact(end.TotalBytes)
	}
	if n := len(end.Dests); n > 1 {
		text += " to " + strconv.Itoa(n) + " destinations"
	}
	text += " in " + units.FormatDuration(viewDuration(end.Ms)) + ", " + s.compactRate(end.AvgBps) + ", " +
		viewPlural(end.FilesOK, "file")
	if end.FilesSkipped > 0 {
		text += ", " + strconv.FormatInt(end.FilesSkipped, 10) + " already there"
	}
	if end.Exit == 0 && (end.FilesOK > 0 || end.FilesSkipped == 0) {
		text += ", " + verified
	}
	text += ", " + strconv.FormatInt(end.FilesFailed, 10) + " failed"
	word := summaryWord(end)
	if end.Exit != 0 {
		text += ", exit " + strconv.Itoa(end.Exit)
	}
	return plainLine(word, text)
}

// summaryWord is the first word of the summary. The job's own errors say more;
// the words here stand for an exit code.
func summaryWord(end events.JobEnd) string {
	switch end.Exit {
	case 0:
		return "done"
	case 2, 3:
		return "incomplete"
	case 129, 130, 143:
		return "interrupted"
	}
	if end.Resumable {
		return "stopped"
	}
	return "failed"
}

// summaryPercent is how far a job came that is not complete: never 100.
func summaryPercent(end events.JobEnd, info summaryInfo) int {
	percent := int(100 * math.Min(1, float64(max(0, end.DoneBytes))/float64(end.TotalBytes)))
	return min(99, max(percent, info.Percent))
}

// summaryTime gives how long a job took, with room before the unit of a single
// number: 18.2 s, 350 ms, 37m44s.
func summaryTime(ms int64) string {
	d := viewDuration(ms)
	text := units.FormatDuration(d)
	if d >= 59950*time.Millisecond {
		return text
	}
	i := strings.LastIndexAny(text, "0123456789") + 1
	return text[:i] + " " + text[i:]
}

// summarySkipped says in short what of the source is not there: nobody shall
// find out later. What was there already is in the headline.
func summarySkipped(info summaryInfo, o summaryOptions) []string {
	var lines []string
	for _, kind := range summaryKinds(info.Skipped) {
		if kind != summaryThere {
			lines = append(lines, "  skipped: "+strconv.FormatInt(info.Skipped[kind], 10)+"  "+o.Style.name(kind))
		}
	}
	return lines
}

// summaryFailedLines lists the failed files with their reasons. It is also what
// is printed when everything else is kept quiet.
func summaryFailedLines(info summaryInfo, o summaryOptions) []string {
	var lines []string
	dests := len(info.Start.Dests)
	for _, f := range info.Failed {
		name := o.Style.name(f.Path)
		if dests > 1 && f.Dest != "" {
			name = o.Style.name(f.Dest) + ": " + name
		}
		reason := o.Style.name(f.Reason)
		if reason == "" {
			reason = "no reason given"
		}
		if o.Width > 0 {
			// The reason is worth more than the middle of a long path.
			name = o.Style.cut(name, max(20, o.Width-len("  failed: : ")-viewWidth(reason)))
		}
		lines = append(lines, "  failed: "+name+": "+reason)
	}
	if info.FailedMore > 0 {
		line := "  and " + strconv.FormatInt(info.FailedMore, 10) + " more failed"
		if info.FailedList != "" {
			line += "; all are listed in " + o.Style.name(info.FailedList)
		}
		lines = append(lines, line)
	}
	return lines
}

// summaryDetails gives what --summary=full adds.
func summaryDetails(end events.JobEnd, info summaryInfo, o summaryOptions) []string {
	var lines []string
	s := o.Style
	add := func(label, text string) {
		lines = append(lines, "  "+label+strings.Repeat(" ", max(1, 12-len(label)))+s.name(text))
	}
	for _, d := range end.Dests {
		text := d.Dest + "  " + units.FormatBytes(d.DoneBytes) + "  " + s.rate(summaryRate(d.DoneBytes, end.Ms))
		if d.FilesFailed > 0 {
			text += "  " + strconv.FormatInt(d.FilesFailed, 10) + " failed"
		}
		if d.Exit != 0 {
			text += "  exit " + strconv.Itoa(d.Exit)
		}
		if d.Reason != "" {
			text += ", " + d.Reason
		}
		add("to", text)
		if text := fanCarried(d); text != "" {
			add("", text)
		}
	}
	for _, v := range end.Sources {
		text := v.Source + "  " + units.FormatBytes(v.Bytes) + "  " + s.rate(summaryRate(v.Bytes, end.Ms))
		if len(end.Sources) > 1 {
			text += "  " + progressPercent(summaryShare(v.Share))
		}
		add("from", text)
	}
	if info.Plan.Transport != "" && len(end.Dests) < 2 {
		add("by", strings.Join(viewPlanParts(info.Plan), ", "))
	}
	for _, v := range info.Transports {
		add("changed", viewTransport(v))
	}
	add("sent", units.FormatBytes(end.SentBytes)+", "+viewPlural(end.Retrans, "segment")+" sent again")
	if m := end.Multicast; m != nil {
		add("to groups", units.FormatBytes(m.GroupBytes)+", mended by "+units.FormatBytes(m.CodedBytes)+" for all and "+
			units.FormatBytes(m.ResentBytes)+" for single ones; "+units.FormatBytes(m.WireBytes)+" in all, with the heads of packets")
	}
	for i, text := range summaryLimits(end) {
		label := "limited by"
		if i > 0 {
			label = ""
		}
		add(label, text)
	}
	for _, v := range info.Tunes {
		text := v.At.UTC().Format("15:04:05Z") + "  " + viewTune(v.Tune, o.Style)
		if v.Reason != "" {
			text += ", " + v.Reason
		}
		add("tuned", text)
	}
	for _, kind := range summaryKinds(info.Skipped) {
		add("skipped", strconv.FormatInt(info.Skipped[kind], 10)+"  "+kind)
	}
	for _, kind := range summaryKinds(info.Warnings) {
		add("warnings", strconv.FormatInt(info.Warnings[kind], 10)+"  "+kind)
	}
	return lines
}

// summaryRate is bytes over milliseconds in bytes per second.
func summaryRate(bytes, ms int64) int64 {
	if ms <= 0 || bytes <= 0 {
		return 0
	}
	return int64(min(math.MaxInt64/2, float64(bytes)*1000/float64(ms)))
}

// summaryLimits gives the time spent on each limiting factor, the longest first.
func summaryLimits(end events.JobEnd) []string {
	var all int64
	for _, ms := range end.Limits {
		all += max(0, ms)
	}
	var lines []string
	for _, kind := range summaryKinds(end.Limits) {
		ms := end.Limits[kind]
		if ms <= 0 {
			continue
		}
		lines = append(lines, kind+"  "+summaryTime(ms)+"  "+progressPercent(summaryShare(float64(ms)/float64(all))))
	}
	return lines
}

// summaryShare gives a share 0..1 in percent.
func summaryShare(v float64) int {
	if math.IsNaN(v) {
		return 0
	}
	return int(math.Round(100 * math.Min(1, math.Max(0, v))))
}

// summaryKinds gives the keys, the largest count first.
func summaryKinds(counts map[string]int64) []string {
	var kinds []string
	for kind := range counts {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	return kinds
}
