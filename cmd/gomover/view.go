package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
)

// viewStyle is how text for people is written, the same in every recorder.
type viewStyle struct {
	UTF8 bool // the locale is UTF-8; else only ASCII is written
	Bits bool // rates in bits per second
}

// rate gives a rate in bytes per second as text; negative counts as 0.
func (s viewStyle) rate(bps int64) string {
	return units.FormatRate(units.Rate(max(0, bps)), s.Bits)
}

// compactRate is rate without a blank.
func (s viewStyle) compactRate(bps int64) string { return strings.ReplaceAll(s.rate(bps), " ", "") }

// name makes bytes from outside safe to print: control characters, invisible
// characters, bytes that are not UTF-8 and, unless the locale is UTF-8, all that
// is not ASCII become \xNN for each byte.
func (s viewStyle) name(raw string) string {
	var b strings.Builder
	for i := 0; i < len(raw); {
		r, n := utf8.DecodeRuneInString(raw[i:])
		ok := r >= ' ' && r < 0x7f
		if r >= 0x80 && s.UTF8 && !(r == utf8.RuneError && n == 1) {
			// IsPrint leaves out the direction overrides that can make one
			// name look like another.
			ok = unicode.IsPrint(r)
		}
		if ok {
			b.WriteString(raw[i : i+n])
		} else {
			for _, c := range []byte(raw[i : i+n]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		}
		i += n
	}
	return b.String()
}

// cut shortens text that was made safe by name to width columns, taking the
// middle out: both ends of a path tell more than its middle.
func (s viewStyle) cut(text string, width int) string {
	if viewWidth(text) <= width {
		return text
	}
	gap := "..."
	if s.UTF8 {
		gap = "…"
	}
	room := width - viewWidth(gap)
	if room < 2 {
		return viewHead(text, max(0, width))
	}
	return viewHead(text, room/2) + gap + viewTail(text, room-room/2)
}

// viewHead gives the longest beginning of text that fits width columns.
func viewHead(text string, width int) string {
	used := 0
	for i, r := range text {
		if used += viewRuneWidth(r); used > width {
			return text[:i]
		}
	}
	return text
}

// viewTail gives the longest end of text that fits width columns.
func viewTail(text string, width int) string {
	used := 0
	for i := len(text); i > 0; {
		r, n := utf8.DecodeLastRuneInString(text[:i])
		if used += viewRuneWidth(r); used > width {
			return text[i:]
		}
		i -= n
	}
	return text
}

// viewWidth is the number of terminal columns that text takes.
func viewWidth(text string) int {
	n := 0
	for _, r := range text {
		n += viewRuneWidth(r)
	}
	return n
}

// viewRuneWidth is the number of columns of one character: 0 for combining
// marks, 2 for East Asian wide ones and most pictographs, else 1. Source: the
// blocks that UAX 11 calls W and F, in coarse ranges; one column too many only
// makes a line shorter.
func viewRuneWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0xa4cf,
		r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f,
		r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff,
		r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// viewAmount gives "1.24 of 2.00 TB", with the unit once when both share it.
func viewAmount(done, total int64) string {
	d, t := units.FormatBytes(done), units.FormatBytes(total)
	number, unit, _ := strings.Cut(d, " ")
	if _, other, _ := strings.Cut(t, " "); unit == other {
		d = number
	}
	return d + " of " + t
}

// viewGroups gives a count in groups of three digits: 80 211.
func viewGroups(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}

// viewPlural gives "1 file" or "2 files"; a noun in -y gets -ies.
func viewPlural(n int64, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "y"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	default:
		noun += "s"
	}
	return strconv.FormatInt(n, 10) + " " + noun
}

// viewCompact gives a size as the plain log writes it: 80.1GB.
func viewCompact(n int64) string { return strings.ReplaceAll(units.FormatBytes(n), " ", "") }

// viewBinary gives a size that was chosen as a power of two: 16 MiB. Sizes that
// are no whole number of KiB are given in bytes.
func viewBinary(n int64) string {
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 30, " GiB"}, {1 << 20, " MiB"}, {1 << 10, " KiB"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	if n >= 1<<20 {
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
	}
	return strconv.FormatInt(n, 10) + " B"
}

// viewMillis gives a round trip with two significant digits, or all before the
// point: 0.05 ms, 0.12 ms, 8.4 ms, 88 ms. The least is 0.001 ms; 0 is not known.
func viewMillis(ms float64) string {
	if math.IsNaN(ms) || math.IsInf(ms, 0) || ms <= 0 {
		return "unknown"
	}
	text := ""
	switch {
	case ms < 0.0995:
		text = strings.TrimSuffix(strconv.FormatFloat(max(ms, 0.001), 'f', 3, 64), "0")
	case ms < 0.995:
		text = strconv.FormatFloat(ms, 'f', 2, 64)
	case ms < 9.95:
		text = strconv.FormatFloat(ms, 'f', 1, 64)
	default:
		text = strconv.FormatFloat(ms, 'f', 0, 64)
	}
	return text + " ms"
}

// viewLeft gives a time left and its range in the same unit: "14 min", "12-17".
// All are milliseconds; the range is empty when it says nothing more.
func viewLeft(ms, lo, hi int64) (left, spread string) {
	d := viewDuration(ms)
	left = units.FormatLeft(d)
	_, unit, _ := strings.Cut(left, " ")
	per := map[string]time.Duration{"s": time.Second, "min": time.Minute, "h": time.Hour, "days": 24 * time.Hour}[unit]
	if per == 0 || lo < 0 || hi < lo || ms <= 0 {
		return left, ""
	}
	number := func(ms int64) string {
		v := float64(viewDuration(ms)) / float64(per)
		if v >= 9.95 || unit == "s" {
			return strconv.FormatFloat(v, 'f', 0, 64)
		}
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	if from, to := number(lo), number(hi); from != to {
		spread = from + "-" + to
	}
	return left, spread
}

// viewDuration turns milliseconds into a span without wrapping.
func viewDuration(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// viewPercent keeps the percentage of a job, which never goes backwards.
type viewPercent struct{ highest int }

// of gives the percentage after p, or -1 while the total is not known.
//
// 100 is given only when every file has ended, that is after check, sync and
// rename; bytes alone stop at 99. A job without bytes counts its files.
func (v *viewPercent) of(p events.Progress) int {
	if p.TotalBytes == nil {
		return -1
	}
	done, total := p.DoneBytes, *p.TotalBytes
	if total <= 0 {
		done, total = p.FilesDone, p.FilesTotal
	}
	percent := 0
	switch {
	case total > 0 && done >= total && p.FilesDone >= p.FilesTotal:
		percent = 100
	case total > 0:
		percent = int(min(99, math.Floor(100*float64(done)/float64(total))))
	}
	v.highest = min(100, max(v.highest, percent))
	return v.highest
}

// viewStalled gives what to print instead of a rate, or "" when data flows.
// silent is how long ago p was recorded: an engine that says nothing confirms
// nothing either.
func viewStalled(p events.Progress, silent time.Duration) string {
	stalled := viewDuration(p.StalledMs)
	if silent > 1500*time.Millisecond {
		stalled += silent
	}
	switch {
	case p.State == "paused" || strings.HasPrefix(p.State, "lost "):
		return p.State
	case stalled < 5*time.Second:
		return ""
	case p.State != "":
		return viewStallTime(stalled) + ", " + p.State
	}
	return viewStallTime(stalled)
}

// viewStallTime gives "stalled 7 s", in minutes after two of them.
func viewStallTime(d time.Duration) string {
	if d < 2*time.Minute {
		return "stalled " + strconv.FormatInt(int64(d/time.Second), 10) + " s"
	}
	return "stalled " + strconv.FormatInt(int64(d/time.Minute), 10) + " min"
}
