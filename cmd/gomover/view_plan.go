package main

import (
	"math"
	"strconv"
	"strings"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
)

// viewEncrypt says in words how data is protected; "" for what is not known.
func viewEncrypt(mode string) string {
	switch mode {
	case "on":
		return "encrypted"
	case "auth":
		return "readable, protected against change"
	case "off":
		return "not encrypted"
	case "ssh":
		return "encrypted by ssh"
	case "tls":
		return "encrypted by the mirrors"
	}
	return ""
}

// viewPlanParts gives a plan as short parts, the most telling first.
func viewPlanParts(p events.Plan) []string {
	first := p.Transport
	if p.Streams > 0 && p.Transport != "local" {
		first += " x" + strconv.Itoa(p.Streams)
	}
	parts := []string{first}
	if p.WindowBytes > 0 {
		parts = append(parts, viewBinary(p.WindowBytes)+" each")
	}
	if p.RTTms > 0 {
		parts = append(parts, "rtt "+viewMillis(p.RTTms))
	}
	if text := viewEncrypt(p.Encrypt); text != "" {
		parts = append(parts, text)
	}
	return parts
}

// viewTune gives a tuner's step: "5 -> 6 streams (+7%)". The gain is there only
// once it was measured.
func viewTune(e events.Tune, s viewStyle) string {
	text := ""
	switch e.What {
	case "streams", "jobs":
		text = strconv.FormatInt(e.From, 10) + " -> " + strconv.FormatInt(e.To, 10) + " " + e.What
	case "window":
		text = e.What + " " + viewBinary(e.From) + " -> " + viewBinary(e.To)
	case "rate":
		text = e.What + " " + s.limitText(e.From) + " -> " + s.limitText(e.To)
	case "cc":
		text = "congestion control " + e.CC
	case "pause":
		text = map[bool]string{true: "paused", false: "goes on"}[e.To == 1]
	case "priority":
		text = "priority " + map[int64]string{-1: engine.Background, 1: engine.Bold}[e.To]
		if e.To == 0 {
			text += engine.Fair
		}
	default:
		text = e.What + " " + strconv.FormatInt(e.From, 10) + " -> " + strconv.FormatInt(e.To, 10)
	}
	if gain := viewGain(e); gain != "" {
		text += " (" + gain + ")"
	}
	return text
}

// limitText is a limit of the rate.
func (s viewStyle) limitText(rate int64) string {
	if rate == 0 {
		return "off"
	}
	return s.compactRate(rate)
}

// viewGain gives what a step brought, such as +7%, or "" before it is known.
func viewGain(e events.Tune) string {
	if e.BeforeBps <= 0 || e.AfterBps <= 0 {
		return ""
	}
	percent := math.Round(100 * (float64(e.AfterBps)/float64(e.BeforeBps) - 1))
	if percent >= 0 {
		return "+" + strconv.FormatFloat(percent, 'f', 0, 64) + "%"
	}
	return strconv.FormatFloat(percent, 'f', 0, 64) + "%"
}

// explainLines gives the text of --explain: the plan, the numbers it came from,
// what else there was, and what would pin it.
func explainLines(p events.Plan, s viewStyle) []string {
	head := "plan: " + strings.Join(viewPlanParts(p), ", ")
	if p.CC != "" {
		head += ", congestion control " + p.CC
	}
	lines := []string{s.name(head)}
	if p.Reason != "" {
		lines = append(lines, s.name("  because: "+p.Reason))
	}
	if p.BlockBytes > 0 {
		lines = append(lines, "  blocks:  "+viewBinary(p.BlockBytes)+", the unit of checking and of resuming")
	}
	switch p.Dial {
	case "source":
		lines = append(lines, "  dial:    the source opens the data connections")
	case "target":
		lines = append(lines, "  dial:    the destination opens the data connections")
	}
	if p.Transport == "tcp" {
		lines = append(lines, s.explainWindow(p))
	}
	for i, a := range p.Alternatives {
		label := "           "
		if i == 0 {
			label = "  instead: "
		}
		line := label + a.Transport
		if a.PredictedBps > 0 {
			line += ", " + s.rate(a.PredictedBps) + " predicted"
		}
		if a.Reason != "" {
			line += ": " + a.Reason
		}
		lines = append(lines, s.name(line))
	}
	if pin := explainPin(p); pin != "" {
		lines = append(lines, s.name("  pin it:  "+pin))
	}
	return lines
}

// explainWindow says what the windows of all streams allow on this path: what is
// in flight cannot exceed them, and it takes one round trip to be confirmed.
func (s viewStyle) explainWindow(p events.Plan) string {
	if p.WindowBytes <= 0 {
		return "  windows: left to the kernel"
	}
	line := "  windows: " + viewBinary(p.WindowBytes) + " each"
	all := float64(p.WindowBytes) * float64(max(1, p.Streams))
	if p.RTTms > 0 && all < math.MaxInt64 {
		if rate := all / p.RTTms * 1000; rate < math.MaxInt64 {
			line += ", " + viewBinary(int64(all)) + " together: at most " + s.rate(int64(rate)) + " at rtt " + viewMillis(p.RTTms)
		}
	}
	return line
}

// explainPin gives the options that fix the plan, as a shell takes them: the far host may
// have made it.
func explainPin(p events.Plan) string {
	if p.Transport == "" || p.Transport == "local" {
		return ""
	}
	words := []string{"--transport=" + p.Transport}
	if p.Transport == "tcp" || p.Transport == "udt" {
		if p.Streams > 0 {
			words = append(words, "--streams="+strconv.Itoa(p.Streams))
		}
		if p.WindowBytes > 0 {
			words = append(words, "--window="+units.ExactSize(p.WindowBytes))
		}
		if p.CC != "" {
			words = append(words, "--cc="+p.CC)
		}
		if p.Dial != "" {
			words = append(words, "--dial="+p.Dial)
		}
	}
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return strings.Join(words, " ")
}
