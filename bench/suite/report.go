package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
)

// schema is the version of the report's form; docs/bench.md describes it. A
// change that takes a field away or gives it another sense raises it.
const schema = 1

// gigabyte is the unit of "CPU seconds per GB".
const gigabyte = 1e9

// Report is all that one run found. It is written as JSON.
type Report struct {
	Schema       int           `json:"schema"`
	Start        time.Time     `json:"start"`
	Machine      Machine       `json:"machine"`
	Options      Options       `json:"options"`
	Searches     []Search      `json:"searches"`
	Measurements []Measurement `json:"measurements"`
	Bars         []Bar         `json:"bars"`
	Failures     []string      `json:"failures"` // what could not be measured, and why
}

// Machine is where it ran: figures of different machines do not compare.
type Machine struct {
	Processors int    `json:"processors"`
	Model      string `json:"model"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	// ReceiveMax and SendMax are net.core.rmem_max and wmem_max in bytes, which bound
	// every window set by hand.
	ReceiveMax string `json:"rmem_max"`
	SendMax    string `json:"wmem_max"`
}

// Options are those of the command line that change what figures mean.
type Options struct {
	Quick   bool    `json:"quick"`
	Rounds  int     `json:"rounds"`
	Scale   float64 `json:"scale"`
	Control string  `json:"congestion_control"`
}

// Path is the network of a row.
type Path struct {
	RateBits   int64   `json:"rate_bits_per_second"` // of the narrowest link; 0 is unlimited
	RTTSeconds float64 `json:"rtt_seconds"`
	Loss       float64 `json:"loss"` // share of packets, in each direction
	Senders    int     `json:"senders"`
	Receivers  int     `json:"receivers"`
}

// Measurement is one program at one setting in one row.
type Measurement struct {
	Row      string        `json:"row"`
	Program  string        `json:"program"`
	Label    string        `json:"label"` // "default" or "tuned"
	Settings peer.Settings `json:"settings"`
	Command  []string      `json:"command"`
	Note     string        `json:"note,omitempty"`
	Path     Path          `json:"path"`
	Bytes    int64         `json:"payload_bytes"` // to each receiver
	Files    int           `json:"files"`
	Runs     []Run         `json:"runs"`
	// Goodput of the runs, in bytes per second; to each of several receivers.
	Goodput Summary `json:"goodput_bytes_per_second"`
	// Advantage is the goodput of gomover's default in the same row, divided by this.
	Advantage float64 `json:"gomover_is_times_as_fast"`
	Error     string  `json:"error,omitempty"` // why a run did not count
}

// Summary is what counts of several runs.
type Summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Run is one execution of a whole command.
type Run struct {
	Seconds  float64 `json:"seconds"`
	Bytes    int64   `json:"payload_bytes"` // what arrived, at each receiver
	Goodput  float64 `json:"goodput_bytes_per_second"`
	Sender   End     `json:"sender"`
	Receiver End     `json:"receiver"`
	// Beside a competing flow what cannot be told apart from its own is left 0: what
	// concerns the receiver, and packets dropped.
	//
	// Wire is what the receivers' links delivered, headers included, divided by the
	// payload; SentWire what the senders put on theirs.
	Wire     float64 `json:"wire_per_payload"`
	SentWire float64 `json:"sent_per_payload"`
	Dropped  int64   `json:"dropped_packets"` // in queues and by loss, on all links
	Foreign  float64 `json:"other_busy_processors"`
	// Fairness is set in the row fairness only.
	Fairness *Fairness `json:"fairness,omitempty"`
	// Series is what the receivers' interfaces took in, all together.
	Series []Point `json:"series,omitempty"`

	steady float64 // goodput without login and start, to guess at other sizes; 0 is unknown
}

// End is what one end of a transfer took; of several hosts, all together.
type End struct {
	CPUPerGB  float64 `json:"cpu_seconds_per_gb"`
	PeakBytes int64   `json:"peak_bytes"` // resident, of the host that held most
}

// Fairness compares a program with a TCP flow on the same bottleneck.
type Fairness struct {
	Jain       float64 `json:"jain_index"`
	Program    float64 `json:"program_bytes_per_second"`
	Competitor float64 `json:"competitor_bytes_per_second"`
}

// jain and beside are the figures, also of a run without competitor.
func (f *Fairness) jain() float64 {
	if f == nil {
		return 0
	}
	return f.Jain
}

func (f *Fairness) beside() float64 {
	if f == nil {
		return 0
	}
	return f.Competitor
}

// Point is a moment of a run.
type Point struct {
	Seconds float64 `json:"t"`
	Rate    float64 `json:"bytes_per_second"`
}

// Search is how the best settings of one program were found.
type Search struct {
	Row     string        `json:"row"`
	Program string        `json:"program"`
	Bytes   int64         `json:"payload_bytes"`
	Tried   []Try         `json:"tried"`
	Best    peer.Settings `json:"best"`
}

// Try is one setting of a search.
type Try struct {
	Settings peer.Settings `json:"settings"`
	Goodput  float64       `json:"goodput_bytes_per_second"` // 0 if it did not end in time
	Seconds  float64       `json:"seconds"`
	Reached  float64       `json:"reached_bytes_per_second"` // the same, or what it had come to when it was ended
	Error    string        `json:"error,omitempty"`

	steady float64 // as in Run
}

// Bar is a line of the table that bench/copy prints.
type Bar struct {
	Row       string   `json:"row"`
	Figure    string   `json:"figure"`
	Bar       string   `json:"bar"`
	Value     float64  `json:"value"`
	Limit     float64  `json:"limit"`
	Notes     []string `json:"notes,omitempty"`
	Pass      bool     `json:"pass"`
	Reference bool     `json:"reference,omitempty"`
}

// summarize condenses figures.
func summarize(s ground.Samples) Summary {
	return Summary{Median: s.Median(), Min: s.Min(), Max: s.Max()}
}

// figures picks one figure of each of a measurement's runs.
func figures(m Measurement, of func(Run) float64) (s ground.Samples) {
	for _, r := range m.Runs {
		s = append(s, of(r))
	}
	return s
}

// finish fills in what compares measurements of a row with each other.
func (r *Report) finish() {
	type place struct {
		row  string
		path Path
	}
	base := map[place]float64{}
	for i := range r.Measurements {
		m := &r.Measurements[i]
		m.Goodput = summarize(figures(*m, goodput))
		if m.Program == "gomover" && m.Label == "default" {
			base[place{m.Row, m.Path}] = m.Goodput.Median
		}
	}
	for i := range r.Measurements {
		m := &r.Measurements[i]
		if m.Goodput.Median > 0 {
			m.Advantage = base[place{m.Row, m.Path}] / m.Goodput.Median
		}
	}
}

// write saves the report as JSON.
func (r *Report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return writeText(path, string(text)+"\n")
}

// readReport reads what write has written. Errors: those of the file, and a form
// that this program does not know.
func readReport(path string) (r Report, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("reading the report: %w", err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("reading the report %s: %w", path, err)
	}
	if r.Schema != schema {
		return r, fmt.Errorf("reading the report %s: it has form %d, not %d", path, r.Schema, schema)
	}
	return r, nil
}

// writeText writes a file of the results.
func writeText(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
