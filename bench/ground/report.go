package ground

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// PrintMachine says on what this runs: figures of different machines do not
// compare.
func PrintMachine() {
	fmt.Printf("machine: %d processors, %s, Linux %s, %s\n", runtime.NumCPU(), CPUModel(), FirstLine("/proc/sys/kernel/osrelease"), runtime.Version())
}

// Result is one line of a table. Figure and Bar are for people; Value and Limit
// are the same as numbers where there are such. A Reference has no bar.
type Result struct {
	Row       string   `json:"row"`
	Figure    string   `json:"figure"`
	Bar       string   `json:"bar"`
	Value     float64  `json:"value"`
	Limit     float64  `json:"limit"`
	Samples   Samples  `json:"samples,omitempty"`
	Notes     []string `json:"notes,omitempty"`
	Pass      bool     `json:"pass"`
	Reference bool     `json:"reference,omitempty"`
}

// String is the result as a line of a Markdown table.
func (r Result) String() string {
	verdict := "FAIL"
	switch {
	case r.Reference:
		verdict = ""
	case r.Pass:
		verdict = "pass"
	}
	return fmt.Sprintf("| %s | %s | %s | %s |", r.Row, r.Figure, r.Bar, verdict)
}

// Report gathers the results of a run, and prints them as they come. The zero value
// is empty. It belongs to one goroutine.
type Report struct {
	Results []Result
	notes   []string // for the next result that is judged
}

// Add keeps and prints a result, to which the notes since the one before belong. Those
// that it brings itself have not been printed yet.
func (p *Report) Add(r Result) {
	fmt.Println(r)
	for _, note := range r.Notes {
		fmt.Println("    " + note)
	}
	r.Notes, p.notes = append(p.notes, r.Notes...), nil
	p.Results = append(p.Results, r)
}

// Note prints something that belongs to the next result that is judged.
func (p *Report) Note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
	fmt.Println("    " + p.notes[len(p.notes)-1])
}

// AtMost adds a result whose value, the median of samples, must not exceed a limit;
// without samples it is missed. Format is of one sample, with its unit behind it.
func (p *Report) AtMost(row, format, unit, bar string, limit float64, samples Samples) {
	v := samples.Median()
	p.Add(Result{Row: row, Figure: samples.Text(format, unit), Bar: bar, Value: v, Limit: limit, Samples: samples,
		Pass: len(samples) > 0 && v <= limit})
}

// AtLeast is AtMost the other way round.
func (p *Report) AtLeast(row, format, unit, bar string, limit float64, samples Samples) {
	v := samples.Median()
	p.Add(Result{Row: row, Figure: samples.Text(format, unit), Bar: bar, Value: v, Limit: limit, Samples: samples,
		Pass: len(samples) > 0 && v >= limit})
}

// Show prints and keeps a result without a bar. Notes wait for the next one that is
// judged.
func (p *Report) Show(row, format, unit string, samples Samples) {
	r := Result{Row: row, Figure: samples.Text(format, unit), Bar: "reference", Value: samples.Median(), Samples: samples, Reference: true}
	p.Results = append(p.Results, r)
	fmt.Println(r)
}

// Claim adds a result that is true or false; wrong is empty when it is true.
func (p *Report) Claim(row, figure, bar string, wrong []string) {
	if len(wrong) > 0 {
		figure = strings.Join(wrong, "; ")
	}
	p.Add(Result{Row: row, Figure: figure, Bar: bar, Pass: len(wrong) == 0})
}

// Failed adds that a row could not be measured, which counts as missed.
func (p *Report) Failed(row string, err error) {
	p.Add(Result{Row: row, Figure: "could not be measured: " + OneLine(err), Bar: "-"})
}

// OneLine is an error's text as a line of a table holds it.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Finish prints all results once more, as one table, and writes them to the file,
// if there is a name. Errors: of the file, and ErrMissed.
func (p *Report) Finish(file string) error {
	fmt.Print("\n| row | figure | bar | |\n| --- | --- | --- | --- |\n")
	missed := false
	for _, r := range p.Results {
		fmt.Println(r)
		missed = missed || !r.Pass && !r.Reference
	}
	if err := WriteJSON(file, p.Results); err != nil {
		return err
	}
	if missed {
		return ErrMissed
	}
	return nil
}

// WriteJSON writes results to a file; without a name it does nothing.
func WriteJSON(file string, results any) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}
