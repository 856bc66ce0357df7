package tree

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/integrity"
)

// smalls are n small files of different lengths.
func smalls(n int) map[string][]byte {
	files := make(map[string][]byte, n)
	for i := range n {
		files[fmt.Sprintf("s%04d", i)] = pattern(4096 + i)[i:]
	}
	return files
}

// readSoon reads small files in the order of their names, as many at a time as a pack
// has, and tells which of them came wrong and why.
func readSoon(t *testing.T, tree *Tree, want map[string][]byte) map[string]error {
	t.Helper()
	failed := make(map[string]error)
	names := slices.Sorted(maps.Keys(want))
	for pack := range slices.Chunk(names, 60) {
		tree.Soon(pack)
	}
	for _, name := range names {
		f, err := tree.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want[name]))
		n, sum, known, err := f.(*file).ReadSum(got, 0)
		f.Close()
		switch {
		case err != nil && err != io.EOF:
			failed[name] = err
		case n != len(got) || !bytes.Equal(got, want[name]) || !known || integrity.Sum(sum) != integrity.Whole(got):
			t.Errorf("%s: %d bytes, sum known: %t", name, n, known)
		}
	}
	return failed
}

// TestBatches: small files are asked for many at a time, and of that nothing waits for
// the latency again and again.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := smalls(2000)
		a, b := &fake{files: files, rate: 20e6, delay: 120 * time.Millisecond}, &fake{files: files, rate: 40e6, delay: 60 * time.Millisecond}
		tree, w := gather(t, Config{}, a, b)
		defer tree.Close()
		began := time.Now()
		if failed := readSoon(t, tree, files); len(failed) > 0 || len(w.l) > 0 {
			t.Errorf("%v; said %q", failed, w.l)
		}
		took, ideal := time.Since(began), 2000*4096/60e6
		t.Logf("%v, the rates allow %.2f s; %d and %d requests", took, ideal, a.asked, b.asked)
		if took.Seconds() > ideal+0.6 {
			t.Errorf("%v where the rates allow %.2f s", took, ideal)
		}
		if n := a.asked + b.asked; n > 100 {
			t.Errorf("%d requests for 2000 files and their sums", n)
		}
		if s := tree.States(); s[0].Bytes == 0 || s[1].Bytes == 0 || s[0].Bytes+s[1].Bytes != 2000*4096 {
			t.Errorf("they gave %d and %d bytes", s[0].Bytes, s[1].Bytes)
		}
	})
}

func TestBatchVotes(t *testing.T) {
	good := smalls(200)
	with := func(name string, data []byte) map[string][]byte {
		m := maps.Clone(good)
		m[name] = data
		return m
	}
	wrong := with("s0070", flipped(good["s0070"], 1000))
	other := with("s0070", flipped(good["s0070"], 1001))
	for _, tt := range []struct {
		name   string
		places []map[string][]byte
		prefer int
		want   map[string][]byte
		fails  bool
		named  string
	}{
		{"one", []map[string][]byte{wrong}, 0, wrong, false, ""},
		{"two that differ", []map[string][]byte{good, wrong}, 0, good, true, ""},
		{"one of three", []map[string][]byte{wrong, good, good}, 0, good, false, "h0: s0070 left out: same size, but what it has at 0 differs"},
		{"the last of three", []map[string][]byte{good, good, wrong}, 0, good, false, "h2: s0070 left out: same size, but what it has at 0 differs"},
		{"three that differ", []map[string][]byte{wrong, good, other}, 0, good, true, ""},
		{"the preferred one", []map[string][]byte{good, wrong, good}, 2, wrong, false, "h0: s0070 left out"},
		{"the preferred one of two", []map[string][]byte{good, wrong}, 1, good, false, "h1: s0070 left out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var places []*fake
				for _, m := range tt.places {
					places = append(places, &fake{files: m, delay: time.Millisecond})
				}
				tree, w := gather(t, Config{Prefer: tt.prefer}, places...)
				defer tree.Close()
				failed := readSoon(t, tree, tt.want)
				if _, ok := failed["s0070"]; ok != tt.fails || !tt.fails && len(failed) > 0 || len(failed) > 1 {
					t.Errorf("failed: %v", failed)
				}
				time.Sleep(time.Second) // of the bubble's clock: who is late speaks, too
				if tt.named != "" && !w.has(tt.named) || tt.named == "" && len(w.l) > 0 {
					t.Errorf("said %q", w.l)
				}
			})
		})
	}
}

// TestBatchTrouble: what a place does not give, gives damaged, or gives late, comes from
// another one.
func TestBatchTrouble(t *testing.T) {
	files := smalls(300)
	lacking := maps.Clone(files)
	delete(lacking, "s0030")
	for name, odd := range map[string]*fake{
		"damaged": {files: files, lie: func(name string, data []byte) {
			if strings.HasSuffix(name, "7") {
				data[0] ^= 1
			}
		}},
		"gone":   {files: files},
		"lacks":  {files: lacking},
		"down":   {files: files},
		"silent": {files: files},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				odd.delay = time.Millisecond
				good := []*fake{{files: files, delay: 20 * time.Millisecond}, {files: files, delay: 20 * time.Millisecond}}
				tree, _ := gather(t, Config{}, odd, good[0], good[1])
				defer tree.Close()
				switch name {
				case "gone":
					odd.files = lacking
				case "down":
					odd.down = true
				case "silent":
					odd.delay = time.Hour
				}
				began := time.Now()
				if failed := readSoon(t, tree, files); len(failed) > 0 {
					t.Errorf("%v", failed)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("%v", took)
				}
			})
		})
	}
	t.Run("away while two differ", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			wrong := maps.Clone(files)
			wrong["s0030"] = flipped(files["s0030"], 5)
			a, b, c := &fake{files: files, delay: time.Millisecond}, &fake{files: wrong, delay: time.Millisecond}, &fake{files: files, delay: time.Millisecond}
			tree, w := gather(t, Config{}, a, b, c)
			defer tree.Close()
			c.down = true
			back := time.AfterFunc(8*time.Second, func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.down = false
			})
			defer back.Stop()
			if failed := readSoon(t, tree, files); len(failed) > 0 {
				t.Errorf("%v", failed)
			}
			if !w.has("h1: s0030 left out") {
				t.Errorf("said %q", w.l)
			}
		})
	})
	t.Run("away for good while two differ", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			wrong := maps.Clone(files)
			wrong["s0030"] = flipped(files["s0030"], 5)
			a, b, c := &fake{files: files, delay: time.Millisecond}, &fake{files: wrong, delay: time.Millisecond}, &fake{files: files, delay: time.Millisecond}
			tree, _ := gather(t, Config{}, a, b, c)
			defer tree.Close()
			c.down = true
			began := time.Now()
			failed := readSoon(t, tree, files)
			if err := failed["s0030"]; len(failed) != 1 || err == nil || !strings.Contains(err.Error(), "h0 against h1, and h2 does not answer") {
				t.Errorf("%v", failed)
			}
			if took := time.Since(began); took > disputeTime+5*time.Second {
				t.Errorf("%v", took)
			}
		})
	})
	t.Run("all down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &fake{files: files}
			tree, _ := gather(t, Config{GiveUp: 5 * time.Second, Patience: time.Second}, a)
			defer tree.Close()
			a.down = true
			if failed := readSoon(t, tree, files); len(failed) != len(files) {
				t.Errorf("%d of %d files failed", len(failed), len(files))
			}
		})
	})
}
