package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// enoughSpace refuses to begin what would fill the disk.
func enoughSpace(dir string, need uint64) error {
	free, err := freeSpace(dir)
	if err != nil {
		return fmt.Errorf("asking for free space in %s: %w", dir, err)
	}
	if free < need {
		return fmt.Errorf("%s has %.1f GB free, but the demo needs %.1f GB for three copies\n  hint: TMPDIR=/some/other/disk make demo",
			dir, float64(free)/1e9, float64(need)/1e9)
	}
	return nil
}

// generate makes the files to move. They are random, so that nothing can be
// saved by compressing, but the same each time.
func (d *demo) generate(ctx context.Context) error {
	say("\nMaking %s (1 GiB) and %s/ (%d files in %d directories)...", bigName, treeName, treeFiles, treeDirs)
	var seed [32]byte
	copy(seed[:], "gomover demo")
	random := rand.NewChaCha8(seed)
	if err := writeRandom(ctx, filepath.Join(d.near, bigName), bigBytes, random); err != nil {
		return err
	}
	sizes := rand.New(random)
	when := time.Date(2020, 2, 29, 12, 0, 0, 0, time.UTC)
	for i := range treeFiles {
		dir := filepath.Join(d.near, treeName, fmt.Sprintf("dir%02d", i%treeDirs))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the tree: %w", err)
		}
		path := filepath.Join(dir, fmt.Sprintf("file%04d", i))
		n := sizes.Int64N(16 << 10)
		d.treeBytes += n
		if err := writeRandom(ctx, path, n, random); err != nil {
			return err
		}
		// Times of their own show that they are kept.
		if err := os.Chtimes(path, time.Time{}, when.Add(time.Duration(i)*time.Hour)); err != nil {
			return fmt.Errorf("making the tree: %w", err)
		}
	}
	return nil
}

// writeRandom makes a file of n bytes.
func writeRandom(ctx context.Context, path string, n int64, random io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("making a file to move: %w", err)
	}
	defer f.Close()
	const piece = 1 << 20
	for n > 0 && err == nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var k int64
		k, err = io.CopyN(f, random, min(n, piece))
		n -= k
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("making a file to move: %w", err)
	}
	return nil
}

// compare reads all that came back beside what was sent.
func (d *demo) compare(ctx context.Context) error {
	say("\nComparing every byte with the originals...")
	files := 0
	back := filepath.Join(d.near, "back")
	for _, name := range []string{bigName, treeName} {
		err := filepath.WalkDir(filepath.Join(d.near, name), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			rel, err := filepath.Rel(d.near, path)
			if err != nil {
				return err
			}
			files++
			return same(path, filepath.Join(back, rel))
		})
		if err != nil {
			return fmt.Errorf("comparing: %w", err)
		}
	}
	arrived := 0
	err := filepath.WalkDir(back, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			arrived++
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	if arrived != files {
		return fmt.Errorf("comparing: %d files came back, %d were sent", arrived, files)
	}
	say("%d files: same content, same times, same permissions.", files)
	return nil
}

// same tells whether two files have equal bytes, times and permissions.
func same(a, b string) error {
	fa, err := os.Open(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	ia, err := fa.Stat()
	if err != nil {
		return err
	}
	ib, err := fb.Stat()
	if err != nil {
		return err
	}
	if ia.Size() != ib.Size() || !ia.ModTime().Equal(ib.ModTime()) || ia.Mode() != ib.Mode() {
		return fmt.Errorf("%s differs: %v %v %d bytes; sent: %v %v %d bytes", b, ib.Mode(), ib.ModTime(), ib.Size(), ia.Mode(), ia.ModTime(), ia.Size())
	}
	const piece = 1 << 18
	ra, rb := bufio.NewReaderSize(fa, piece), bufio.NewReaderSize(fb, piece)
	ba, bb := make([]byte, piece), make([]byte, piece)
	for at := int64(0); at < ia.Size(); {
		n := min(ia.Size()-at, piece)
		if _, err := io.ReadFull(ra, ba[:n]); err != nil {
			return err
		}
		if _, err := io.ReadFull(rb, bb[:n]); err != nil {
			return err
		}
		if !bytes.Equal(ba[:n], bb[:n]) {
			return fmt.Errorf("%s differs from what was sent after byte %d", b, at)
		}
		at += n
	}
	return nil
}
