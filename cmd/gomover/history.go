package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/history"
	"github.com/gomover/gomover/internal/chart"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/mover"
)

// probeHistory says what is remembered of the paths to hosts and back, and contacts
// none of them.
func probeHistory(env Env, o *Options, w *hostWriter, words []string) error {
	list, err := readHosts(env, "probe --history", words)
	if err != nil {
		return err
	}
	if o.Output.Plot != "" {
		if len(list) > 1 {
			return usageError("--plot: draws the history of one host, not of "+fmt.Sprint(len(list)), "")
		}
		if err := chart.CheckName(o.Output.Plot); err != nil {
			return usageError("--plot: " + err.Error())
		}
	}
	for _, l := range list {
		both, err := mover.Remembered(stateDir(env, o.ForHost(l.Host).Safety.StateDir), l.Host, l.Port)
		if err != nil {
			return &exitError{Code: exitSource, Msg: err.Error(), Err: err}
		}
		now := time.Now()
		var text strings.Builder
		for i := range both {
			from, to := localHost, l.Host
			if i == 1 {
				from, to = to, from
			}
			for _, e := range historyEvents(from, to, &both[i], now) {
				w.record(e)
			}
			text.WriteString(historyText(from, to, &both[i], now))
		}
		if _, err := io.WriteString(w.text, text.String()); err != nil {
			return &exitError{Code: exitDestination, Msg: "standard output: " + err.Error(), Err: err}
		}
		if o.Output.Plot != "" {
			if len(both[0].Jobs)+len(both[1].Jobs) == 0 {
				return &exitError{Code: exitSource, Msg: fmt.Sprintf("--plot: nothing is remembered of %s: no job of five seconds or more was completed", l.Host), Err: errNothing}
			}
			if err := historyChart(l.Host, both, now).WriteFile(o.Output.Plot); err != nil {
				code := exitDestination
				if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
					code = exitSpace
				}
				return &exitError{Code: code, Msg: "--plot: " + err.Error(), Err: err}
			}
		}
	}
	return nil
}

// errNothing means that there is nothing to draw.
var errNothing = errors.New("nothing is remembered")

// historyEvents are the jobs of one direction, the oldest first, and what follows
// from them.
func historyEvents(from, to string, r *history.Record, now time.Time) []events.Event {
	var list []events.Event
	for _, j := range r.Jobs {
		list = append(list, events.HistoryJob{From: from, To: to, Start: j.Start.UTC().Format(time.RFC3339), Ms: int64(1000 * j.Seconds), Bytes: j.Bytes, Files: j.Files, Streams: j.Streams,
			RateBps: int64(j.Rate.Median), LowBps: int64(j.Rate.P10), HighBps: int64(j.Rate.P90), RTTms: 1000 * j.RTT, Loss: j.Loss, Limits: j.Limits, Alerts: j.Alerts})
	}
	if known, ok := mover.KnownPath(from, to, r, now); ok {
		list = append(list, known)
	}
	rate, low, high, holds := r.Next(now)
	return append(list, events.History{From: from, To: to, Jobs: len(r.Jobs), RateBps: int64(rate), LowBps: int64(low), HighBps: int64(high), Holds: holds})
}

// historyText is one direction for people.
func historyText(from, to string, r *history.Record, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s -> %s\n", printable(from), printable(to))
	if known, ok := mover.KnownPath(from, to, r, now); ok {
		b.WriteString("  path: " + knownText(&known) + "\n")
	}
	if len(r.Jobs) == 0 {
		b.WriteString("  nothing is remembered: no job of five seconds or more was completed\n")
		return b.String()
	}
	b.WriteString("  began             took      moved       rate, median (outer tenths)               RTT       again    limited by\n")
	for _, j := range r.Jobs {
		rtt := "-"
		if j.RTT > 0 {
			rtt = milli(time.Duration(j.RTT * float64(time.Second)))
		}
		fmt.Fprintf(&b, "  %s  %-8s  %-10s  %-40s  %-8s  %-7s  %s\n", j.Start.Local().Format("2006-01-02 15:04"), units.FormatDuration(time.Duration(j.Seconds*float64(time.Second))),
			units.FormatBytes(j.Bytes), bitRate(j.Rate.Median)+" ("+bitRate(j.Rate.P10)+" to "+bitRate(j.Rate.P90)+")", rtt, fmt.Sprintf("%.2g%%", 100*j.Loss), printable(mostLimit(j.Limits)))
	}
	switch rate, low, high, holds := r.Next(now); {
	case holds > 0:
		fmt.Fprintf(&b, "  the next: about %s, in %.0f of 100 cases %s to %s\n", bitRate(rate), 100*holds, bitRate(low), bitRate(high))
	case rate > 0:
		fmt.Fprintf(&b, "  the next: about %s; one job tells no more\n", bitRate(rate))
	default:
		b.WriteString("  the next: not known; limits that somebody had set held all of these\n")
	}
	return b.String()
}

// knownText is what is remembered of a path, for people.
func knownText(p *events.Probe) string {
	text := fmt.Sprintf("measured %s ago (counts %.0f%% still): round trip %.3g ms", units.FormatLeft(time.Duration(p.AgeMs)*time.Millisecond), 100*p.Confidence, p.RTTMinMs)
	if p.CapacityBps > 0 {
		text += ", the link carries " + bitRate(float64(p.CapacityBps))
	}
	if p.MTU > 0 {
		text += fmt.Sprintf(", packets of up to %d bytes", p.MTU)
	}
	if !p.UDP {
		text += ", no UDP"
	}
	return text
}

// bitRate prints a rate in bits.
func bitRate(bytes float64) string { return units.FormatRate(units.Rate(max(0, bytes)), true) }

// mostLimit is what held a job back for most of its time; "" if that is not known.
func mostLimit(limits map[string]float64) string {
	most := ""
	for name, share := range limits {
		if most == "" || share > limits[most] || share == limits[most] && name < most {
			most = name
		}
	}
	return most
}

// historyChart draws rates, round trips and losses of jobs both ways over the hours
// until now, and what the next may reach.
func historyChart(host string, both [2]history.Record, now time.Time) chart.Chart {
	rates := chart.Panel{Title: "rate", Y: "rate", YUnit: chart.BitsPerSecond, X: "until now", XUnit: chart.Seconds}
	rtts := chart.Panel{Title: "round trip", Y: "least", YUnit: chart.Seconds, X: "until now", XUnit: chart.Seconds}
	losses := chart.Panel{Title: "segments sent again", Y: "share", YUnit: chart.Share, X: "until now", XUnit: chart.Seconds}
	var told []string
	for i, name := range []string{"to " + host, "from " + host} {
		rate := chart.Series{Name: name, Kind: chart.Line, Style: i + 1}
		rtt, loss := rate, rate
		for _, j := range both[i].Jobs {
			x := j.Start.Sub(now).Seconds()
			rate.X, rate.Y = append(rate.X, x), append(rate.Y, 8*j.Rate.Median)
			rate.Low, rate.High = append(rate.Low, 8*j.Rate.P10), append(rate.High, 8*j.Rate.P90)
			rtt.X, rtt.Y = append(rtt.X, x), append(rtt.Y, known(j.RTT))
			loss.X, loss.Y = append(loss.X, x), append(loss.Y, j.Loss)
		}
		next, low, high, holds := both[i].Next(now)
		if next > 0 {
			s := chart.Series{Name: "the next " + name, Kind: chart.Points, Style: i + 3, X: []float64{0}, Y: []float64{8 * next}}
			if holds > 0 {
				s.Low, s.High = []float64{8 * low}, []float64{8 * high}
				told = append(told, fmt.Sprintf("the next %s: %s, in %.0f of 100 cases %s to %s", name, bitRate(next), 100*holds, bitRate(low), bitRate(high)))
			}
			rates.Series = append(rates.Series, s)
		}
		if len(rate.X) > 0 {
			rates.Series, losses.Series = append(rates.Series, rate), append(losses.Series, loss)
		}
		if slices.ContainsFunc(rtt.Y, func(y float64) bool { return !math.IsNaN(y) }) {
			rtts.Series = append(rtts.Series, rtt)
		}
	}
	panels := slices.DeleteFunc([]chart.Panel{rates, rtts, losses}, func(p chart.Panel) bool { return len(p.Series) == 0 })
	return chart.Chart{Title: "What is remembered of " + host, Subtitle: strings.Join(slices.Clip(told), "\n"), Panels: panels, ShareX: true}
}

// known leaves a value out of a picture that is not known.
func known(v float64) float64 {
	if v > 0 {
		return v
	}
	return math.NaN()
}
