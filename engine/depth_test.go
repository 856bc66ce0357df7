package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/wire"
)

// TestDepth: file systems that answer late are asked for more at a time, at either end,
// and what comes of that is told.
func TestDepth(t *testing.T) {
	small := func(r *run) {
		for i := range 6000 {
			r.src.put(fmt.Sprintf("d%d/s%d", i%7, i), random(uint64(i), 100+i%50))
		}
	}
	medium := func(r *run) {
		for i := range 400 {
			r.src.put(fmt.Sprintf("m%d", i), random(uint64(i), smallFile+1+i%50))
		}
	}
	lateOpen := func(d time.Duration) func(r *run) {
		return func(r *run) {
			r.src.fault = func(op, _ string) error {
				if op == "open" {
					time.Sleep(d)
				}
				return nil
			}
		}
	}
	for name, tt := range map[string]struct {
		fill, slow func(r *run)
		streams    int
		what       string
		gain       float64 // how many times as fast
	}{
		"small files, opened late": {small, lateOpen(10 * time.Millisecond), 4, "readers", 1.4},
		"files, opened late":       {medium, lateOpen(200 * time.Millisecond), 4, "readers", 1.25},
		// All that there is fits into the window at once, so that of several streams one may
		// come to have most of it.
		"small files, made late": {small, func(r *run) { r.dst.slow = 10 * time.Millisecond }, 1, "writers", 1.3},
		"files that are there":   {medium, func(*run) {}, 4, "", 0.95},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took := make(map[string]time.Duration)
				for _, mode := range []string{"", retuneAuto} {
					r := newRun()
					tt.fill(r)
					tt.slow(r)
					r.opts.StreamsMin, r.opts.StreamsMax, r.opts.Retune = tt.streams, tt.streams, mode
					// However busy the machine is, its processors are not what this waits for.
					r.processors = func(got *wire.Report) { got.Cores = 2 }
					r.fine(t, r.do(t.Context()))
					took[mode] = r.took
					told := slices.ContainsFunc(r.rec.tunes, func(e events.Tune) bool { return e.What == tt.what && e.To > e.From })
					if told != (mode != "" && tt.what != "") {
						t.Errorf("%q: told of %s: %t; %+v", mode, tt.what, told, r.rec.tunes)
					}
					if r.src.opened != 0 {
						t.Errorf("%d files are still open", r.src.opened)
					}
				}
				if took[""].Seconds() < tt.gain*took[retuneAuto].Seconds() {
					t.Errorf("%v instead of %v", took[retuneAuto], took[""])
				}
			})
		})
	}
}

// TestDepthAndFiles: files that change, vanish or cannot be read are left out of a pack
// that is read by several as of one that is read by one.
func TestDepthAndFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun()
		for i := range 500 {
			r.src.put(fmt.Sprintf("s%03d", i), random(uint64(i), 100+i%50))
		}
		r.opts.OnChange, r.opts.Retune = "fail", ""
		r.src.fault = func(op, name string) error {
			switch {
			case op == "open" && name == "s007":
				return fs.ErrNotExist
			case op == "open" && name == "s400":
				return errors.New("worn out")
			}
			return nil
		}
		r.during = func(r *run) { r.source.depth.n.Store(8); r.sink.depth.n.Store(8) }
		if err := r.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 500 {
			name := fmt.Sprintf("s%03d", i)
			got, ok := r.dst.get(name)
			if want := i != 7 && i != 400; ok != want || ok && got != string(random(uint64(i), 100+i%50)) {
				t.Errorf("%s: there %t, want %t", name, ok, want)
			}
		}
	})
}

func TestEach(t *testing.T) {
	for _, tt := range [][2]int{{0, 4}, {1, 4}, {5, 1}, {5, 2}, {100, 8}, {3, 100}} {
		var done [100]atomic.Int32
		var running, most atomic.Int32
		each(tt[0], func() int { return tt[1] }, func(i int) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			done[i].Add(1)
			running.Add(-1)
		})
		for i := range done {
			if want := int32(map[bool]int{true: 1}[i < tt[0]]); done[i].Load() != want {
				t.Errorf("%v: %d was done %d times", tt, i, done[i].Load())
			}
		}
		if int(most.Load()) > tt[1] {
			t.Errorf("%v: %d at a time", tt, most.Load())
		}
	}
	synctest.Test(t, func(t *testing.T) { // what the limit is may change meanwhile
		began := time.Now()
		each(100, func() int {
			if time.Since(began) < 10*time.Second {
				return 1
			}
			return 10
		}, func(int) { time.Sleep(time.Second) })
		if took := time.Since(began); took < 19*time.Second || took > 21*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestDepthLeavesDescriptors: with up to 240 streams both ends of a copy within one
// machine have room among 1024 open files, whichever directories these are in.
func TestDepthLeavesDescriptors(t *testing.T) {
	const others = 64
	for streams := range 240 {
		n := shareOf(depthMost, float64(streams))
		if open := 2 * 2 * n * max(1, streams); n < 1 || open+others > 1024 {
			t.Errorf("%d streams, %d at a time: %d open files", streams, n, open)
		}
	}
	if n := shareOf(depthMost, 1000); n != 1 {
		t.Errorf("%d at a time with 1000 streams", n)
	}
	// Sources for several destinations share that.
	for _, sources := range []int{0, 1, 5, 60} {
		s, _, _ := gauges(t, Options{Retune: retuneOn}, 4)
		s.Join(Common{Sources: sources})
		waits := &end{streams: 4, disk: 1, cores: 2}
		bytes := int64(0)
		for i := 0; s.depth.policy == nil || s.depth.policy.At() < depthMost; i++ {
			if i == 60 {
				t.Fatalf("%d at a time after a minute", s.depth.policy.At())
			}
			bytes += 1 << (20 + i/3) // as if more at a time always helped
			s.depth.look(retuneOn, time.Duration(i+1)*time.Second, time.Second, bytes, waits)
		}
		if n := s.depth.at(); n != shareOf(depthMost, 4*float64(max(1, sources))) {
			t.Errorf("%d sources: %d at a time", sources, n)
		}
	}
}
