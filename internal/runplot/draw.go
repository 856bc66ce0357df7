package runplot

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomover/gomover/internal/chart"
	"github.com/gomover/gomover/internal/units"
)

// legendStreams is the number of streams up to which each has its name and colour;
// more are drawn faintly, with their mean.
const legendStreams = 8

// segment is the payload of a full segment over Ethernet.
//
// Unit: bytes. Source: RFC 9293 section 3.7.1 with the timestamps of RFC 7323:
// 1500 less 20, 20 and 12.
const segment = 1448

// Chart draws the run.
func (r *Run) Chart() chart.Chart {
	c := chart.Chart{Title: r.title(), Subtitle: strings.Join(r.subtitle(), "\n"), ShareX: true}
	add := func(p chart.Panel, ok bool) {
		if ok {
			p.X, p.XUnit = "time since the start", chart.Seconds
			c.Panels = append(c.Panels, p)
		}
	}
	add(r.throughput(), true)
	add(r.placePanel("Confirmed by destination", &r.byDest))
	add(r.placePanel("Given by source", &r.bySource))
	add(r.sharePanel(&r.bySource))
	add(r.streamPanel("Rate of each stream", "rate", chart.BitsPerSecond, func(s *stream) *track { return &s.rate }))
	add(r.roundTrips())
	add(r.retransmissions())
	add(r.streamPanel("Congestion window of each stream", "window", chart.Bytes, func(s *stream) *track { return &s.cwnd }))
	add(r.streamCount())
	add(r.lanePanel())
	if len(c.Panels) > 1 {
		for i := 1; i < len(c.Panels); i++ {
			c.Panels[i].Marks = r.unlabelled()
		}
	}
	return c
}

// title names what was copied where.
func (r *Run) title() string {
	if len(r.sources) == 0 || len(r.dests) == 0 {
		return "gomover run"
	}
	sources := r.sources[0]
	if n := len(r.sources); n > 1 {
		sources += fmt.Sprintf(" and %d more", n-1)
	}
	return cut(sources) + " → " + cut(strings.Join(r.dests, ", "))
}

// subtitle sums the run up.
func (r *Run) subtitle() []string {
	began := r.begin.UTC().Format("2006-01-02 15:04:05 UTC")
	span := chart.FormatValue(r.end, chart.Seconds)
	if !r.ended {
		return []string{fmt.Sprintf("%s, %s; no end was recorded", began, span)}
	}
	e := &r.result
	how := fmt.Sprintf("exit %d (%s)", e.Exit, cut(e.Reason))
	lines := []string{fmt.Sprintf("%s, %s after %s: %s confirmed, %s on average; files: %d ok, %d skipped, %d failed", began, how, span,
		units.FormatBytes(e.DoneBytes), chart.FormatValue(8*float64(e.AvgBps), chart.BitsPerSecond), e.FilesOK, e.FilesSkipped, e.FilesFailed)}
	var second []string
	var limits int64
	for _, ms := range e.Limits {
		limits += max(0, ms)
	}
	names := slices.SortedFunc(maps.Keys(e.Limits), func(a, b string) int {
		return cmp.Or(cmp.Compare(e.Limits[b], e.Limits[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		if i < 4 && limits > 0 {
			second = append(second, fmt.Sprintf("%s %.0f %%", cut(name), 100*float64(e.Limits[name])/float64(limits)))
		}
	}
	if len(second) > 0 {
		second = []string{"limited by " + strings.Join(second, ", ")}
	}
	if e.Retrans > 0 {
		text := fmt.Sprintf("%d segments sent again", e.Retrans)
		if e.SentBytes > 0 {
			text += fmt.Sprintf(", about %s of what was sent", chart.FormatValue(float64(e.Retrans)*segment/(float64(e.SentBytes)+float64(e.Retrans)*segment), chart.Share))
		}
		second = append(second, text)
	}
	if n := r.warnings + r.failures; n > 0 {
		second = append(second, fmt.Sprintf("%d warnings, %d errors", r.warnings, r.failures))
	}
	if len(second) > 0 {
		lines = append(lines, strings.Join(second, "; "))
	}
	return lines
}

// column is the least width of what is drawn, so that what is counted in short
// intervals does not become a thicket.
func (r *Run) column() float64 { return min(0.5, r.end/8) + r.end/300 }

// bits turns a rate in bytes into one in bits.
func bits(y []float64) []float64 {
	for i := range y {
		y[i] *= 8
	}
	return y
}

// throughput is the first panel: what matters to the user, and all that happened.
func (r *Run) throughput() chart.Panel {
	p := chart.Panel{Title: "Throughput", Y: "rate", YUnit: chart.BitsPerSecond, Height: 170, Marks: r.labelled()}
	x, y := r.sent.points(r.column(), r.end)
	p.Series = append(p.Series, chart.Series{Name: "sent", X: x, Y: bits(y), Style: 5, Faint: true})
	x, y = r.confirmed.points(r.column(), r.end)
	p.Series = append(p.Series, chart.Series{Name: "confirmed at the target", X: x, Y: bits(y), Style: 1})
	if r.ended && r.result.AvgBps > 0 && r.starts == 1 && r.confirmed.total > 0 {
		mean := 8 * float64(r.result.AvgBps)
		p.Series = append(p.Series, chart.Series{Name: "mean of the whole run", X: []float64{0, r.end}, Y: []float64{mean, mean}, Style: 7, Faint: true})
	}
	return p
}

// placePanel shows the rate of each of several places.
func (r *Run) placePanel(title string, p *places) (chart.Panel, bool) {
	out := chart.Panel{Title: title, Y: "rate", YUnit: chart.BitsPerSecond}
	short := shorter(p.names)
	for i, name := range p.names {
		x, y := p.rates[name].points(r.column(), r.end)
		out.Series = append(out.Series, chart.Series{Name: short[i], X: x, Y: bits(y)})
	}
	return out, len(out.Series) > 0
}

// shorter leaves out what all of several names begin and end with, up to a slash or
// a colon: what is left of http://h1/data/f and http://h2/data/f is h1 and h2. Names
// of which nothing would be left stay whole.
func shorter(names []string) []string {
	if len(names) < 2 {
		return names
	}
	front, back := len(names[0]), len(names[0])
	for _, name := range names[1:] {
		n := 0
		for n < min(front, len(name)) && name[n] == names[0][n] {
			n++
		}
		front, n = n, 0
		for n < min(back, len(name)) && name[len(name)-1-n] == names[0][len(names[0])-1-n] {
			n++
		}
		back = n
	}
	front = strings.LastIndexAny(names[0][:front], "/:") + 1
	tail := names[0][len(names[0])-back:]
	if i := strings.IndexAny(tail, "/:"); i >= 0 {
		tail = tail[i:]
	} else {
		tail = ""
	}
	out := make([]string, len(names))
	for i, name := range names {
		if len(name) <= front+len(tail) {
			return names
		}
		out[i] = name[front : len(name)-len(tail)]
	}
	return out
}

// sharePanel shows which part of what came at a time was each place's, with the
// part that the plan of that time gives it of what was still to come.
func (r *Run) sharePanel(p *places) (chart.Panel, bool) {
	out := chart.Panel{Title: "Share of each source", Y: "share", YUnit: chart.Share, Height: 130}
	if len(p.names) < 2 {
		return out, false
	}
	var width float64
	for _, c := range p.rates {
		width = max(width, c.joined(r.column()).width)
	}
	sum := track{width: width}
	for _, c := range p.rates {
		t := c.joined(width)
		for i, b := range t.bins {
			if b.weight > 0 {
				sum.add((float64(i)+0.5)*width, b.sum/b.weight, 1)
			}
		}
	}
	short := shorter(p.names)
	for k, name := range p.names {
		one := chart.Series{Name: short[k], Style: k + 1}
		rates := p.rates[name].joined(width)
		for i, b := range rates.bins {
			if b.weight > 0 && sum.bins[i].sum > 0 {
				one.X = append(one.X, min((float64(i)+0.5)*width, r.end))
				one.Y = append(one.Y, b.sum/b.weight/sum.bins[i].sum)
			}
		}
		out.Series = append(out.Series, one)
	}
	for k, name := range p.names {
		if t := p.planned[name]; t != nil {
			x, y := t.points(width, r.end)
			out.Series = append(out.Series, chart.Series{X: x, Y: y, Style: k + 1, Faint: true})
		}
	}
	return out, true
}

// streamPanel shows one quantity of all streams.
func (r *Run) streamPanel(title, y string, unit chart.Unit, of func(*stream) *track) (chart.Panel, bool) {
	p := chart.Panel{Title: title, Y: y, YUnit: unit, Height: 105}
	streams := slices.Clone(r.order)
	slices.SortFunc(streams, func(a, b *stream) int { return cmp.Or(cmp.Compare(a.dest, b.dest), cmp.Compare(a.id, b.id)) })
	var mean track
	for i, s := range streams {
		x, y := of(s).points(max(1, r.column()), r.end)
		if len(x) == 0 {
			continue
		}
		for j := range x {
			mean.add(x[j], y[j], 1)
		}
		one := chart.Series{Name: strings.TrimSpace(fmt.Sprintf("%s stream %d", s.dest, s.id)), X: x, Y: y, Style: i + 1}
		if len(streams) > legendStreams {
			one.Name, one.Faint = "", true
		}
		p.Series = append(p.Series, one)
	}
	if len(p.Series) > legendStreams {
		x, y := mean.points(max(1, r.column()), r.end)
		p.Series[0].Name = fmt.Sprintf("each of %d streams", len(p.Series))
		p.Series = append(p.Series, chart.Series{Name: "mean of them", X: x, Y: y, Style: 7})
	}
	return p, len(p.Series) > 0
}

// roundTrips shows those of the streams, or else of the link.
func (r *Run) roundTrips() (chart.Panel, bool) {
	if p, ok := r.streamPanel("Round trip of each stream", "round trip", chart.Seconds, func(s *stream) *track { return &s.rtt }); ok {
		return p, true
	}
	p := chart.Panel{Title: "Round trip between both ends", Y: "round trip", YUnit: chart.Seconds, Height: 105}
	x, y := r.rtt.points(r.column(), r.end)
	p.Series = []chart.Series{{Name: "round trip", X: x, Y: y}}
	return p, len(x) > 0
}

// retransmissions shows how many segments were sent again, the sign of loss.
func (r *Run) retransmissions() (chart.Panel, bool) {
	p := chart.Panel{Title: "Segments sent again (loss)", Y: "segments/s", YUnit: chart.Number, Height: 105}
	width := max(1, r.column())
	var all track
	for _, s := range r.order {
		for i, b := range s.retrans.bins {
			if b.weight > 0 {
				all.add((float64(i)+0.5)*s.retrans.width, b.sum, s.retrans.width)
			}
		}
	}
	if len(all.bins) > 0 {
		// What all streams lost in one stretch of time, by the length of that.
		for all.width < width {
			all.double()
		}
		for i := range all.bins {
			if all.bins[i].weight > 0 {
				all.bins[i].weight = all.width
			}
		}
		x, y := all.points(0, r.end)
		p.Series = []chart.Series{{Name: "all streams", X: x, Y: y, Style: 2}}
		return p, true
	}
	x, y := r.retrans.points(width, r.end)
	p.Series = []chart.Series{{Name: "all streams", X: x, Y: y, Style: 2}}
	return p, len(x) > 0 && slices.Max(y) > 0
}

// streamCount shows how many streams were open.
func (r *Run) streamCount() (chart.Panel, bool) {
	x, y := r.streams.points(0, r.end)
	p := chart.Panel{Title: "Open streams", Y: "streams", YUnit: chart.Count, Height: 60,
		Series: []chart.Series{{Name: "streams", Kind: chart.Steps, X: x, Y: y, Style: 3}}}
	return p, len(x) > 0 && slices.Max(y) > 0
}

// lanePanel shows what held from when to when.
func (r *Run) lanePanel() (chart.Panel, bool) {
	p := chart.Panel{Title: "What held it back, and the state of the hosts"}
	names := slices.Clone(r.laneNames)
	rank := func(name string) int { return max(0, slices.Index([]string{"", "transport", "limited by"}, name)) }
	slices.SortStableFunc(names, func(a, b string) int { return rank(b) - rank(a) })
	short := shorter(r.bySource.names)
	for _, name := range names {
		l, shown := r.lanes[name], name
		if i := slices.Index(r.bySource.names, name); i >= 0 {
			shown = short[i]
		}
		for i, d := range l.periods {
			if l.open && i == len(l.periods)-1 {
				d.to = r.end
			}
			p.Bands = append(p.Bands, chart.Band{Lane: shown, From: d.from, To: d.to, Label: d.label})
		}
	}
	return p, len(p.Bands) > 0
}

// labelled gives the marks; of several with one label close to each other only the
// first, with their number.
func (r *Run) labelled() []chart.Mark {
	var out []chart.Mark
	last := make(map[string]int) // index in out of the last mark of a label
	count := make(map[int]int)
	for _, m := range r.marks {
		kind, _, _ := strings.Cut(m.Label, ":")
		if i, ok := last[kind]; ok && m.Severity != chart.Info && m.X-out[i].X < r.end/12 {
			count[i]++
			continue
		}
		last[kind] = len(out)
		out = append(out, m)
	}
	for i, n := range count {
		out[i].Label = fmt.Sprintf("%d× %s", n+1, out[i].Label)
	}
	return out
}

// unlabelled gives the marks for the panels below.
func (r *Run) unlabelled() []chart.Mark {
	out := slices.Clone(r.marks)
	for i := range out {
		out[i].Label = ""
	}
	return out
}
