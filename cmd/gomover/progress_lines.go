package main

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
)

// Lines of sources: fewer than sourceLeast are not drawn, and where there is room for
// more sourceLeaves are left to what comes below them.
const sourceLeast, sourceLeaves = 2, 2

// lines draws the block: at most most lines of at most width columns, the
// progress line among them whatever happens. Nothing is left of it once the job
// has ended: the summary follows.
func (p *progressState) lines(width, most int, now time.Time) []string {
	if !p.begun || p.ended || most < 1 || width < 1 {
		return nil
	}
	progress := p.progressLine(width, now)
	if most == 1 {
		return []string{progress}
	}
	out := []string{p.titleLine(width), progress}
	note := p.note(now)
	add := func(line string, takesNote bool) {
		if line == "" || len(out) >= most {
			return
		}
		if pad := max(3, 60-viewWidth(line)); takesNote && note != "" && viewWidth(line)+pad+viewWidth(note) <= width {
			line, note = line+strings.Repeat(" ", pad)+note, ""
		}
		out = append(out, line)
	}
	if p.fan.several() {
		if p.dests {
			for _, line := range p.fan.lines(p.style, width, most-len(out), now.Sub(p.lastAt)) {
				add(line, false)
			}
		}
		return out
	}
	if p.sources {
		for _, line := range p.src.lines(p.style, width, max(min(sourceLeast, most-len(out)), most-len(out)-sourceLeaves)) {
			add(line, false)
		}
	}
	if p.streams {
		add(p.streamLine(width), true)
	}
	if p.files {
		add(p.fileLine(width), false)
	}
	if note != "" {
		add(p.style.cut(" "+note, width), false)
	}
	return out
}

// titleLine says what goes where and, where there is room, how.
func (p *progressState) titleLine(width int) string {
	title := p.style.name(p.title)
	if p.plan.Transport == "" && !p.fan.several() {
		return p.style.cut(title, width)
	}
	parts := viewPlanParts(p.plan)
	if p.fan.several() {
		parts = []string{p.fan.ways()}
	}
	for ; len(parts) > 0; parts = parts[:len(parts)-1] {
		plan := p.style.name(strings.Join(parts, ", "))
		pad := max(3, 31-viewWidth(title))
		if viewWidth(title)+pad+viewWidth(plan) <= width {
			return title + strings.Repeat(" ", pad) + plan
		}
		// Rather a shorter title than no plan, as long as both ends can be told.
		if room := width - 3 - viewWidth(plan); len(parts) == 1 && room >= 20 {
			return p.style.cut(title, room) + "   " + plan
		}
	}
	return p.style.cut(title, width)
}

// progressLine says how far the job is: the longest form that fits.
func (p *progressState) progressLine(width int, now time.Time) string {
	if p.lastAt.IsZero() {
		return p.style.cut(" "+p.doing(), width)
	}
	v := p.last
	if v.TotalBytes == nil {
		return p.style.cut(p.listingLine(width, now), width)
	}
	head := " " + strings.Repeat(" ", max(0, 3-len(progressPercent(p.percent.highest)))) + progressPercent(p.percent.highest)
	n := p.fan.count()
	amount := viewAmount(v.DoneBytes/n, *v.TotalBytes/n)
	rate, left, short, limit := p.pace(now)
	pace := rate
	if short != "" {
		pace += "   " + short // worth more than the amounts in a narrow window
	} else {
		pace = amount + "   " + rate
	}
	return progressFit(width,
		head+"  "+progressJoin("   ", amount, rate, left, limit),
		head+"  "+progressJoin("  ", amount, rate, left, limit),
		head+"  "+progressJoin("  ", amount, rate, short, limit),
		head+"  "+progressJoin("   ", amount, rate, left),
		head+"  "+progressJoin("   ", amount, rate, short),
		head+"  "+progressJoin("  ", amount, rate, strings.TrimSuffix(short, " left")),
		head+"  "+pace,
		head+"  "+progressJoin("  ", amount, rate),
		head+"  "+rate,
		head)
}

// pace gives the rate, the time left in a long and a short form, and what limits
// the rate; or, while nothing moves, what is tried, in place of the rate.
func (p *progressState) pace(now time.Time) (rate, left, short, limit string) {
	v := p.last
	if p.paused {
		return "paused", "", "", ""
	}
	if text := viewStalled(v, now.Sub(p.lastAt)); text != "" {
		return p.style.name(text), "", "", ""
	}
	rate = p.fan.rate(p.style, v.RateBps)
	if v.LimitedBy != "" {
		limit = p.style.name("limited by: " + limitText(v))
	}
	if v.TotalBytes == nil || p.percent.highest == 100 {
		return rate, "", "", limit
	}
	if v.DoneBytes >= *v.TotalBytes && *v.TotalBytes > 0 {
		// Every byte has arrived; what is left is sync and rename.
		return rate, "finishing", "finishing", ""
	}
	if v.ETAms < 0 || now.Sub(p.firstAt) < progressUnsure {
		return rate, "time left unknown", "", limit
	}
	about, spread := viewLeft(v.ETAms, v.ETALoMs, v.ETAHiMs)
	left, short = "about "+about+" left", about+" left"
	if spread != "" {
		left += " (" + spread + ")"
	}
	return rate, left, short, limit
}

// listingLine is the progress line while the source is still being listed: no
// percentage, since nobody knows of what.
func (p *progressState) listingLine(width int, now time.Time) string {
	v, scan := p.last, p.scan
	if v.FilesTotal > scan.Files {
		scan.Files = v.FilesTotal
	}
	rate, _, _, limit := p.pace(now)
	done := units.FormatBytes(v.DoneBytes / p.fan.count())
	return progressFit(width,
		" "+progressJoin("   ", done+" of "+progressScan(scan), rate, limit),
		" "+progressJoin("   ", done+" of "+progressScan(scan), rate),
		" "+progressJoin("   ", done+" of at least "+units.FormatBytes(scan.Bytes), rate),
		" "+progressJoin("   ", done, rate),
		" "+rate)
}

// progressScan says how much was listed so far; "" for nothing.
func progressScan(s events.Scan) string {
	if s.Files == 0 && s.Bytes == 0 {
		return ""
	}
	noun := " files"
	if s.Files == 1 {
		noun = " file"
	}
	return "at least " + units.FormatBytes(s.Bytes) + " in " + viewGroups(s.Files) + noun + " so far"
}

// streamLine gives the rate of each stream, or their range when there are too
// many for the width.
func (p *progressState) streamLine(width int) string {
	list := p.live()
	if len(list) == 0 {
		return ""
	}
	lo, hi := list[0].RateBps, list[0].RateBps
	for _, s := range list {
		lo, hi = min(lo, s.RateBps), max(hi, s.RateBps)
	}
	per, unit := progressUnit(hi, p.style.Bits)
	line := " stream"
	for _, s := range list {
		line += "  " + strconv.FormatUint(uint64(s.Stream), 10) + " " + progressNumber(s.RateBps, per)
	}
	if line += " " + unit; viewWidth(line) <= width {
		return line
	}
	return p.style.cut(" stream  "+strconv.Itoa(len(list))+" at "+progressNumber(lo, per)+" to "+progressNumber(hi, per)+" "+unit, width)
}

// progressUnit chooses one unit for several rates of which the highest is bps,
// and gives how many bytes per second it stands for.
func progressUnit(bps int64, bits bool) (per float64, name string) {
	per, name, scaled := 1.0, "B/s", float64(bps)
	names := []string{"KB/s", "MB/s", "GB/s"}
	if bits {
		per, name, scaled = 1.0/8, "bit/s", float64(bps)*8
		names = []string{"kbit/s", "Mbit/s", "Gbit/s"}
	}
	for _, n := range names {
		if scaled < 999.5 {
			break
		}
		scaled /= 1000
		per, name = per*1000, n
	}
	return per, name
}

// progressNumber gives a rate in units of per with two digits at least.
func progressNumber(bps int64, per float64) string {
	v := float64(bps) / per
	if v >= 9.95 || v == 0 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// fileLine counts the files and names one that is under way. A job of one file
// needs neither: the title names it.
func (p *progressState) fileLine(width int) string {
	v := p.last
	total := max(v.FilesTotal, p.scan.Files)
	if p.lastAt.IsZero() || total < 2 {
		return ""
	}
	of := " of "
	if !p.scan.Done {
		of = " of at least "
	}
	line := " file    " + strconv.FormatInt(v.FilesDone, 10) + of + strconv.FormatInt(total, 10)
	if p.failed > 0 {
		line += "   " + strconv.FormatInt(p.failed, 10) + " failed"
	}
	line = p.style.cut(line, width)
	if v.CurrentPath == "" {
		return line
	}
	share := " " + progressPercent(int(100*min(1, max(0, v.CurrentShare))))
	room := width - viewWidth(line) - 3 - viewWidth(share)
	name := p.style.name(v.CurrentPath)
	if viewWidth(name) > room {
		name = p.style.cut(p.style.name(path.Base(v.CurrentPath)), room)
	}
	if room < 8 {
		return line
	}
	return line + "   " + name + share
}

// progressPercent gives "62%".
func progressPercent(n int) string { return strconv.Itoa(n) + "%" }

// progressJoin joins what is not empty.
func progressJoin(gap string, parts ...string) string {
	var kept []string
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, gap)
}

// progressFit gives the first of forms that fits width columns, else the
// beginning of the last.
func progressFit(width int, forms ...string) string {
	for _, form := range forms {
		if viewWidth(form) <= width {
			return form
		}
	}
	return viewHead(forms[len(forms)-1], width)
}

// limitText says what limits a rate.
func limitText(v events.Progress) string {
	if v.LimitedDetail != "" {
		return v.LimitedBy + " (" + v.LimitedDetail + ")"
	}
	return v.LimitedBy
}
