package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/gomover/gomover/bench/ground"
)

// result is one line of the table. Figure and Bar are for people; Value and Limit
// are the same as numbers where there are such. A Reference has no bar.
type result struct {
	Row       string         `json:"row"`
	Figure    string         `json:"figure"`
	Bar       string         `json:"bar"`
	Value     float64        `json:"value"`
	Limit     float64        `json:"limit"`
	Samples   ground.Samples `json:"samples,omitempty"`
	Notes     []string       `json:"notes,omitempty"`
	Pass      bool           `json:"pass"`
	Reference bool           `json:"reference,omitempty"`
}

func (r result) String() string {
	verdict := "FAIL"
	switch {
	case r.Reference:
		verdict = ""
	case r.Pass:
		verdict = "pass"
	}
	return fmt.Sprintf("| %s | %s | %s | %s |", r.Row, r.Figure, r.Bar, verdict)
}

// add keeps and prints a result.
func (b *bench) add(r result) {
	b.results = append(b.results, r)
	fmt.Println(r)
}

// oneLine is an error's text as a line of a table holds it.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// note prints something that belongs to the next result.
func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
	fmt.Println("    " + b.notes[len(b.notes)-1])
}

// taken hands the notes over.
func (b *bench) taken() (l []string) {
	l, b.notes = b.notes, nil
	return l
}

// atMost adds a result whose value, the median of samples, must not exceed a limit.
func (b *bench) atMost(name, format, unit, bar string, limit float64, samples ground.Samples) {
	v := samples.Median()
	b.add(result{Row: name, Figure: samples.Text(format, unit), Bar: bar, Value: v, Limit: limit, Samples: samples, Notes: b.taken(),
		Pass: len(samples) > 0 && v <= limit})
}

// atLeast is atMost the other way round.
func (b *bench) atLeast(name, format, unit, bar string, limit float64, samples ground.Samples) {
	v := samples.Median()
	b.add(result{Row: name, Figure: samples.Text(format, unit), Bar: bar, Value: v, Limit: limit, Samples: samples, Notes: b.taken(),
		Pass: len(samples) > 0 && v >= limit})
}

// show adds a result without a bar.
func (b *bench) show(name, format, unit string, samples ground.Samples) {
	b.add(result{Row: name, Figure: samples.Text(format, unit), Bar: "reference", Value: samples.Median(), Samples: samples, Reference: true})
}

// claim adds a result that is true or false; wrong is empty when it is true.
func (b *bench) claim(name, figure, bar string, wrong []string) {
	if len(wrong) > 0 {
		figure = strings.Join(wrong, "; ")
	}
	b.add(result{Row: name, Figure: figure, Bar: bar, Notes: b.taken(), Pass: len(wrong) == 0})
}

// finish prints all results once more, as Markdown, and writes them to the file.
func (b *bench) finish() error {
	fmt.Print("\n| row | figure | bar | |\n| --- | --- | --- | --- |\n")
	missed := false
	for _, r := range b.results {
		fmt.Println(r)
		missed = missed || !r.Pass && !r.Reference
	}
	if b.json != "" {
		text, err := json.MarshalIndent(b.results, "", "  ")
		if err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
		if err := os.WriteFile(b.json, append(text, '\n'), 0o644); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	if missed {
		return ground.ErrMissed
	}
	return nil
}
