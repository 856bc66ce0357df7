package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// Shape of the tree of small files.
const (
	treeFiles       = 100_000
	treeDirectories = 1_000
	treeFileSize    = 4 << 10 // bytes
)

// rowTree moves a tree of small files, on the memory file system and on disk.
func rowTree(ctx context.Context, b *bench) error {
	g, err := b.emulated(ctx, treeLink)
	if err != nil {
		return err
	}
	defer g.Close()
	if err := b.tree(ctx, g, b.Dir, "memory", false); err != nil {
		return err
	}
	disk, err := os.MkdirTemp(b.disk, "gomover-bench-")
	if err != nil {
		return fmt.Errorf("making a directory on disk: %w", err)
	}
	defer os.RemoveAll(disk)
	return b.tree(ctx, g, disk, "disk", true)
}

// tree measures one place. With durable every command's time includes a sync of
// the destination's file system.
func (b *bench) tree(ctx context.Context, g *ends, dir, label string, durable bool) error {
	files := max(10, int(treeFiles*b.Scale))
	directories := max(1, int(treeDirectories*b.Scale))
	src := filepath.Join(dir, "tree")
	if err := payload.MakeTree(ctx, src, directories, files, treeFileSize); err != nil {
		return err
	}
	defer os.RemoveAll(src)
	order := []string{"gomover", "rsync", "tar"}
	times := map[string]ground.Samples{}
	var foreign ground.Samples
	for round := 0; !settled(order, times, b.Rounds); round++ {
		for _, name := range order {
			// All copies stay until the end: a file system that has just deleted a
			// hundred thousand files is slow to make others. ext4 looks for an inode
			// that was not freed in the last minutes one by one.
			dst := filepath.Join(dir, fmt.Sprintf("tree.%s%d", name, round))
			defer os.RemoveAll(dst)
			if err := os.Mkdir(dst, 0o755); err != nil {
				return err
			}
			if err := ground.Quiet(ctx, nil, "sync", "-f", dst); err != nil {
				return err
			}
			check, err := carried(ctx, g)
			if err != nil {
				return err
			}
			u, err := g.timed(ctx, shell(treeCommand(g, name, src, dst), dst, durable)...)
			if err != nil {
				return err
			}
			if _, err := check(int64(files) * treeFileSize); err != nil {
				return err
			}
			if err := payload.SameTree(src, dst); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if name == "gomover" {
				b.peak("tree", u)
			}
			times[name] = append(times[name], u.wall.Seconds())
			foreign = append(foreign, u.foreign)
		}
	}
	mine := times["gomover"].Median()
	rsync, tar := mine/times["rsync"].Median(), mine/times["tar"].Median()
	b.Add(ground.Result{
		Row:    "tree, " + label,
		Figure: fmt.Sprintf("%.2f x rsync -a, %.2f x tar (%s)", rsync, tar, seconds(order, times)),
		Bar:    "<= 0.5 x rsync -a, <= 1.0 x tar", Value: rsync, Limit: 0.5, Samples: times["gomover"],
		Notes: noise("tree, "+label, foreign), Pass: rsync <= 0.5 && tar <= 1.0,
	})
	return nil
}

// treeCommand is a command for a shell that copies the contents of src to dst.
func treeCommand(g *ends, name, src, dst string) string {
	ssh := "ssh -F " + g.Config()
	switch name {
	case "rsync":
		return fmt.Sprintf("rsync -a -e '%s' %s/ %s/", ssh, src, g.target(dst))
	case "tar":
		return fmt.Sprintf("tar c -C %s . | %s %s tar x -C %s", src, ssh, g.far.Name, dst)
	}
	return strings.Join(g.mover("-r", src+"/", g.target(dst+"/")), " ")
}

// shell runs a command line, and the sync where everyone's time includes it.
func shell(line, dst string, durable bool) []string {
	if durable {
		line += " && sync -f " + dst
	}
	return []string{"sh", "-ec", line}
}

// rowMemory moves a tree of a million empty files; reportMemory judges.
func rowMemory(ctx context.Context, b *bench) error {
	g, err := b.loopback(ctx)
	if err != nil {
		return err
	}
	defer g.Close()
	files := max(10, int(1_000_000*b.Scale))
	src, dst := filepath.Join(b.Dir, "empty"), filepath.Join(b.Dir, "empty.copy")
	if err := payload.MakeTree(ctx, src, max(1, files/1000), files, 0); err != nil {
		return err
	}
	defer os.RemoveAll(src)
	defer os.RemoveAll(dst)
	if err := os.Mkdir(dst, 0o755); err != nil {
		return err
	}
	u, err := g.timed(ctx, g.mover("-r", src+"/", g.target(dst+"/"))...)
	if err != nil {
		return err
	}
	if err := payload.SameTree(src, dst); err != nil {
		return err
	}
	b.peak("memory", u)
	b.Add(ground.Result{
		Row: "memory", Figure: fmt.Sprintf("%d empty files in %.1f s, %.1f s of CPU", files, u.wall.Seconds(), u.cpu.Seconds()),
		Bar: "reference; the peak is judged below", Value: u.wall.Seconds(), Reference: true,
	})
	return nil
}
