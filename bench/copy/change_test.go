package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// course is progress four times a second, at rates in bytes per second that hold from
// so many seconds on.
func course(start time.Time, end time.Duration, rates map[int]float64) (l []point) {
	bytes, rate := 0.0, 0.0
	for at := time.Duration(0); at <= end; at += 250 * time.Millisecond {
		l = append(l, point{start.Add(at), int64(bytes)})
		if r, ok := rates[int(at/time.Second)]; ok && at%time.Second == 0 {
			rate = r
		}
		bytes += rate / 4
	}
	return l
}

func TestBack(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := start.Add(12 * time.Second)
	for _, c := range []struct {
		name        string
		points      []point
		took, share float64
	}{
		{"at once", course(start, 35*time.Second, map[int]float64{0: 1000}), 0, 1},
		{"after three seconds", course(start, 35*time.Second, map[int]float64{0: 1000, 12: 100, 15: 1000}), 2.8, 1},
		{"and slow again", course(start, 35*time.Second, map[int]float64{0: 1000, 12: 100, 15: 1000, 22: 500}), 2.8, 0.5},
		{"never", course(start, 35*time.Second, map[int]float64{0: 1000, 12: 800}), 23, 0.8},
		{"nothing is known", nil, 0, 0},
	} {
		took, share := back(c.points, at, 10*time.Second, 1000)
		if math.Abs(took.Seconds()-c.took) > 0.11 || math.Abs(share-c.share) > 0.01 {
			t.Errorf("%s: back after %v, then at %.2f; want %.1f s, %.2f", c.name, took, share, c.took, c.share)
		}
	}
}

func TestProgressIsRead(t *testing.T) {
	line := func(at int, rest string) string {
		return fmt.Sprintf(`{"v":1,"t":"2026-01-01T00:00:%02d.500Z",%s}`+"\n", at, rest)
	}
	text := line(0, `"ev":"job.start"`) + line(1, `"ev":"host","state":"ready"`) + line(2, `"ev":"plan"`) +
		line(3, `"ev":"progress","verified_bytes":5000000`) + line(4, `"ev":"progress","verified_bytes":25000000`) +
		line(5, `"ev":"tune","what":"cc","to":"bbr"`) + line(9, `"ev":"job.end"`) + `{"v":1,"t":"2026-`
	points, words := readProgress([]byte(text), time.Date(2026, 1, 1, 0, 0, 3, 0, time.UTC))
	if len(points) != 2 || points[1].bytes != 25e6 || points[1].at.Second() != 4 || words != "+2.5 s tune cc to bbr" {
		t.Errorf("%v, %q", points, words)
	}
	if got := firstSteps(text); got != "ready 1.00 s, plan 2.00 s, 4.0 s 20 MB/s, end 9.00 s" {
		t.Error(got)
	}
	if strings.Contains(firstSteps(""), "s") {
		t.Error("steps of nothing")
	}
}
