package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// write saves everything that was found.
func (b *bench) write() error {
	if err := b.report.write(filepath.Join(b.out, "results.json")); err != nil {
		return err
	}
	pictures, err := b.report.draw(b.out)
	if err != nil {
		return err
	}
	text := b.report.markdown()
	if len(pictures) > 0 {
		text += "\n## Pictures\n\n"
		for _, name := range pictures {
			text += fmt.Sprintf("![%s](%s.svg)\n", name, name)
		}
	}
	fmt.Printf("\nresults: %s\n", b.out)
	return writeText(filepath.Join(b.out, "results.md"), text)
}

// markdown is the report for people.
func (r *Report) markdown() string {
	var s strings.Builder
	m, o := r.Machine, r.Options
	fmt.Fprintf(&s, "# Measured side by side\n\n%d processors (%s), Linux %s, %s; TCP congestion control %s; net.core.rmem_max %s, wmem_max %s.\n",
		m.Processors, m.Model, m.Kernel, m.Go, o.Control, m.ReceiveMax, m.SendMax)
	fmt.Fprintf(&s, "Up to %d rounds, fewer where the median is known within 5%%", o.Rounds)
	if o.Quick {
		s.WriteString("; quick: small files, few points, one setting by hand instead of the best of many, nothing exact")
	}
	if o.Scale != 1 {
		fmt.Fprintf(&s, ", sizes x %g", o.Scale)
	}
	s.WriteString(". Medians, with the least and the greatest in brackets.\n")
	for _, name := range r.rowNames() {
		fmt.Fprintf(&s, "\n## %s\n\n", name)
		r.table(&s, name)
		r.notes(&s, name)
		r.searched(&s, name)
	}
	if len(r.Bars) > 0 {
		s.WriteString("\n## Bars\n\n")
		if o.Quick || o.Scale != 1 {
			s.WriteString("At a reduced size: a small file reaches no share of a link's rate, so nothing here is judged.\n\n")
		}
		s.WriteString("| Row | Figure | Bar | |\n| --- | --- | --- | --- |\n")
		for _, b := range r.Bars {
			fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", b.Row, b.Figure, b.Bar, b.verdict())
		}
	}
	if len(r.Failures) > 0 {
		s.WriteString("\n## What could not be measured\n\n")
		for _, f := range r.Failures {
			fmt.Fprintf(&s, "- %s\n", strings.ReplaceAll(f, "\n", " "))
		}
	}
	return s.String()
}

// rowNames are the names of the measured rows, in order.
func (r *Report) rowNames() (names []string) {
	seen := map[string]bool{}
	for _, m := range r.Measurements {
		if !seen[m.Row] {
			seen[m.Row] = true
			names = append(names, m.Row)
		}
	}
	return names
}

// table prints one row's measurements.
func (r *Report) table(s *strings.Builder, name string) {
	list := slices.DeleteFunc(slices.Clone(r.Measurements), func(m Measurement) bool { return m.Row != name })
	several, fair := false, false
	for _, m := range list {
		several = several || m.Path != list[0].Path
		fair = fair || len(m.Runs) > 0 && m.Runs[0].Fairness != nil
	}
	head := []string{"Program", "Setting", "MiB", "Mbit/s", "gomover / this", "CPU s/GB, sender + receiver", "Peak MiB", "Wire", "Others"}
	if several {
		head = append([]string{"Path"}, head...)
	}
	if fair {
		head = append(head, "Jain", "TCP beside it, Mbit/s")
	}
	if !several {
		fmt.Fprintf(s, "%s%s\n\n", list[0].Path, filesText(list[0].Files))
	}
	writeRow(s, head)
	writeRow(s, slices.Repeat([]string{"---"}, len(head)))
	for _, m := range list {
		cells := m.cells(fair)
		if several {
			cells = append([]string{m.Path.String()}, cells...)
		}
		writeRow(s, cells)
	}
}

// filesText names the number of files of a tree.
func filesText(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(", %d files", n)
}

// writeRow writes one line of a Markdown table.
func writeRow(s *strings.Builder, cells []string) {
	fmt.Fprintf(s, "| %s |\n", strings.Join(cells, " | "))
}

// String is for people: what of a path is not plain.
func (p Path) String() string {
	parts := []string{"no rate limit"}
	if p.RateBits > 0 {
		parts[0] = fmt.Sprintf("%g Mbit/s", float64(p.RateBits)/1e6)
	}
	parts = append(parts, "RTT "+milliseconds(p.RTTSeconds))
	if p.Loss > 0 {
		parts = append(parts, "loss "+percent(p.Loss))
	}
	if p.Receivers > 1 {
		parts = append(parts, fmt.Sprintf("%d receivers", p.Receivers))
	}
	if p.Senders > 1 {
		parts = append(parts, fmt.Sprintf("%d senders", p.Senders))
	}
	return strings.Join(parts, ", ")
}

// cells are the columns of one measurement.
func (m Measurement) cells(fair bool) []string {
	cells := []string{m.Program, m.Settings.String()}
	if m.Error != "" || len(m.Runs) == 0 {
		cells = append(cells, "", "FAIL", "", "", "", "", "")
		if fair {
			cells = append(cells, "", "")
		}
		return cells
	}
	const mib = 1 << 20
	median := func(of func(Run) float64) float64 { return figures(m, of).Median() }
	peak := func(of func(Run) End) float64 {
		return figures(m, func(r Run) float64 { return float64(of(r).PeakBytes) }).Max() / mib
	}
	cells = append(cells,
		fmt.Sprintf("%.3g", median(func(r Run) float64 { return float64(r.Bytes) / mib })),
		figures(m, func(r Run) float64 { return r.Goodput * 8 / 1e6 }).Text("%.3g", ""),
		fmt.Sprintf("%.2f", m.Advantage),
		known("%.2f", median(func(r Run) float64 { return r.Sender.CPUPerGB }))+" + "+known("%.2f", median(func(r Run) float64 { return r.Receiver.CPUPerGB })),
		known("%.0f", peak(func(r Run) End { return r.Sender }))+" + "+known("%.0f", peak(func(r Run) End { return r.Receiver })),
		known("%.3f", median(func(r Run) float64 { return r.Wire })),
		fmt.Sprintf("%.1f", median(func(r Run) float64 { return r.Foreign })))
	if fair {
		cells = append(cells,
			figures(m, func(r Run) float64 { return r.Fairness.jain() }).Text("%.2f", ""),
			fmt.Sprintf("%.1f", median(func(r Run) float64 { return r.Fairness.beside() })*8/1e6))
	}
	return cells
}

// known prints a figure; 0 is one that could not be told.
func known(format string, v float64) string {
	if v == 0 {
		return "?"
	}
	return fmt.Sprintf(format, v)
}

// notes prints what must be known of a row's programs.
func (r *Report) notes(s *strings.Builder, name string) {
	seen, lines := map[string]bool{}, ""
	for _, m := range r.Measurements {
		if m.Row == name && m.Note != "" && !seen[m.Program] {
			seen[m.Program] = true
			lines += "- " + m.Program + ": " + m.Note + "\n"
		}
	}
	if lines != "" {
		s.WriteString("\n" + lines)
	}
}

// searched prints how the settings of one row were found.
func (r *Report) searched(s *strings.Builder, name string) {
	var lines []string
	for _, found := range r.Searches {
		if found.Row == name {
			lines = append(lines, "- "+found.text())
		}
	}
	if lines != nil {
		s.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	}
}

// verdict is the word in the table's last column.
func (b Bar) verdict() string {
	switch {
	case b.Reference:
		return ""
	case b.Pass:
		return "pass"
	}
	return "FAIL"
}
