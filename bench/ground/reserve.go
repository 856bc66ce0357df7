package ground

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// reserveLead is how much memory is free ahead of what a command writes. Ours:
// what is written within half a second, a quarter of the time after which a
// machine was seen to give free memory back.
const reserveLead = 512 << 20

// Reserve is memory of a memory file system that becomes free bit by bit while a
// command writes there. A virtual machine gives free memory back to its host some
// seconds after it was freed and must get it again page by page at the next use,
// which costs more than copying into it does. A command that writes gigabytes
// would be measured by who used the memory before, and how long ago.
//
// One goroutine.
type Reserve struct {
	f     *os.File
	lead  int64 // bytes that are free ahead of what is written
	size  int64 // bytes of the file
	freed int64 // of them
	used  int64 // bytes of the file system that were used at first
}

// NewReserve takes as much memory as the file src has, beside it. Errors are those
// of writing that much. The caller ends it with Close.
func NewReserve(ctx context.Context, src string) (*Reserve, error) {
	return newReserve(ctx, src, reserveLead)
}

func newReserve(ctx context.Context, src string, lead int64) (*Reserve, error) {
	name := filepath.Join(filepath.Dir(src), "reserve")
	err := Quiet(ctx, nil, "cp", src, name)
	if err != nil {
		os.Remove(name)
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	os.Remove(name) // it lives as long as it is open
	if err != nil {
		return nil, fmt.Errorf("opening the reserve of memory: %w", err)
	}
	r := &Reserve{f: f, lead: lead}
	info, err := f.Stat()
	if err == nil {
		r.size = info.Size()
		r.used, err = r.usage()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("measuring the reserve of memory: %w", err)
	}
	r.Feed()
	return r, nil
}

// Feed frees what is needed until the next call some 20 ms later. Memory that
// cannot be freed piecewise is freed at once by Close.
func (r *Reserve) Feed() {
	used, err := r.usage()
	if err != nil {
		return
	}
	written := used - (r.used - r.freed)
	goal := min(r.size, written+r.lead)
	if goal <= r.freed {
		return
	}
	if unix.Fallocate(int(r.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.freed, goal-r.freed) == nil {
		r.freed = goal
	}
}

// Close frees the rest.
func (r *Reserve) Close() { r.f.Close() }

// usage is what the file system holds, in bytes.
func (r *Reserve) usage() (int64, error) {
	var s unix.Statfs_t
	err := unix.Fstatfs(int(r.f.Fd()), &s)
	return int64(s.Blocks-s.Bfree) * s.Bsize, err
}
