package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
)

// entry is a program at one setting, with its own size of the payload.
type entry struct {
	program  peer.Program
	settings peer.Settings
	label    string
	bytes    int64
}

// table is what the entries that are compared with each other have in common.
type table struct {
	*scene
	name     string
	from, to []*ground.Host
	against  *ground.Host // sends a competing flow; nil without
	pull     bool         // commands are typed at the receiver
	tree     bool
	source   string // of a tree
	files    int    // of a tree
	rounds   int
}

// maxSeconds is how long one run of a slow program may take, about; its file is
// made smaller for that.
const maxSeconds = 45.0

// compare runs entries in turn, round after round, and adds what it finds to the
// report. An entry that fails is not run again.
func (t table) compare(ctx context.Context, entries []entry) error {
	list := make([]Measurement, len(entries))
	for i, e := range entries {
		list[i] = Measurement{
			Row: t.name, Program: e.program.Name, Label: e.label, Settings: e.settings, Note: e.program.Note,
			Path: t.path, Bytes: e.bytes, Files: max(1, t.files), Runs: []Run{},
		}
		list[i].Command = t.words(e)
		list[i].Path.Senders, list[i].Path.Receivers = len(t.from), len(t.to)
	}
	defer func() { // also when interrupted
		t.b.report.Measurements = append(t.b.report.Measurements, slices.DeleteFunc(list, func(m Measurement) bool {
			return m.Error == "" && len(m.Runs) == 0
		})...)
	}()
	for range t.rounds {
		for i, e := range entries {
			if list[i].Error != "" {
				continue
			}
			r, err := t.once(ctx, e)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				list[i].Error = err.Error()
				t.b.fail(t.name+", "+e.program.Name+", "+e.settings.String(), err)
				continue
			}
			list[i].Runs = append(list[i].Runs, r)
			fmt.Printf("%-12s %-8s %-34s %8.1f Mbit/s  %6.2f s  CPU %.2f + %.2f s/GB  %.0f + %.0f MiB  wire %.3f%s\n",
				t.name, e.program.Name, e.settings, r.Goodput*8/1e6, r.Seconds, r.Sender.CPUPerGB, r.Receiver.CPUPerGB,
				float64(r.Sender.PeakBytes)/(1<<20), float64(r.Receiver.PeakBytes)/(1<<20), r.Wire, fairnessText(r.Fairness))
		}
	}
	return nil
}

// fairnessText is for people.
func fairnessText(f *Fairness) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("  Jain %.3f (TCP %.1f Mbit/s)", f.Jain, f.Competitor*8/1e6)
}

// once runs one entry once.
func (t table) once(ctx context.Context, e entry) (Run, error) {
	j := t.job(e)
	if !t.tree {
		if err := t.file(j.source, e.bytes); err != nil {
			return Run{}, err
		}
	}
	return t.run(ctx, j)
}

// job is what an entry is run as.
func (t table) job(e entry) job {
	j := job{program: e.program, settings: e.settings, from: t.from, to: t.to, bytes: e.bytes, against: t.against, tree: t.tree, pull: t.pull, source: t.source}
	if !t.tree {
		j.source = filepath.Join(t.dir, fmt.Sprintf("payload-%d", e.bytes))
	}
	return j
}

// file makes a payload once. One of another size goes, so that memory holds one.
func (t table) file(path string, bytes int64) error {
	if info, err := os.Stat(path); err == nil && info.Size() == bytes {
		return nil
	}
	old, _ := filepath.Glob(filepath.Join(t.dir, "payload-*"))
	for _, name := range old {
		os.Remove(name)
	}
	return ground.MakeFile(path, bytes, 1)
}

// words are an entry's command line, with the names of directories of this run
// cut short.
func (t table) words(e entry) (words []string) {
	j := t.job(e)
	transfer := t.describe(j)
	plan := e.program.Plan
	if t.tree {
		plan = e.program.Tree
	}
	short := strings.NewReplacer(t.dir+"/", "", t.b.dir+"/", "")
	client := plan(transfer, e.settings).Client
	for _, w := range append(client.Env, client.Args...) {
		words = append(words, short.Replace(w))
	}
	return words
}

// search tries a program's settings with a shorter file and gives the best. Its
// limit falls as better ones are found: what takes twice as long as the best so
// far cannot win.
func (t table) search(ctx context.Context, p peer.Program, bytes int64) (Search, error) {
	found := Search{Row: t.name, Program: p.Name, Bytes: bytes, Tried: []Try{}}
	tries := p.Candidates(t.b.grid(t.path))
	switch {
	case t.b.quick && len(tries) > 2:
		tries = tries[len(tries)-2:]
	case t.b.quick && len(tries) == 1:
		found.Best = tries[0]
		return found, nil
	case !t.b.quick && p.DefaultBytes == 0:
		tries = append([]peer.Settings{{}}, tries...)
	}
	const slowest = 90 * time.Second
	limit, best := slowest, 0.0
	for _, s := range tries {
		j := t.job(entry{program: p, settings: s, bytes: bytes})
		j.limit = limit
		if err := t.file(j.source, bytes); err != nil {
			return found, err
		}
		r, err := t.run(ctx, j)
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		try := Try{Settings: s, Goodput: r.Goodput}
		if err != nil {
			try.Goodput, try.Error = 0, err.Error()
		} else if r.Goodput > best {
			best, found.Best = r.Goodput, s
			limit = min(slowest, time.Duration(2*r.Seconds*float64(time.Second))+2*time.Second)
		}
		found.Tried = append(found.Tried, try)
	}
	if best == 0 {
		return found, fmt.Errorf("no setting of %s works: %s", p.Name, found.Tried[len(found.Tried)-1].Error)
	}
	fmt.Println(found.text())
	return found, nil
}

// text lists what a search has found, best first in brackets.
func (s Search) text() string {
	var parts []string
	for _, try := range s.Tried {
		figure := fmt.Sprintf("%.3g", try.Goodput*8/1e6)
		if try.Goodput == 0 {
			figure = "too slow or failed"
		}
		parts = append(parts, fmt.Sprintf("%s: %s", try.Settings, figure))
	}
	return fmt.Sprintf("search %s, %s, %.3g MiB, Mbit/s: %s; best: %s", s.Row, s.Program, float64(s.Bytes)/(1<<20), strings.Join(parts, "; "), s.Best)
}

// rateOf is the goodput of a setting in a search; 0 if it was not tried.
func (s Search) rateOf(settings peer.Settings) float64 {
	for _, try := range s.Tried {
		if try.Settings == settings {
			return try.Goodput
		}
	}
	return 0
}

// grid is what is searched on a path.
func (b *bench) grid(p Path) peer.Grid {
	if b.quick {
		return peer.Grid{Streams: []int{8}, Windows: []int64{2 * bdp(p)}}
	}
	return peer.Grid{Streams: []int{8, 16, 4, 32, 1}, Windows: []int64{0, 2 * bdp(p)}}
}

// entries searches every program's best settings and makes an entry of its default
// and one of its best, each with as much of full as it moves in time.
func (t table) entries(ctx context.Context, programs []peer.Program, full, probe int64) (list []entry, err error) {
	for _, p := range programs {
		if p.Plan == nil {
			continue
		}
		found, err := t.search(ctx, p, probe)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if len(found.Tried) > 0 {
			t.b.report.Searches = append(t.b.report.Searches, found)
		}
		if err != nil {
			t.b.fail(t.name+", "+p.Name, err)
			continue
		}
		e := entry{program: p, label: "default", bytes: fitting(found.rateOf(peer.Settings{}), full, probe)}
		if p.DefaultBytes > 0 {
			e.bytes = min(full, p.DefaultBytes)
		}
		list = append(list, e)
		if found.Best.Default() {
			continue // nothing set by hand was better
		}
		list = append(list, entry{program: p, settings: found.Best, label: "tuned", bytes: fitting(found.rateOf(found.Best), full, probe)})
	}
	return list, nil
}

// fitting is the size that moves within maxSeconds at a rate, between probe and
// full, in steps of halves so that programs of the same order share a file. A rate
// of 0 is unknown.
func fitting(rate float64, full, probe int64) int64 {
	size := full
	if rate == 0 {
		return size
	}
	for float64(size) > rate*maxSeconds && size/2 >= probe {
		size /= 2
	}
	return size
}
