package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// What a probe beside a copy may send and delay.
const (
	overheadBar = 0.0025 // of the bytes of a copy of 1 GiB
	waitBar     = 2*labRTT + 0.050
	echoBytes   = 2 * 40 * 1500 // of echoes and their answers, at most
	noticeable  = 64 << 10      // bytes on an interface that are more than greetings
)

// beside counts what is sent beside copies to find out about the path, and how long the
// first bytes wait.
func (n *network) beside(ctx context.Context) ([]row, error) {
	if err := n.set(ctx, 1); err != nil {
		return nil, err
	}
	probes := func(size int64, flags ...string) (count int, sent int64, wait float64, err error) {
		to, file := filepath.Join(n.dir, "to"), filepath.Join(n.dir, "file")
		if err := errors.Join(os.RemoveAll(to), os.RemoveAll(filepath.Join(n.dir, "state")), os.Mkdir(to, 0o700), os.WriteFile(file, nil, 0o600), os.Truncate(file, size)); err != nil {
			return 0, 0, 0, err
		}
		args := append([]string{"--no-space-check", "--summary=none", "--time-limit=8s"}, flags...)
		marks, stop := n.watch(ctx)
		l, err := n.run(ctx, append(args, file, "h1:"+to+"/")...)
		stop()
		if err != nil {
			return 0, 0, 0, err
		}
		for _, e := range l {
			if e.Name == "probe" && !e.Cached {
				count, sent = count+1, max(sent, e.Sent)
			}
		}
		return count, sent, waited(l, <-marks), nil
	}
	small, _, wait, err := probes(31 << 20)
	if err != nil {
		return nil, err
	}
	_, trains, full, err := probes(1<<30, "--probe=full")
	if err != nil {
		return nil, err
	}
	_, sent, _, err := probes(1 << 30)
	if err != nil {
		return nil, err
	}
	return []row{
		most(10, "lab, overhead", "bytes of a probe beside a copy of 1 GiB, echoes included", float64(sent+echoBytes)/(1<<30), overheadBar, percent),
		{no: 10, id: "lab, small", what: "probes beside a copy of 31 MiB", got: fmt.Sprint(small), bar: "0", short: small > 0},
		most(10, "lab, first byte", "200 Mbit/s, 100 ms: from the start of the other end to the first 64 KiB on the interface", wait, waitBar, seconds2),
		most(10, "lab, first byte, full", "the same with --probe=full", full, waitBar, seconds2),
		{id: "lab, trains", what: "bytes of a probe with --probe=full, of 1 GiB", got: percent(float64(trains+echoBytes) / (1 << 30))},
	}, nil
}

// mark is how much a host has sent by an instant.
type mark struct {
	at    time.Time
	bytes int64
}

// watch looks at what the first host sends until stop is called, and then gives what it
// saw.
func (n *network) watch(ctx context.Context) (marks <-chan []mark, stop func()) {
	ctx, stop = context.WithCancel(ctx)
	done := make(chan []mark, 1)
	go func() {
		var l []mark
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for ctx.Err() == nil {
			if bytes, _, err := n.sent(ctx); err == nil {
				l = append(l, mark{time.Now(), bytes})
			}
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
		done <- l
	}()
	return done, stop
}

// waited is how many seconds passed from when the other end was ready until so much was
// sent that it has to be payload; the whole run if it never was.
func waited(l []moved, marks []mark) float64 {
	var ready time.Time
	for _, e := range l {
		if e.Name == "host" && e.State == "ready" && ready.IsZero() {
			ready = e.Time
		}
	}
	if ready.IsZero() || len(marks) == 0 {
		return 1e9
	}
	before := marks[0].bytes
	for _, m := range marks {
		switch {
		case m.at.Before(ready):
			before = m.bytes
		case m.bytes-before >= noticeable:
			return m.at.Sub(ready).Seconds()
		}
	}
	return marks[len(marks)-1].at.Sub(ready).Seconds()
}
