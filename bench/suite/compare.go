package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
	"github.com/gomover/gomover/internal/payload"
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
	once     float64 // what takes so many seconds is not repeated; 0: all is
}

// How long one run of a slow program may take, about: its file is made smaller for
// that. A run that takes cutFactor times as long all the same is ended, and repeated
// with as much as it would have moved in time.
const (
	maxSeconds = 10.0
	cutFactor  = 4
)

// settledWithin is how far a median may still move when the remaining rounds are left
// out, as a share of it.
const settledWithin = 0.05

// compare runs entries in turn, round after round, and adds what it finds to the
// report. Each round begins with another entry. An entry that fails is not run
// again, nor is one whose median is settled.
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
	for round := range t.rounds {
		for k := range entries {
			i := (k + round*len(entries)/t.rounds) % len(entries)
			m := &list[i]
			if m.Error != "" || m.settled(t) {
				continue
			}
			if err := t.measure(ctx, &entries[i], m); err != nil {
				return err
			}
		}
	}
	return nil
}

// goodput is a run's, for figures.
func goodput(r Run) float64 { return r.Goodput }

// settled says whether more rounds can tell nothing new.
func (m Measurement) settled(t table) bool {
	if t.once > 0 && len(m.Runs) > 0 && m.Runs[0].Seconds >= t.once {
		return true
	}
	jain := figures(m, func(r Run) float64 { return r.Fairness.jain() })
	return figures(m, goodput).Settled(t.rounds, settledWithin) && jain.Settled(t.rounds, settledWithin)
}

// measure runs an entry once, and again with a smaller file if that was not done in
// time. Errors: that of ctx; another one goes into the measurement.
func (t table) measure(ctx context.Context, e *entry, m *Measurement) error {
	r, err := t.execute(ctx, *e)
	if errors.Is(err, ground.ErrVoid) { // that is no fault of the program's, once
		r, err = t.execute(ctx, *e)
	}
	if errors.Is(err, ground.ErrLimit) && len(m.Runs) == 0 && t.shrinks() {
		if size := fitting(max(r.steady, r.Goodput), maxSeconds, e.bytes, leastBytes); size < e.bytes {
			e.bytes, m.Bytes = size, size
			m.Command = t.words(*e)
			r, err = t.execute(ctx, *e)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		m.Error = err.Error()
		t.b.fail(t.name+", "+e.program.Name+", "+e.settings.String(), err)
		return nil
	}
	m.Runs = append(m.Runs, r)
	fmt.Printf("%-12s %-8s %-34s %8.1f Mbit/s  %6.2f s  CPU %.2f + %.2f s/GB  %.0f + %.0f MiB  wire %.3f%s\n",
		t.name, e.program.Name, e.settings, r.Goodput*8/1e6, r.Seconds, r.Sender.CPUPerGB, r.Receiver.CPUPerGB,
		float64(r.Sender.PeakBytes)/(1<<20), float64(r.Receiver.PeakBytes)/(1<<20), r.Wire, fairnessText(r.Fairness))
	return nil
}

// shrinks says whether programs that are slow get a smaller payload: not in tables
// whose figures depend on the size.
func (t table) shrinks() bool {
	return !t.tree && t.against == nil && len(t.to) == 1 && len(t.from) == 1
}

// fairnessText is for people.
func fairnessText(f *Fairness) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("  Jain %.3f (TCP %.1f Mbit/s)", f.Jain, f.Competitor*8/1e6)
}

// execute runs one entry once.
func (t table) execute(ctx context.Context, e entry) (Run, error) {
	j := t.job(e)
	if t.shrinks() {
		j.limit = time.Duration(cutFactor * maxSeconds * float64(time.Second))
	}
	if !t.tree {
		if err := t.file(ctx, j.source, e.bytes); err != nil {
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
func (t table) file(ctx context.Context, path string, bytes int64) error {
	if info, err := os.Stat(path); err == nil && info.Size() == bytes {
		return nil
	}
	old, _ := filepath.Glob(filepath.Join(t.dir, "payload-*"))
	for _, name := range old {
		os.Remove(name)
	}
	return payload.MakeFile(ctx, path, bytes, 1)
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
	short := strings.NewReplacer(t.dir+"/", "", t.b.Dir+"/", "")
	client := plan(transfer, e.settings).Client
	for _, w := range append(client.Env, client.Args...) {
		words = append(words, short.Replace(w))
	}
	return words
}

// The search ends what takes searchFactor times as long as the best so far, since it
// cannot win any more, and anything after searchSeconds.
const (
	searchFactor  = 1.3
	searchSeconds = 15.0
)

// search tries a program's settings with a shorter file and gives the best.
func (t table) search(ctx context.Context, p peer.Program, bytes int64) (Search, error) {
	found := Search{Row: t.name, Program: p.Name, Bytes: bytes, Tried: []Try{}}
	tries := p.Candidates(t.b.grid(t.path))
	switch {
	case t.b.quick && len(tries) > 2:
		tries = tries[len(tries)-2:]
	case t.b.quick && len(tries) == 1:
		found.Best = tries[0]
		return found, nil
	case !t.b.quick && p.DefaultBytes == 0 && t.path.short():
		tries = append([]peer.Settings{{}}, tries...)
	case !t.b.quick && p.DefaultBytes == 0:
		tries = append(tries, peer.Settings{})
	}
	for _, s := range tries {
		j := t.job(entry{program: p, settings: s, bytes: bytes})
		j.limit = found.limit(p.Received != nil)
		if err := t.file(ctx, j.source, bytes); err != nil {
			return found, err
		}
		r, err := t.run(ctx, j)
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		found.add(s, r, err)
	}
	fmt.Println(found.text())
	return found, found.failed()
}

// limit is for how long the next candidate may run. A program that sends for a fixed
// time says nothing by being late.
func (s Search) limit(fixed bool) time.Duration {
	seconds := searchSeconds
	for _, try := range s.Tried {
		if try.Goodput > 0 && !fixed {
			seconds = min(seconds, searchFactor*try.Seconds)
		}
	}
	return time.Duration(seconds * float64(time.Second))
}

// add notes what came of a candidate. The best is the fastest of those that were
// done in time; without any, the one that had most when it was ended.
func (s *Search) add(settings peer.Settings, r Run, err error) {
	try := Try{Settings: settings, Seconds: r.Seconds, steady: r.steady}
	switch {
	case errors.Is(err, ground.ErrLimit):
		try.Reached, try.Error = r.Goodput, err.Error()
	case err != nil:
		try.Error = err.Error()
	default:
		try.Goodput, try.Reached = r.Goodput, r.Goodput
	}
	best := Try{}
	for _, other := range s.Tried {
		if other.Settings == s.Best {
			best = other
		}
	}
	if try.Goodput > best.Goodput || best.Goodput == 0 && try.Reached > best.Reached {
		s.Best = settings
	}
	s.Tried = append(s.Tried, try)
}

// failed is an error if nothing has arrived with any candidate.
func (s Search) failed() error {
	last := Try{}
	for _, last = range s.Tried {
		if last.Reached > 0 {
			return nil
		}
	}
	return fmt.Errorf("no setting of %s works: %s", s.Program, last.Error)
}

// short says whether a path is one on which single connections are fast.
func (p Path) short() bool { return p.RTTSeconds < 0.02 && p.Loss == 0 }

// text lists what a search has found, best first in brackets.
func (s Search) text() string {
	var parts []string
	for _, try := range s.Tried {
		figure := fmt.Sprintf("%.3g", try.Reached*8/1e6)
		switch {
		case try.Reached == 0:
			figure = "failed"
		case try.Goodput == 0:
			figure += " when ended"
		}
		parts = append(parts, fmt.Sprintf("%s: %s", try.Settings, figure))
	}
	return fmt.Sprintf("search %s, %s, %.3g MiB, Mbit/s: %s; best: %s", s.Row, s.Program, float64(s.Bytes)/(1<<20), strings.Join(parts, "; "), s.Best)
}

// noGain is by how much the best setting must be faster than the default to be
// measured beside it.
const noGain = 0.02

// gains says whether something set by hand was better than the default.
func (s Search) gains() bool {
	if s.Best.Default() {
		return false
	}
	best, known := Try{}, Try{}
	for _, try := range s.Tried {
		switch try.Settings {
		case s.Best:
			best = try
		case peer.Settings{}:
			known = try
		}
	}
	return known.Goodput == 0 || best.Goodput > (1+noGain)*known.Goodput
}

// rateOf is how fast a setting was in a search once it was under way; 0 if that is not
// known.
func (s Search) rateOf(settings peer.Settings) float64 {
	for _, try := range s.Tried {
		if try.Settings == settings {
			return max(try.steady, try.Reached)
		}
	}
	return 0
}

// grid is what is searched on a path.
func (b *bench) grid(p Path) peer.Grid {
	if b.quick {
		return peer.Grid{Streams: []int{8}, Windows: []int64{2 * bdp(p)}}
	}
	streams := []int{8, 16, 4, 32, 1} // the likely best first: it ends the others early
	if p.short() {
		streams = []int{1, 4, 8, 16, 32}
	}
	return peer.Grid{Streams: streams, Windows: []int64{0, 2 * bdp(p)}}
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
		e := entry{program: p, label: "default", bytes: fitting(found.rateOf(peer.Settings{}), maxSeconds, full, leastBytes)}
		if p.DefaultBytes > 0 {
			e.bytes = min(full, p.DefaultBytes)
		}
		list = append(list, e)
		if !found.gains() {
			continue
		}
		list = append(list, entry{program: p, settings: found.Best, label: "tuned", bytes: fitting(found.rateOf(found.Best), maxSeconds, full, leastBytes)})
	}
	return list, nil
}

// leastBytes is the smallest file of a program that is slow.
const leastBytes = 1 << 20

// fitting is the size that moves within some seconds at a rate, full or less down to
// least, in steps of halves so that programs of the same order share a file. A rate
// of 0 is unknown.
func fitting(rate, seconds float64, full, least int64) int64 {
	size := full
	if rate == 0 {
		return size
	}
	for float64(size) > rate*seconds && size/2 >= least {
		size /= 2
	}
	return size
}
