package mover

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/gomover/gomover/history"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/replica/pull"
)

func TestPasts(t *testing.T) {
	j := Job{StateDir: t.TempDir(), Pull: new(Pull)}
	list := []Replica{{Host: "H1", Port: 22}, {URL: "https://user:secret@Mirror.example/f"}, {Path: "f"}}
	sources := []pull.Source{&sshSource{}, webSource{}, &localSource{}}
	did := pull.PlaceResult{Bytes: 6e8, Start: 1500 * time.Millisecond, Latency: 100 * time.Millisecond, Seen: replica.Seen{Took: 6 * time.Second}}
	for range 12 {
		did.Seen.Rates = append(did.Seen.Rates, 1e8)
	}
	for run := range 3 {
		p := newPasts(&j)
		for i := range list {
			tell := p.of(&list[i], sources[i])
			if list[i].Path != "" {
				if tell != nil {
					t.Error("a copy on this machine has a past")
				}
				continue
			}
			switch got := tell(1e9); {
			case run == 0 && got != replica.Past{}:
				t.Errorf("before the first run: %+v", got)
			case run > 0 && (got.Runs != run || got.Rate != 1e8 || got.Start != did.Start || got.Latency != did.Latency || got.Spread <= 0):
				t.Errorf("after %d runs: %+v", run, got)
			}
		}
		for _, s := range sources {
			p.gave(s, "tcp", did)
		}
		if err := p.remember(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	file := history.At(filepath.Join(j.StateDir, historyName))
	pairs, err := file.Pairs()
	if err != nil || len(pairs) != 2 || pairs[0] != (history.Pair{From: "h1:22", To: "here"}) || pairs[1] != (history.Pair{From: "https://mirror.example:443", To: "here"}) {
		t.Errorf("%v, %v", pairs, err)
	}
	// What a copy from a host has shown counts for pulls, too, and the other way round.
	if r, err := file.Load(pairOf("h1", 22, false)); err != nil || len(r.Jobs) != 3 || r.Jobs[0].Files != 1 || r.Jobs[0].Transport != "tcp" {
		t.Errorf("%+v, %v", r, err)
	}
	// Little says nothing, and who asks for no memory gets none.
	p := newPasts(&j)
	p.of(&Replica{Host: "h2"}, sources[0])
	did.Seen.Took = time.Second
	p.gave(sources[0], "tcp", did)
	if err := p.remember(time.Now()); err != nil {
		t.Fatal(err)
	}
	if pairs, _ := file.Pairs(); len(pairs) != 2 {
		t.Errorf("%v", pairs)
	}
	for _, none := range []Job{{Pull: new(Pull)}, {StateDir: j.StateDir, Probe: ProbeOff}} {
		if newPasts(&none).of(&list[0], sources[0]) != nil {
			t.Errorf("%+v remembers", none)
		}
	}
}
