package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// errApart says that some row was outside of its bound.
var errApart = errors.New("what was measured is not what was set")

// row is one line of the table: what is set, and what must then be measured.
type row struct {
	what, set string
	topology  string   // JSON
	words     []string // of "set", once it is up
	want      float64
	unit      string
	within    float64 // of want, and of what another program gives: in the unit, or
	relative  bool    // as a share of want
	measure   func(ctx context.Context, b *bed) (reading, error)
}

// reading is what a row measured.
type reading struct {
	value float64
	note  string
}

// bound is the most by which a row may be off.
func (r *row) bound() float64 {
	if r.relative {
		return r.within * r.want
	}
	return r.within
}

// check measures what is emulated and prints it beside what was set, as Markdown:
// with this program, and with others of the same command line.
func check(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	var others []string
	flags.Func("lab", "another `PROGRAM` with the same command line, to measure, too", func(s string) error {
		path, err := filepath.Abs(s)
		others = append(others, path)
		return err
	})
	only := flags.String("rows", "", "measure only rows whose first column contains this")
	if err := flags.Parse(args); err != nil {
		return errUsage
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	programs := append([]string{self}, others...)
	fmt.Printf("| What | Set | %s | Within |\n", strings.Join(columns(programs), " | "))
	fmt.Printf("| --- | --- |%s --- |\n", strings.Repeat(" --- |", len(programs)))
	apart := false
	for _, r := range rows() {
		if !strings.Contains(r.what, *only) {
			continue
		}
		ok, err := r.run(ctx, self, programs)
		if err != nil {
			return fmt.Errorf("%s: %w", r.what, err)
		}
		apart = apart || !ok
	}
	if apart {
		return errApart
	}
	return nil
}

func columns(programs []string) []string {
	names := []string{"this emulator"}
	for i := range programs[1:] {
		name := "another one"
		if len(programs) > 2 {
			name = fmt.Sprintf("another one (%d)", i+1)
		}
		names = append(names, name)
	}
	return names
}

// run measures a row with each program in turn and prints it.
func (r *row) run(ctx context.Context, self string, programs []string) (ok bool, err error) {
	var cells []string
	var first reading
	ok = true
	for i, p := range programs {
		got, err := r.with(ctx, &bed{program: p, self: self})
		if err != nil {
			return false, fmt.Errorf("%s: %w", filepath.Base(p), err)
		}
		if i == 0 {
			first = got
		}
		if math.Abs(got.value-r.want) > r.bound() || math.Abs(got.value-first.value) > r.bound() {
			ok = false
		}
		cell := strings.TrimSpace(fmt.Sprintf("%.5g %s", got.value, r.unit))
		if got.note != "" {
			cell += ", " + got.note
		}
		cells = append(cells, cell)
	}
	bound := strings.TrimSpace(fmt.Sprintf("%.3g %s", r.within, r.unit))
	switch {
	case r.relative:
		bound = fmt.Sprintf("%.3g%%", 100*r.within)
	case r.within == 0:
		bound = "exact"
	}
	if !ok {
		bound = "**no: " + bound + "**"
	}
	fmt.Printf("| %s | %s | %s | %s |\n", r.what, r.set, strings.Join(cells, " | "), bound)
	return ok, nil
}

// with measures a row in a network of its own.
func (r *row) with(ctx context.Context, b *bed) (got reading, err error) {
	if err := b.up(ctx, r.topology); err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, b.down()) }()
	if len(r.words) > 0 {
		if _, err := b.run(ctx, append([]string{"set"}, r.words...)...); err != nil {
			return got, err
		}
	}
	return r.measure(ctx, b)
}

// pair is a topology of two hosts with the same link each.
func pair(settings string) string {
	return `{"hosts": [{"name": "h0", "multicast": true, "link": {` + settings + `}}, {"name": "h1", "multicast": true, "link": {` + settings + `}}]}`
}

// wan is the path that most measurements are made over.
const wan = `"rate": "1gbit", "queue": "12.5MB", "delay": "25ms"`

// wire is the share of a rate that TCP gets at best over packets of 1500 bytes: 52
// of them are headers, with timestamps.
const wire = 1448.0 / 1500

// rows is the table.
func rows() []row {
	list := []row{
		{what: "RTT, ping", set: "0 ms", topology: pair(""), within: 1, unit: "ms", measure: rtt},
		{what: "RTT, ping", set: "10 ms", topology: pair(`"delay": "2.5ms"`), want: 10, within: 1, unit: "ms", measure: rtt},
		{what: "RTT, ping", set: "100 ms", topology: pair(wan), want: 100, within: 1, unit: "ms", measure: rtt},
		{what: "RTT, ping", set: "up 3 ms, down 5 ms, path 40 ms, back 2 ms", want: 50, within: 1, unit: "ms", measure: rtt,
			topology: `{"hosts": [{"name": "h0", "up": {"delay": "3ms"}}, {"name": "h1", "down": {"delay": "5ms"}}],
				"paths": [{"from": "h0", "to": "h1", "delay": "40ms"}, {"from": "h1", "to": "h0", "delay": "2ms"}]}`},
		{what: "jitter, deviation of ping's RTT", set: "3 ms", topology: pair(`"delay": "10ms"`), words: []string{"h1.down", "jitter=3ms"},
			want: 3, within: 0.2, relative: true, unit: "ms", measure: jitter},
		{what: "UDP of 100-byte packets at 120% of the rate", set: "20 Mbit/s", topology: pair(`"rate": "20mbit", "queue": "50ms"`),
			want: 20, within: 0.03, relative: true, unit: "Mbit/s", measure: flood},
		{what: "TCP beside cross traffic of 60 Mbit/s", set: "40 of 100 Mbit/s", topology: pair(`"rate": "100mbit", "delay": "2ms"`),
			words: []string{"h1.down", "cross=60mbit"}, want: 40 * wire, within: 0.1, relative: true, unit: "Mbit/s", measure: tcp},
		{what: "partition of 1 s, a ping every 0.1 s", set: "10 lost", topology: pair(`"delay": "1ms"`), want: 10, within: 1, measure: partition},
		{what: "multicast of 200 packets to 3 members", set: "200 on the up link, 600 received", want: 800, measure: multicast,
			topology: `{"min_ttl": 2, "hosts": [{"name": "h0", "multicast": true, "link": {"delay": "1ms"}}, {"name": "h1", "multicast": true},
				{"name": "h2", "multicast": true}, {"name": "h3", "multicast": true}, {"name": "h4"}, {"name": "h5", "multicast": true}]}`},
	}
	for _, t := range []struct {
		set, link string
		rate      float64 // Mbit/s
	}{
		{"1 Gbit/s, RTT 100 ms", wan, 1000},
		{"100 Mbit/s, RTT 50 ms", `"rate": "100mbit", "queue": "625kB", "delay": "12.5ms"`, 100},
		{"10 Mbit/s, RTT 10 ms", `"rate": "10mbit", "delay": "2.5ms"`, 10},
	} {
		list = append(list, row{what: "TCP, iperf3", set: t.set, topology: pair(t.link), want: t.rate * wire,
			within: 0.03, relative: true, unit: "Mbit/s", measure: tcp})
	}
	for _, t := range []struct {
		set, word string
		want      float64 // per cent
		packets   int
	}{
		{"0.1% loss", "loss=0.1%", 0.1, 500_000},
		{"1% loss", "loss=1%", 1, 200_000},
		{"bursts of 4, 0.398% in all", "burst=0.001,0.25", 0.3984, 400_000},
		{"1% corrupted", "corrupt=1%", 1, 200_000},
	} {
		list = append(list, row{what: "UDP, lost", set: t.set, topology: pair(`"delay": "5ms"`), words: []string{"h1.down", t.word},
			want: t.want, within: 0.1, relative: true, unit: "%", measure: lost(t.packets)})
	}
	return append(list,
		row{what: "UDP, twice", set: "1%", topology: pair(`"delay": "5ms"`), words: []string{"h1.down", "duplicate=1%"},
			want: 1, within: 0.1, relative: true, unit: "%", measure: twice},
		row{what: "UDP, behind a later one", set: "1% held back", topology: pair(`"delay": "5ms"`), words: []string{"h1.down", "reorder=1%"},
			want: 1, within: 0.15, relative: true, unit: "%", measure: behind},
		row{what: "UDP, damaged where no checksum tells", set: "1%", topology: pair(`"delay": "5ms"`), words: []string{"h1.down", "mangle=1%"},
			want: 1, within: 0.1, relative: true, unit: "%", measure: mangled},
	)
}
