package mover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/replica/pull"
	"github.com/gomover/gomover/replica/tree"
	"github.com/gomover/gomover/transports/pipe"
	"github.com/gomover/gomover/wire"
)

// Sizes of our choice.
const (
	// treeBlock is how much of a file is asked of a replica at once, in bytes, and
	// treeReaders how many such are under way: together more than a path of 2.5 Gbit/s
	// and 100 ms holds.
	treeBlock   = 1 << 20
	treeReaders = 32
)

// sessionTree fetches a tree of which several places have copies: a copy within this
// machine whose source is all of them.
//
// Errors: tree.ErrFile when it is no tree.
func (d *director) sessionTree(ctx context.Context, hosts *pullHosts) error {
	places, local, err := d.treePlaces(hosts)
	if err != nil {
		return err
	}
	defer func() {
		for _, p := range places {
			if l, ok := p.Source.(*localTree); ok {
				l.close()
			}
		}
	}()
	spec := d.job.Pull
	t := tree.New(tree.Config{Places: places, Prefer: spec.Prefer, MaxSources: spec.MaxSources, MinRate: spec.MinRate, GiveUp: d.job.GiveUp, Fail: treeFail,
		Warn: func(code, text string) { record(d.rec, events.Warn{Code: code, Message: text}) }})
	defer t.Close()
	d.setState("listing")
	err = t.Gather(ctx)
	d.setState("")
	switch {
	case errors.Is(err, tree.ErrFile), ctx.Err() != nil:
		return err
	case err != nil:
		return fmt.Errorf("%s: %w: %w", spec.Replicas[0].Shown, err, ErrReplicas)
	}
	j := d.job
	w := writeSpec{Path: []byte(j.Dest.Path), Shown: j.Dest.Shown, Slash: j.Dest.Inside || j.IntoDir, Exact: j.Exact, MkPath: j.MkPath, Never: sourceDirs(local)}
	if err := refuseInside(&w); err != nil {
		return err
	}
	e := newTreeEnd(d, t, hosts, places, &w)
	defer e.keep()
	return d.runEnd(ctx, e)
}

// treePlaces makes a source of each replica; local are the directories of those that
// are on this machine.
func (d *director) treePlaces(hosts *pullHosts) (places []tree.Place, local []sourceSpec, err error) {
	list := d.job.Pull.Replicas
	if len(list) > tree.MaxPlaces {
		return nil, nil, wire.Failf(wire.ClassUsage, "%d replicas of a tree are more than %d", len(list), tree.MaxPlaces)
	}
	for _, r := range list {
		var src tree.Source
		switch {
		case r.Host != "" || r.URL == "" && d.far != nil:
			host, root := hosts.at(r)
			src = &hostTree{h: host, root: root}
		case r.URL == "":
			src = &localTree{path: r.Path, links: linksOf(d.job.Links)}
			local = append(local, sourceSpec{Path: []byte(r.Path), Shown: r.Shown})
		default:
			return nil, nil, &wire.Fail{Class: wire.ClassUsage, Text: r.Shown + ": a mirror does not tell what is in a tree", Hints: []string{"use a metalink that names the files: --metalink"}}
		}
		places = append(places, tree.Place{Name: r.Shown, Source: src})
	}
	return places, local, nil
}

// treeFail gives the reason for which a file cannot be had the class from which the
// exit code follows.
func treeFail(err error) error {
	var f *tree.FileError
	switch {
	case errors.Is(err, tree.ErrDiffer):
		return wire.Failf(wire.ClassReplica, "%v", err)
	case errors.As(err, &f) && f.Changed:
		return wire.Failf(wire.ClassChanged, "%v", err)
	}
	return err
}

// treeEnd is a copy from a tree to this machine.
type treeEnd struct {
	d      *director
	t      *tree.Tree
	hosts  *pullHosts
	places []tree.Place
	source *engine.Source
	sink   *engine.Sink
	links  [2]engine.Link
	base   string // what names in events begin with
	failed int64  // entries about which the lists differ
}

var (
	_ end        = (*treeEnd)(nil)
	_ controlled = (*treeEnd)(nil)
	_ sharing    = (*treeEnd)(nil)
)

func newTreeEnd(d *director, t *tree.Tree, hosts *pullHosts, places []tree.Place, w *writeSpec) *treeEnd {
	first := d.job.Pull.Replicas[0]
	e := &treeEnd{d: d, t: t, hosts: hosts, places: places, base: first.Base}
	o := d.options()
	o.NoInband, o.Retune = true, ""
	o.StreamsMin, o.StreamsMax = treeReaders, treeReaders
	if o.BlockSize == 0 {
		o.BlockSize = treeBlock
		for t.Largest()/o.BlockSize >= 1<<20 && o.BlockSize < engine.MaxBlock {
			o.BlockSize *= 2
		}
	}
	roots := []engine.SourceRoot{{Store: t, Base: first.Base, Inside: first.Inside || first.Base == "", Shown: e.base}}
	if e.base == "" {
		e.base = "."
		roots[0].Shown = e.base
	}
	o.Compared = true // replica/tree has hashed what it gives
	near, far := pipe.Pair()
	e.links[0], e.links[1] = engine.MemoryLink()
	e.source = engine.NewSource(o, engine.Paths{Endpoint: near, Local: true, DialFirst: true, Name: d.job.Dest.Shown}, e.links[0], roots, e)
	e.source.Join(d.common)
	e.sink = engine.NewSink(o, engine.Paths{Endpoint: far, Local: true, Name: "local"}, e.links[1], target(w, d.id, o.Attrs, denyOnce(d.rec)), nil)
	return e
}

// Run copies the tree.
func (e *treeEnd) Run(ctx context.Context) error {
	e.t.Failed(func(name string, err error) {
		e.failed++
		record(e.d.rec, events.File{Path: e.base + "/" + name, Dest: e.d.job.Dest.Shown, Action: "fail", Error: err.Error(), Verified: "none", Class: wire.ClassReplica})
	})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = e.sink.Run(ctx) // tells the source, whose error counts
		e.links[1].Close()
	})
	wg.Go(func() { e.explain(over) })
	wg.Go(func() {
		select {
		case <-e.t.Done():
			cancel(wire.Failf(wire.ClassLost, "%v; what has arrived is kept", e.t.Err()))
		case <-over:
		}
	})
	err := e.source.Run(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		e.links[0].Close()
	}
	close(over)
	e.t.Differing(func(place string, files int) {
		record(e.d.rec, events.Warn{Code: "replica.differs", Message: fmt.Sprintf("%s was left out for %d files", place, files)})
	})
	// Whoever reads hears that nothing comes any more.
	e.t.Close()
	wg.Wait()
	return err
}

// Drain stops asking and waits for what is under way.
func (e *treeEnd) Drain(d time.Duration) { e.source.Drain(d) }

// Control changes the job while it runs.
func (e *treeEnd) Control(c engine.Control) error {
	c.Streams, c.Window = nil, nil // those of the hosts stay as they are
	return e.source.Control(c)
}

// Totals tells how far the job is.
func (e *treeEnd) Totals() engine.Totals {
	t := e.source.Totals()
	t.Failed += e.failed
	t.Files += e.failed
	if t.LimitedBy == "source disk" || t.LimitedBy == "source cpu" {
		t.LimitedBy, t.LimitDetail = "network", ""
	}
	t.Streams = e.hosts.streams()
	return t
}

// Record implements events.Recorder for the source of the copy: what it says of its
// own ways is nobody's concern.
func (e *treeEnd) Record(at time.Time, ev events.Event) {
	switch ev := ev.(type) {
	case events.Plan, events.Transport, events.Tune, events.ProgressStream:
		return
	case events.File:
		if ev.Verified == "wire" && e.t.Places(strings.TrimPrefix(ev.Path, e.base+"/")) > 1 {
			ev.Verified = "blocks"
		}
		e.d.rec.Record(at, ev)
		return
	}
	e.d.rec.Record(at, ev)
}

// explain tells the plan when it is known how data travels.
func (e *treeEnd) explain(over <-chan struct{}) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for began := time.Now(); e.hosts.streams() == 0 && time.Since(began) < explainAfter; {
		select {
		case <-t.C:
			continue
		case <-over:
		}
		break
	}
	way := strings.Join(e.ways(), "+")
	var names []string
	for i, s := range e.t.States() {
		if s.State != replica.Out {
			names = append(names, e.places[i].Name)
		}
	}
	record(e.d.rec, events.Plan{Transport: way, Streams: e.hosts.streams(), Dial: "target", Encrypt: protection(way, false, e.d.job.Seal), Alternatives: []events.Alternative{},
		Reason: fmt.Sprintf("%d files from %s: each block from the one that would have it here first", e.t.Files(), strings.Join(names, ", "))})
}

// ways is how the bytes travel.
func (e *treeEnd) ways() []string {
	ways := e.hosts.ways()
	for _, p := range e.places {
		if _, ok := p.Source.(*localTree); ok && !slices.Contains(ways, "local") {
			ways = append(ways, "local")
		}
	}
	return ways
}

// keep adds up what came from each replica.
func (e *treeEnd) keep() {
	for i, s := range e.t.States() {
		e.d.gave([]pull.Place{{Name: e.places[i].Name}}, pull.Result{Places: []pull.PlaceResult{{Bytes: s.Bytes}}})
	}
}

// shared implements sharing.
func (e *treeEnd) shared() (names []string, states []pull.PlaceState) {
	for i, s := range e.t.States() {
		names = append(names, e.places[i].Name)
		states = append(states, pull.PlaceState{Bytes: s.Bytes, Rate: s.Rate, State: s.State})
	}
	return names, states
}
