package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// write saves everything that was found.
func (b *bench) write() error {
	if err := b.report.write(filepath.Join(b.out, "results.json")); err != nil {
		return err
	}
	return writeText(filepath.Join(b.out, "results.md"), b.report.markdown())
}

// markdown is the report for people.
func (r *Report) markdown() string {
	var s strings.Builder
	m, o := r.Machine, r.Options
	fmt.Fprintf(&s, "# Measured side by side\n\n%d processors (%s), Linux %s, %s; TCP congestion control %s; net.core.rmem_max %s, wmem_max %s.\n",
		m.Processors, m.Model, m.Kernel, m.Go, o.Control, m.ReceiveMax, m.SendMax)
	fmt.Fprintf(&s, "%d rounds", o.Rounds)
	if o.Quick {
		s.WriteString(", quick: small files, few points, nothing exact")
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
		s.WriteString("\n## Bars\n\n| Row | Figure | Bar | |\n| --- | --- | --- | --- |\n")
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
	s.WriteString("| Program | Setting | MiB | Mbit/s | gomover is | CPU s/GB, sender + receiver | Peak MiB | Wire | Others |\n")
	s.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, m := range r.Measurements {
		if m.Row != name {
			continue
		}
		if m.Error != "" || len(m.Runs) == 0 {
			fmt.Fprintf(s, "| %s | %s | | FAIL | | | | | |\n", m.Program, m.Settings)
			continue
		}
		cpu, far := figures(m, func(r Run) float64 { return r.Sender.CPUPerGB }), figures(m, func(r Run) float64 { return r.Receiver.CPUPerGB })
		peak := func(of func(Run) End) float64 {
			return figures(m, func(r Run) float64 { return float64(of(r).PeakBytes) }).Max() / (1 << 20)
		}
		fmt.Fprintf(s, "| %s | %s | %.3g | %s | %.2f x | %.2f + %.2f | %.0f + %.0f | %.3f | %.1f |\n",
			m.Program, m.Settings, figures(m, func(r Run) float64 { return float64(r.Bytes) / (1 << 20) }).Median(), figures(m, func(r Run) float64 { return r.Goodput * 8 / 1e6 }).Text("%.0f", ""), m.Advantage,
			cpu.Median(), far.Median(), peak(func(r Run) End { return r.Sender }), peak(func(r Run) End { return r.Receiver }),
			figures(m, func(r Run) float64 { return r.Wire }).Median(), figures(m, func(r Run) float64 { return r.Foreign }).Median())
	}
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
