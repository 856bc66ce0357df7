package engine

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/wire"
)

func TestBlockList(t *testing.T) {
	for _, tt := range []struct {
		n       int64
		extents [][2]int64
		bits    bool // kept as bits
	}{
		{n: 1, extents: [][2]int64{{0, 1}}},
		{n: 1 << 40, extents: [][2]int64{{1<<40 - 2, 1 << 40}}},
		{n: 256, extents: [][2]int64{{3, 5}, {200, 202}}},
		{n: 255, extents: [][2]int64{{0, 1}, {63, 65}, {254, 255}}, bits: true},
		{n: 128, extents: [][2]int64{{1, 2}, {3, 4}, {120, 128}}, bits: true},
	} {
		var want, got []int64
		for _, e := range tt.extents {
			for b := e[0]; b < e[1]; b++ {
				want = append(want, b)
			}
		}
		l := newBlockList(slices.Clone(tt.extents), tt.n)
		if l.left != int64(len(want)) || (l.set != nil) != tt.bits {
			t.Errorf("%v of %d blocks: %d left, as bits %v", tt.extents, tt.n, l.left, l.set != nil)
		}
		for l.left > 0 {
			got = append(got, l.take())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v came out as %v", tt.extents, got)
		}
	}
}

// TestManyPiecesTakeLittle: a sink that wants every second block of many files
// costs the source a bit for each block.
func TestManyPiecesTakeLittle(t *testing.T) {
	const files, blocks = 100, 64 << 10
	dir := t.TempDir()
	for i := range files {
		name := fmt.Sprintf("%s/f%03d", dir, i)
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, blocks*DefaultBlock); err != nil {
			t.Fatal(err)
		}
	}
	st, err := osfs.NewSource(dir, osfs.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	la, lb := MemoryLink()
	v := newVillain(t, lb, nil)
	s := NewSource(Options{JobID: "x"}, Paths{Name: "far"}, la, []SourceRoot{{Store: st, Base: "src", Inside: true, Shown: "src"}}, nil)
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	go v.listen()
	v.await(wire.KindEnd)
	pieces := make([][2]int64, blocks/2)
	for i := range pieces {
		pieces[i] = [2]int64{int64(2 * i), int64(2*i + 1)}
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for i := range files {
		v.say(verdict(wire.EntryVerdict{ID: uint64(1 + i), Verdict: wire.Part, Extents: pieces}))
	}
	v.say([]byte{byte(wire.KindPing)})
	v.await(wire.KindPong)
	if grew := heap() - before; grew > files*blocks/8+10<<20 {
		t.Errorf("%d pieces of each of %d files took %d KiB", len(pieces), files, grew>>10)
	}
	v.link.Close()
	<-done
}
