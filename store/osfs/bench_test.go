package osfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
)

// memoryDir is a directory in memory where there is one, so that benchmarks
// measure this package and not the disk.
func memoryDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "osfs")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newDest(tb testing.TB, root string) store.Dest {
	tb.Helper()
	d, err := osfs.NewDest(root, osfs.DestOptions{JobID: "7f3k", Create: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.Close() })
	return d
}

// BenchmarkSmallFile is the cost of one 4 KiB file from its bytes to its final
// name, attributes included. The limit of DestOptions' handle cache and the
// choice of calls in create rest on it.
func BenchmarkSmallFile(b *testing.B) {
	d := newDest(b, filepath.Join(memoryDir(b), "d"))
	const dirs = 100
	for i := range dirs {
		if err := d.Mkdir(fmt.Sprintf("d%02d", i)); err != nil {
			b.Fatal(err)
		}
	}
	data := make([]byte, 4096)
	attrs := store.Attrs{Perms: true, Times: true}
	b.ResetTimer()
	for i := range b.N {
		e := store.Entry{
			Name: fmt.Sprintf("d%02d/file-%07d", i/100%dirs, i),
			Kind: store.File, Size: 4096, Mode: 0o644, ModTime: 1700000000123456789,
		}
		if err := d.WriteSmall(e, data, attrs); err != nil {
			b.Fatal(err)
		}
		if err := d.Commit(e.Name); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWalk is the cost of one entry of a tree of 100,000 empty files in 100
// directories. The size of a chunk of names rests on it.
func BenchmarkWalk(b *testing.B) {
	root := memoryDir(b)
	const dirs, files = 100, 1000
	for i := range dirs {
		dir := filepath.Join(root, fmt.Sprintf("d%02d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range files {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%04d", j)), nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	s, err := osfs.NewSource(root, osfs.SourceOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	n := 0
	b.ResetTimer()
	for range b.N {
		err := s.Walk(b.Context(), func(e store.Entry, err error) error { n++; return err })
		if err != nil {
			b.Fatal(err)
		}
	}
	if want := (dirs*files + dirs + 1) * b.N; n != want {
		b.Fatalf("walked %d entries, want %d", n, want)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/entry")
}

// BenchmarkOpenRead is the cost of reading one 4 KiB file of many.
func BenchmarkOpenRead(b *testing.B) {
	root := memoryDir(b)
	const dirs, files = 10, 1000
	for i := range dirs {
		dir := filepath.Join(root, fmt.Sprintf("d%02d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range files {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%04d", j)), make([]byte, 4096), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	s, err := osfs.NewSource(root, osfs.SourceOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	buf := make([]byte, 4096)
	b.ResetTimer()
	for i := range b.N {
		f, err := s.Open(fmt.Sprintf("d%02d/file-%04d", i/files%dirs, i%files))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.ReadAt(buf, 0); err != nil {
			b.Fatal(err)
		}
		if _, err := f.Stat(); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// BenchmarkSync compares one sync per file with one of the whole file system, on
// the disk of the temporary directory: syncCrossover rests on it.
func BenchmarkSync(b *testing.B) {
	for _, n := range []int{1, 2, 4, 7, 8, 16, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := newDest(b, filepath.Join(b.TempDir(), "d"))
			data := make([]byte, 4096)
			names := make([]string, n)
			for b.Loop() {
				b.StopTimer()
				for i := range names {
					names[i] = fmt.Sprintf("f%d", i)
					if err := d.WriteSmall(store.Entry{Name: names[i], Mode: 0o644}, data, store.Attrs{}); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				if err := d.Sync(names); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/file")
		})
	}
}
