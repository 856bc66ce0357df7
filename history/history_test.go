package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gomover/gomover/tuner/forecast"
)

var (
	pair  = Pair{"here", "there"}
	start = time.Date(2024, 3, 4, 15, 30, 0, 0, time.UTC) // a Monday
)

func job(at time.Time, bytes int64, rate float64) Job {
	return Job{Start: at, Seconds: float64(bytes) / rate, Bytes: bytes, Files: 1, Transport: "tcp", Streams: 12, Rate: Rates{rate, rate / 2, rate * 2},
		Outcomes: []forecast.Outcome{{Stage: 1, LogError: 0.1, Sigma: 0.2}}}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	f := At(filepath.Join(t.TempDir(), "state", "history.db"))
	if r, err := f.Load(pair); err != nil || len(r.Jobs) != 0 || r.Pair != pair {
		t.Fatalf("without a file: %+v, %v", r, err)
	}
	if l, err := f.Pairs(); err != nil || len(l) != 0 {
		t.Fatalf("without a file: %v, %v", l, err)
	}
	for i := range 30 {
		at := start.Add(time.Duration(i) * time.Hour)
		if err := f.Change(pair, at, func(r *Record) { r.Add(job(at, 1<<30, 1e8+float64(i))) }); err != nil {
			t.Fatal(err)
		}
	}
	back := Pair{pair.To, pair.From}
	if err := f.Change(back, start, func(r *Record) {}); err != nil {
		t.Fatal(err)
	}
	r, err := f.Load(pair)
	if err != nil || len(r.Jobs) != maxJobs || r.Jobs[0].Rate.Median != 1e8+6 || !r.Used.Equal(start.Add(29*time.Hour)) || len(r.Outcomes()) != maxJobs {
		t.Errorf("%d jobs, used %v, %v", len(r.Jobs), r.Used, err)
	}
	if h := r.Hours[15]; h.Jobs != 1 || h.Rate != 1e8 {
		t.Errorf("Monday at 15: %+v", h)
	}
	if l, err := f.Pairs(); err != nil || len(l) != 2 || l[0] != pair || l[1] != back {
		t.Errorf("pairs %v, %v", l, err)
	}
	if info, err := os.Stat(f.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestExpect(t *testing.T) {
	var r Record
	if got := r.Expect(start, 1<<30); got != 0 {
		t.Errorf("%v out of nothing", got)
	}
	for i, rate := range []float64{5, 1, 3, 2, 4, 9} {
		r.Add(job(start.Add(time.Duration(i-100)*time.Hour), 1<<30, rate))
	}
	r.Add(job(start.Add(-30*time.Hour), 100, 1000)) // another kind of job
	if got := r.Expect(start, 1<<31); got != 3 {
		t.Errorf("expect %v, want the median of the last five, 3", got)
	}
	if got := r.Expect(start, 1<<50); got != 0 {
		t.Errorf("expect %v for a job unlike all", got)
	}
	for i := range 3 {
		r.Add(job(start.Add(-time.Duration(i+1)*7*24*time.Hour), 1<<30, 50))
	}
	if got := r.Expect(start, 1<<31); got != 50 {
		t.Errorf("expect %v, want what this hour of the week brings, 50", got)
	}
}

func TestFacts(t *testing.T) {
	var r Record
	for i := range 2 * maxFacts {
		r.SetFact(fmt.Sprint(i), Fact{start.Add(time.Duration(i)), json.RawMessage("1")})
	}
	r.SetFact("long", Fact{start.Add(time.Hour), json.RawMessage(`"` + strings.Repeat("x", maxFact) + `"`)})
	r.SetFact("broken", Fact{start.Add(time.Hour), json.RawMessage("{")})
	if _, ok := r.Facts[fmt.Sprint(maxFacts)]; len(r.Facts) != maxFacts || !ok {
		t.Errorf("%d facts, or the wrong ones", len(r.Facts))
	}
	f := Fact{At: start}
	if w := f.Weight(start.Add(2*time.Hour), time.Hour); w != 0.25 {
		t.Errorf("weight %v after two half-lives", w)
	}
	if w := f.Weight(start.Add(-2*time.Hour), time.Hour); w != 0.25 {
		t.Errorf("weight %v of a fact from the future", w)
	}
}

func TestOldPairsGo(t *testing.T) {
	f := At(filepath.Join(t.TempDir(), "history.db"))
	db, err := bbolt.Open(f.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, _ := tx.CreateBucket(records)
		u, _ := tx.CreateBucket(used)
		for i := range maxPairs + 5 {
			k := key(Pair{fmt.Sprint(i), "x"})
			if err := errors.Join(b.Put(k, []byte("{}")), u.Put(k, []byte{0, 0, 0, 0, 0, 0, byte(i >> 8), byte(i)})); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := f.Change(pair, start, func(*Record) {}); err != nil {
		t.Fatal(err)
	}
	l, err := f.Pairs()
	if err != nil || len(l) != maxPairs {
		t.Errorf("%d pairs, %v", len(l), err)
	}
	if r, err := f.Load(pair); err != nil || r.Used.IsZero() {
		t.Errorf("the latest pair went: %v", err)
	}
}

func TestLongRecordsAreCut(t *testing.T) {
	f := At(filepath.Join(t.TempDir(), "history.db"))
	err := f.Change(pair, start, func(r *Record) {
		for range maxJobs {
			j := job(start, 1, 1)
			j.Transport = strings.Repeat("x", 20<<10)
			r.Add(j)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := f.Load(pair); err != nil || len(r.Jobs) == 0 || len(r.Jobs) >= maxJobs {
		t.Errorf("%d jobs, %v", len(r.Jobs), err)
	}
	if err := f.Change(Pair{strings.Repeat("x", 2000), ""}, start, func(*Record) {}); err == nil {
		t.Error("a long name was taken")
	}
}

// TestDamage damages a file in many ways: nothing panics, and what is written
// afterwards is read.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	whole := At(filepath.Join(dir, "whole.db"))
	for i := range 40 {
		p := Pair{"here", fmt.Sprint(i)}
		if err := whole.Change(p, start, func(r *Record) {
			for range 20 {
				r.Add(job(start, 1, 1))
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(whole.path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	aside := 0
	for i := range 120 {
		bad := append([]byte(nil), good...)
		switch i % 4 {
		case 0:
			bad = bad[:r.IntN(len(bad))]
		case 1:
			for range 1 + r.IntN(2000) {
				bad[r.IntN(len(bad))] = byte(r.Int())
			}
		case 2: // a page of nothing, or of other data
			at := r.IntN(len(bad)/4096) * 4096
			for j := range 4096 {
				bad[at+j] = byte(i / 4 % 2 * r.Int())
			}
		case 3: // heads of pages
			for range 1 + r.IntN(8) {
				bad[r.IntN(len(bad)/4096)*4096+r.IntN(64)] = byte(r.Int())
			}
		}
		f := At(filepath.Join(dir, "bad.db"))
		if err := os.WriteFile(f.path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		os.Remove(f.path + ".damaged")
		if i%2 == 0 {
			if _, err := f.Load(Pair{"here", "7"}); err != nil {
				t.Errorf("damage %d: reading: %v", i, err)
			}
			if _, err := f.Pairs(); err != nil {
				t.Errorf("damage %d: listing: %v", i, err)
			}
		}
		// What is damaged elsewhere may show only when it is read again.
		kept := 0
		for range 3 {
			if err := f.Change(pair, start, func(r *Record) { r.Add(job(start, 1, 1)) }); err != nil {
				t.Errorf("damage %d: writing: %v", i, err)
			}
			r, err := f.Load(pair)
			if err != nil {
				t.Errorf("damage %d: reading: %v", i, err)
			}
			if kept = len(r.Jobs); kept > 0 {
				break
			}
		}
		if kept == 0 {
			t.Errorf("damage %d: nothing is kept", i)
		}
		if _, err := os.Stat(f.path + ".damaged"); err == nil {
			aside++
		}
	}
	if aside == 0 {
		t.Error("no file was set aside")
	}
	t.Logf("%d of 120 files were set aside", aside)
}

func TestNotAFile(t *testing.T) {
	f := At(t.TempDir())
	if _, err := f.Load(pair); err == nil {
		t.Error("a folder was read")
	}
	if err := f.Change(pair, start, func(*Record) {}); err == nil {
		t.Error("a folder was written")
	}
}

func TestBusy(t *testing.T) {
	f := At(filepath.Join(t.TempDir(), "history.db"))
	db, err := bbolt.Open(f.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := f.Load(pair); !errors.Is(err, ErrBusy) {
		t.Errorf("reading: %v", err)
	}
	if err := f.Change(pair, start, func(*Record) {}); !errors.Is(err, ErrBusy) {
		t.Errorf("writing: %v", err)
	}
}

// TestProcesses has several processes, and goroutines in each, write to one file:
// nothing that was written is lost.
func TestProcesses(t *testing.T) {
	const processes, goroutines, changes = 3, 2, 4
	path := filepath.Join(t.TempDir(), "history.db")
	if child := os.Getenv("HISTORY_TEST_FILE"); child != "" {
		path = child
		var all sync.WaitGroup
		for range goroutines {
			all.Go(func() {
				for i := range changes {
					for {
						err := At(path).Change(pair, start, func(r *Record) { r.Add(job(start, int64(i), 1)) })
						if err == nil {
							break
						}
						if !errors.Is(err, ErrBusy) {
							t.Error(err)
							return
						}
					}
					if _, err := At(path).Load(pair); err != nil && !errors.Is(err, ErrBusy) {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		return
	}
	var all sync.WaitGroup
	for range processes {
		all.Go(func() {
			c := exec.Command(os.Args[0], "-test.run=^TestProcesses$")
			c.Env = append(os.Environ(), "HISTORY_TEST_FILE="+path)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
	r, err := At(path).Load(pair)
	if err != nil || len(r.Jobs) != processes*goroutines*changes {
		t.Errorf("%d jobs, want %d; %v", len(r.Jobs), processes*goroutines*changes, err)
	}
}

// TestNext: the share that is promised is that of order statistics.
func TestNext(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		rates                  []float64
		rate, low, high, holds float64
	}{
		{nil, 0, 0, 0, 0},
		{[]float64{5}, 5, 0, 0, 0},
		{[]float64{5, 3}, 5, 3, 5, 1.0 / 3},
		{[]float64{9, 1, 2, 3, 4, 5, 6, 7, 8}, 6, 1, 9, 0.8},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, 17, 2, 18, 0.8},
	} {
		var r Record
		for i, rate := range c.rates {
			// Hours apart, so that none of them knows three.
			r.Add(Job{Start: now.Add(time.Duration(i-30) * time.Hour), Bytes: 1 << 30, Rate: Rates{Median: rate}})
		}
		if rate, low, high, holds := r.Next(now); rate != c.rate || low != c.low || high != c.high || holds != c.holds {
			t.Errorf("%v: about %v, %v to %v in %v; want %+v", c.rates, rate, low, high, holds, c)
		}
	}
}

func TestPrior(t *testing.T) {
	var r Record
	if p := r.Prior(start, 1<<30); p != (Prior{}) {
		t.Errorf("of nothing: %+v", p)
	}
	add := func(rate, rtt, startUp float64) {
		j := job(start.Add(time.Duration(len(r.Jobs))*25*time.Hour), 1<<30, rate)
		j.RTT, j.StartUp, j.Rate.P10, j.Rate.P90 = rtt, startUp, rate*0.95, rate*1.05
		r.Add(j)
	}
	add(1e8, 0.1, 1.5)
	one := r.Prior(start, 1<<30)
	if one.Jobs != 1 || one.Rate != 1e8 || one.RTT != 100*time.Millisecond || one.StartUp != 1500*time.Millisecond || one.Spread < 0.2 || one.Spread > 0.25 {
		t.Errorf("of one job: %+v", one)
	}
	for range 4 {
		add(1.02e8, 0.09, 2)
	}
	five := r.Prior(start, 0)
	if five.Jobs != 5 || five.Rate != 1.02e8 || five.RTT != 90*time.Millisecond || five.StartUp != 2*time.Second || five.Spread > 0.15 {
		t.Errorf("of five alike: %+v", five)
	}
	add(2e7, 0.3, 0)
	add(3e8, 0.1, math.Inf(1))
	if p := r.Prior(start, 1<<30); p.Spread < 0.5 || p.RTT != 90*time.Millisecond {
		t.Errorf("of five that differ: %+v", p)
	}
	// Jobs of quite another size are better than none.
	if p := r.Prior(start, 1<<50); p.Rate != 1.02e8 {
		t.Errorf("of other sizes: %+v", p)
	}
	wrong := Record{Jobs: []Job{{Rate: Rates{Median: math.Inf(1)}}, {Rate: Rates{Median: math.NaN()}}, {Rate: Rates{Median: -1}},
		{Rate: Rates{Median: 1e300}}, {Rate: Rates{Median: 5e-324}}}, Hours: Hours{hourOf(start): {Rate: 1e300, Jobs: 9}}}
	if p := wrong.Prior(start, 1); p != (Prior{}) {
		t.Errorf("of nonsense: %+v", p)
	}
	if rate := wrong.Expect(start, 1); rate != 0 {
		t.Errorf("of nonsense %v is expected", rate)
	}
	wrong.Jobs = append(wrong.Jobs, Job{Rate: Rates{Median: 1e8, P10: 5e-324, P90: 1e300}}, Job{Rate: Rates{Median: 1e9, P10: 1e8, P90: 1e10}})
	if p := wrong.Prior(start, 1); p.Jobs != 2 || p.Spread > 3 {
		t.Errorf("of two among nonsense: %+v", p)
	}
}

func TestSeveralPairsAtOnce(t *testing.T) {
	f := At(filepath.Join(t.TempDir(), "history.db"))
	l := []Pair{{"a", "here"}, {"b", "here"}}
	if err := f.ChangeAll(l, start, func(i int, r *Record) { r.Add(job(start, int64(i+1), 1e6)) }); err != nil {
		t.Fatal(err)
	}
	for i, p := range l {
		if r, err := f.Load(p); err != nil || len(r.Jobs) != 1 || r.Jobs[0].Bytes != int64(i+1) {
			t.Errorf("%v: %+v, %v", p, r, err)
		}
	}
	long := Pair{strings.Repeat("x", maxName), "here"}
	if err := f.ChangeAll([]Pair{l[0], long}, start, func(_ int, r *Record) { r.Jobs = nil }); err == nil {
		t.Error("a name that is too long was taken")
	}
	if r, _ := f.Load(l[0]); len(r.Jobs) != 1 {
		t.Error("half of what was to be written was")
	}
}

// TestHeld: jobs that somebody held back on purpose say nothing of the path.
func TestHeld(t *testing.T) {
	now := time.Now()
	var r Record
	for i := range 5 {
		r.Add(Job{Start: now.Add(-time.Duration(i) * time.Minute), Bytes: 1 << 30, Rate: Rates{Median: 1}, Limits: map[string]float64{"bwlimit": 0.2, "slowest host": 0.2}})
	}
	if rate, _, _, holds := r.Next(now); rate != 0 || holds != 0 || r.Expect(now, 1<<30) != 0 || len(r.Hours) != 0 || len(r.Jobs) != 5 {
		t.Errorf("foretold %v, %v; hours %v", rate, holds, r.Hours)
	}
	r.Add(Job{Start: now, Bytes: 1 << 30, Rate: Rates{Median: 8}, Limits: map[string]float64{"bwlimit": 0.2, "network": 0.8}})
	if rate, _, _, _ := r.Next(now); rate != 8 {
		t.Errorf("foretold %v, want 8", rate)
	}
}
