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
		await(t, 20*time.Second, "a job that moves", func() bool {
			var done int64
			id, done = look()
			return done > 0
		})
		follow := w.start("attach", id)
		if r := w.ok("ctl", id[:4], "pause"); r.out != "paused\n" {
			t.Errorf("pull %t: %v", pull, r)
		}
		await(t, 20*time.Second, "a job that rests", func() bool {
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
		if r := p.wait(); r.code != 0 || r.took > 15*time.Second {
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
		await(t, 20*time.Second, "another job that moves", func() bool {
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
