package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestControl lists a running job, pauses it, lets it go on faster, and follows it; the
// source is here once and at the far end once.
func TestControl(t *testing.T) {
	t.Parallel()
	for _, pull := range []bool{false, true} {
		w := newWorld(t)
		data := content(90, 24<<20)
		words, src, dst := []string{"f", "far:g"}, filepath.Join(w.near, "f"), filepath.Join(w.far, "g")
		if pull {
			words, src, dst = []string{"far:f", "./g"}, filepath.Join(w.far, "f"), filepath.Join(w.near, "g")
		}
		put(t, src, data)
		p := w.start(append([]string{"--json=events", "--bwlimit=4MB"}, words...)...)
		look := func() (id string, done int64) {
			var s struct {
				Job  string `json:"job"`
				Done int64  `json:"done_bytes"`
			}
			if r := w.ok("jobs", "--json"); r.out != "" {
				if err := json.Unmarshal([]byte(r.out), &s); err != nil {
					t.Fatal(err)
				}
			}
			return s.Job, s.Done
		}
		var id string
		await(t, patience, "a job that moves", func() bool {
			var done int64
			id, done = look()
			return done > 0
		})
		follow := w.start("attach", id)
		if r := w.ok("ctl", id[:4], "pause"); r.out != "paused\n" {
			t.Errorf("pull %t: %v", pull, r)
		}
		await(t, patience, "a job that rests", func() bool {
			_, before := look()
			time.Sleep(300 * time.Millisecond) // in which 1.2 MB would move
			_, done := look()
			return done == before
		})
		if r := w.ok("jobs"); !strings.Contains(r.out, "  paused  --json=events --bwlimit=4MB ") {
			t.Errorf("pull %t: paused, %v", pull, r)
		}
		w.fails(1, []string{"priority: ", "fair, background or bold"}, "ctl", id, "priority=low")
		w.ok("ctl", id, "bwlimit=off", "streams=3", "continue")
		if r := p.wait(); r.code != 0 {
			t.Errorf("pull %t: %v", pull, r)
		}
		holds(t, dst, data)
		if r := follow.wait(); r.code != 0 || !strings.Contains(r.out, `"ev":"job.end"`) || !strings.Contains(r.out, `"what":"pause","from":1,"to":0,"reason":"as asked while running"`) {
			t.Errorf("pull %t: followed %v", pull, r)
		}
		tunes := make(map[string]int)
		for _, e := range checkEvents(t, string(get(t, filepath.Join(w.near, "events"))), 0) {
			if e["ev"] == "tune" {
				tunes[e["what"].(string)]++
			}
		}
		if tunes["pause"] != 2 || tunes["rate"] != 1 || tunes["streams"] != 1 {
			t.Errorf("pull %t: told of %v", pull, tunes)
		}
		if r := w.ok("jobs"); r.out != "no job runs here\n" {
			t.Errorf("pull %t: afterwards, %v", pull, r)
		}

		words[1] += "2"
		p = w.start(append([]string{"--bwlimit=4MB"}, words...)...)
		await(t, patience, "another job that moves", func() bool {
			var done int64
			id, done = look()
			return done > 0
		})
		w.ok("ctl", id, "stop")
		p.wait().want(t, 130, "stopped by gomover ctl", "to continue: ")
		w.ok(words...)
		holds(t, dst+"2", data)
	}
}

// jobOf is the ID of a job that writes events to its output.
func jobOf(t *testing.T, p *process) string {
	t.Helper()
	e, ok := lastEvent(p.out.String(), "job.start")
	if !ok {
		t.Fatalf("no job.start:\n%v", p.out.String())
	}
	return e["job"].(string)
}

// TestControlProbe has the path looked at while data flows over it.
func TestControlProbe(t *testing.T) {
	// With nothing beside it: a probe beside a job has 1.5 s.
	bothWays(t, "loopback", func(t *testing.T, pull bool) {
		w := newWorld(t)
		data := content(91, 48<<20) // some seconds of time
		words, src, dst := []string{"f", "far:g"}, filepath.Join(w.near, "f"), filepath.Join(w.far, "g")
		if pull {
			words, src, dst = []string{"far:f", "./g"}, filepath.Join(w.far, "f"), filepath.Join(w.near, "g")
		}
		put(t, src, data)
		p := slowly(t, w, words...)
		id := jobOf(t, p)
		if r := w.ok("ctl", id, "probe"); !strings.HasPrefix(r.out, "the path is looked at; ") {
			t.Errorf("%v", r)
		}
		await(t, patience, "what is found", func() bool { return strings.Contains(p.out.String(), `"code":"net.probed"`) })
		if r := w.ok("ctl", id, "probe"); !strings.HasPrefix(r.out, "the path cannot be looked at now, or was within the last minute") {
			t.Errorf("%v", r)
		}
		w.ok("ctl", id, "bwlimit=off")
		r := p.wait()
		r.want(t, 0)
		holds(t, dst, data)
		ways := 0
		for _, e := range checkEvents(t, r.out, 0) {
			if e["ev"] == "probe" {
				if text, _ := e["finding"].(string); !strings.HasPrefix(text, "looked at the path to far again: ") || e["rtt_min_ms"].(float64) <= 0 || e["ms"].(float64) > 3000 {
					t.Errorf("%v", e)
				}
				ways++
			}
		}
		if ways != 2 {
			t.Errorf("%d directions were looked at\n%v", ways, r)
		}
		if r := w.ok("probe", "--history", "far"); !strings.Contains(r.out, "  path: measured ") {
			t.Errorf("what was found is not remembered:\n%v", r)
		}
		w.clean(w.near, w.far)
	})
}

// TestPausedForLong: a job that was paused for longer than it may be without an answer
// does not give up when its connection breaks then.
func TestPausedForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := content(92, 24<<20)
	put(t, filepath.Join(w.near, "f"), data)
	const giveUp = 5 * time.Second // in which a busy machine logs in
	p := slowly(t, w, "--give-up=5s", "--retry-wait=100ms", "--probe=off", "f", "far:g")
	id := jobOf(t, p)
	w.ok("ctl", id, "pause")
	time.Sleep(giveUp) // which is what is arranged
	kill(t, parent(t, w.agents()[0]))
	await(t, patience, "the host is back", func() bool {
		return strings.Count(p.out.String(), `"state":"ready"`) == 2 || !p.running()
	})
	w.ok("ctl", id, "bwlimit=off", "continue")
	r := p.wait()
	r.want(t, 0)
	holds(t, filepath.Join(w.far, "g"), data)
	w.clean(w.near, w.far)
}
