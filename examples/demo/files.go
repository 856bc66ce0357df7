package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/gomover/gomover/examples/internal/stage"
	"github.com/gomover/gomover/internal/payload"
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
	stage.Say("\nMaking %s (1 GiB) and %s/ (%d files in %d directories)...", bigName, treeName, treeFiles, treeDirs)
	random := payload.Random(0)
	if err := payload.Write(ctx, filepath.Join(d.near, bigName), bigBytes, random); err != nil {
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
		if err := payload.Write(ctx, path, n, random); err != nil {
			return err
		}
		// Times of their own show that they are kept.
		if err := os.Chtimes(path, time.Time{}, when.Add(time.Duration(i)*time.Hour)); err != nil {
			return fmt.Errorf("making the tree: %w", err)
		}
	}
	return nil
}

// compare reads all that came back beside what was sent.
func (d *demo) compare(ctx context.Context) error {
	stage.Say("\nComparing every byte with the originals...")
	back := filepath.Join(d.near, "back")
	if err := payload.SameFile(filepath.Join(d.near, bigName), filepath.Join(back, bigName)); err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	if err := payload.SameTree(filepath.Join(d.near, treeName), filepath.Join(back, treeName)); err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	files := 0
	err := filepath.WalkDir(back, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel, err := filepath.Rel(back, path)
		if err != nil {
			return err
		}
		files++
		return sameKind(filepath.Join(d.near, rel), path)
	})
	if err != nil {
		return fmt.Errorf("comparing: %w", err)
	}
	if files != treeFiles+1 {
		return fmt.Errorf("comparing: %d files came back, %d were sent", files, treeFiles+1)
	}
	stage.Say("%d files: same content, same times, same permissions.", files)
	return nil
}

// sameKind tells whether two files have equal times and permissions.
func sameKind(a, b string) error {
	ia, err := os.Stat(a)
	if err != nil {
		return err
	}
	ib, err := os.Stat(b)
	if err != nil {
		return err
	}
	if !ia.ModTime().Equal(ib.ModTime()) || ia.Mode() != ib.Mode() {
		return fmt.Errorf("%s is %v %v; what was sent %v %v", b, ib.Mode(), ib.ModTime(), ia.Mode(), ia.ModTime())
	}
	return nil
}
