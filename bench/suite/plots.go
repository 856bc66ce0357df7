package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/gomover/gomover/bench/peer"
	"github.com/gomover/gomover/internal/chart"
)

// plot is a picture and the name of its files.
type plot struct {
	name  string
	chart chart.Chart
}

// draw writes every picture that the report has figures for, as SVG and as PNG,
// and returns their names.
func (r *Report) draw(dir string) (names []string, err error) {
	for _, p := range r.plots() {
		for _, ext := range []string{".svg", ".png"} {
			if err := p.chart.WriteFile(filepath.Join(dir, p.name+ext)); err != nil {
				return names, fmt.Errorf("drawing %s: %w", p.name, err)
			}
		}
		names = append(names, p.name)
	}
	return names, nil
}

// plots are the pictures of what was measured.
func (r *Report) plots() (list []plot) {
	add := func(name, title string, panels []chart.Panel) {
		if len(panels) > 0 {
			list = append(list, plot{name, chart.Chart{Title: title, Subtitle: r.subtitle(), Panels: panels}})
		}
	}
	for _, name := range []string{"wan", "lossy", "fat", "lan"} {
		if p, ok := r.overTime(name); ok {
			add(name, "Throughput over time", []chart.Panel{p})
		}
	}
	grid := r.of("grid")
	add("rtt", "Throughput against round-trip time", against(grid, chart.Panel{X: "round-trip time", XUnit: chart.Seconds, LogX: true, LogY: true},
		func(p Path) (string, float64) { return "loss " + percent(p.Loss), p.RTTSeconds }))
	add("loss", "Throughput against loss", against(grid, chart.Panel{X: "loss in each direction", LogY: true},
		func(p Path) (string, float64) { return "RTT " + milliseconds(p.RTTSeconds), p.Loss }))
	one := func(of func(Path) int) func(Path) (string, float64) {
		return func(p Path) (string, float64) { return "", float64(of(p)) }
	}
	add("receivers", "Throughput to each of several receivers", against(r.of("receivers"), chart.Panel{X: "receivers", XUnit: chart.Count},
		one(func(p Path) int { return p.Receivers })))
	add("sources", "Throughput from several senders", against(r.of("sources"), chart.Panel{X: "senders", XUnit: chart.Count},
		one(func(p Path) int { return p.Senders })))
	return list
}

// subtitle says on what it was measured, and how well.
func (r *Report) subtitle() string {
	text := fmt.Sprintf("%d processors, Linux %s, %s, medians of %d", r.Machine.Processors, r.Machine.Kernel, r.Options.Control, r.Options.Rounds)
	if r.Options.Quick {
		text += "; quick run: small files, nothing exact"
	}
	return text
}

// of are the measurements of a row that have figures.
func (r *Report) of(row string) (list []Measurement) {
	for _, m := range r.Measurements {
		if m.Row == row && len(m.Runs) > 0 && m.Goodput.Median > 0 {
			list = append(list, m)
		}
	}
	return list
}

// overTime draws the first run of each program of a row, at its best setting. What
// has moved next to nothing (a default of a fixed low rate) is left out.
func (r *Report) overTime(row string) (chart.Panel, bool) {
	list := r.of(row)
	best := map[string]int{}
	var order []string
	for i, m := range list {
		old, ok := best[m.Program]
		if !ok {
			order = append(order, m.Program)
		}
		if !ok || m.Goodput.Median > list[old].Goodput.Median {
			best[m.Program] = i
		}
	}
	panel := chart.Panel{Title: row, X: "time since the start of the command", XUnit: chart.Seconds, Y: "into the receiver", YUnit: chart.BitsPerSecond, Height: 320}
	for _, program := range order {
		m := list[best[program]]
		s := chart.Series{Name: label(m), Style: style(program)}
		for _, p := range smooth(m.Runs[0].Series, m.Runs[0].Seconds) {
			s.X, s.Y = append(s.X, p.Seconds), append(s.Y, p.Rate*8)
		}
		if len(s.X) > 1 {
			panel.Series = append(panel.Series, s)
		}
	}
	return panel, len(panel.Series) > 0
}

// smooth joins points so that about a hundred are left.
func smooth(points []Point, seconds float64) (list []Point) {
	const most = 100
	step := max(1, (len(points)+most-1)/most)
	last := 0.0
	for chunk := range slices.Chunk(points, step) {
		sum := 0.0
		for _, p := range chunk {
			sum += p.Rate * (p.Seconds - last)
			last = p.Seconds
		}
		from := 0.0
		if list != nil {
			from = list[len(list)-1].Seconds
		}
		if last > from {
			list = append(list, Point{Seconds: last, Rate: sum / (last - from)})
		}
	}
	return list
}

// against draws goodput over one property of the path: a panel for each of the
// titles that split gives, with the properties that differ besides.
func against(list []Measurement, form chart.Panel, split func(Path) (title string, x float64)) (panels []chart.Panel) {
	var titles, programs []string
	for _, m := range list {
		title, _ := split(m.Path)
		if !slices.Contains(titles, title) {
			titles = append(titles, title)
		}
		if name := label(m); !slices.Contains(programs, name) {
			programs = append(programs, name)
		}
	}
	for _, title := range titles {
		panel := form
		panel.Title, panel.Y, panel.YUnit = title, "goodput of the whole command", chart.BitsPerSecond
		values := categories(list, &panel, split)
		for i, name := range programs {
			s := series(list, name, title, split)
			s.Style = i + 1
			for i := range s.X {
				if values != nil {
					s.X[i] = float64(slices.Index(values, s.X[i]))
				}
			}
			if len(s.X) > 0 {
				panel.Series = append(panel.Series, s)
			}
		}
		panels = append(panels, panel)
	}
	return panels
}

// series is one line of a panel, with whiskers from the least to the greatest.
func series(list []Measurement, name, title string, split func(Path) (string, float64)) (s chart.Series) {
	s.Name = name
	var chosen []Measurement
	for _, m := range list {
		if t, _ := split(m.Path); t == title && label(m) == name {
			chosen = append(chosen, m)
		}
	}
	slices.SortStableFunc(chosen, func(a, b Measurement) int {
		_, x := split(a.Path)
		_, y := split(b.Path)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	for _, m := range chosen {
		_, x := split(m.Path)
		s.X, s.Y = append(s.X, x), append(s.Y, m.Goodput.Median*8)
		s.Low, s.High = append(s.Low, m.Goodput.Min*8), append(s.High, m.Goodput.Max*8)
	}
	return s
}

// categories names the values of an axis that has no unit: loss, of which 0 has no
// place on a logarithmic axis. It is nil for other axes.
func categories(list []Measurement, panel *chart.Panel, split func(Path) (string, float64)) (values []float64) {
	if panel.XUnit != chart.Number {
		return nil
	}
	for _, m := range list {
		if _, x := split(m.Path); !slices.Contains(values, x) {
			values = append(values, x)
		}
	}
	slices.Sort(values)
	panel.Categories = nil
	for _, v := range values {
		panel.Categories = append(panel.Categories, percent(v))
	}
	return values
}

// label is the name of a measurement in a picture; its settings are in the tables.
func label(m Measurement) string {
	switch {
	case m.Settings.Default():
		return m.Program
	case m.Settings.AtOnce:
		return m.Program + ", all at once"
	}
	return m.Program + ", tuned"
}

// style gives a program the same look in all pictures over time.
func style(program string) int {
	return 1 + slices.IndexFunc(peer.All(), func(p peer.Program) bool { return p.Name == program })
}

// percent and milliseconds are for people.
func percent(share float64) string { return fmt.Sprintf("%g%%", share*100) }

func milliseconds(seconds float64) string { return fmt.Sprintf("%g ms", seconds*1000) }
