package ground

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How much memory stays free. Ours. reserveFloor is above what makes a kernel
// look for pages to take from others; reserveLead is what is written within half
// a second, a quarter of the time after which a machine was seen to give free
// memory back. Unit: bytes.
const (
	reserveFloor = 256 << 20
	reserveLead  = 512 << 20
)

// reserveStep is what is taken and given at a time, a multiple of every page size
// in use; reserveInterval the time between two looks: what is written meanwhile
// must be less than the floor.
const (
	reserveStep     = 4 << 20
	reserveInterval = 10 * time.Millisecond
)

// Reserve is all memory that nobody uses, kept in use until a command needs it. A
// virtual machine gives free memory back to its host some seconds after it was
// freed and must get it again page by page at the next use, which costs more than
// copying into it does. A command that writes gigabytes would be measured by who
// used the memory before, and how long ago. With a reserve there is no free memory
// but what was in use a moment ago.
//
// It is safe for concurrent use; a nil one does nothing.
type Reserve struct {
	free func() (int64, error) // bytes that the machine has left
	stop chan struct{}
	done chan struct{}

	mu   sync.Mutex
	mem  []byte // taken from its start on
	held int    // bytes of mem that are taken
	want int64  // bytes to leave free
}

// NewReserve makes an empty reserve. Errors are those of asking for address space
// and of a system that does not say what is free. The caller ends it with Close.
func NewReserve() (*Reserve, error) { return newReserve(freeMemory) }

func newReserve(free func() (int64, error)) (*Reserve, error) {
	most, err := free()
	if err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(-1, 0, int(most+reserveStep), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserving address space of %d bytes: %w", most, err)
	}
	r := &Reserve{free: free, mem: mem, want: reserveFloor, stop: make(chan struct{}), done: make(chan struct{})}
	go r.watch()
	return r, nil
}

// Hold takes what is free, but for a quarter of a GiB. The first time, that may take
// a minute.
func (r *Reserve) Hold(ctx context.Context) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.want = reserveFloor
	for r.held+reserveStep <= len(r.mem) && ctx.Err() == nil {
		if free, err := r.free(); err != nil || free < r.want+reserveStep {
			return
		}
		step := r.mem[r.held : r.held+reserveStep]
		for i := 0; i < len(step); i += 4096 {
			step[i] = 1
		}
		// The kernel may take it where nothing else is left, as when this program is
		// stopped: then nobody is killed for want of memory.
		unix.Madvise(step, unix.MADV_FREE)
		r.held += reserveStep
	}
}

// Lead leaves half a GiB free from now on, until the next Hold: a command is about
// to start.
func (r *Reserve) Lead() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.want = reserveLead
	r.mu.Unlock()
	r.feed()
}

// Release gives everything back, until the next Hold.
func (r *Reserve) Release() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held > 0 && unix.Madvise(r.mem[:r.held], unix.MADV_DONTNEED) == nil {
		r.held = 0
	}
}

// Close gives everything back, for good.
func (r *Reserve) Close() {
	if r == nil {
		return
	}
	close(r.stop)
	<-r.done
	unix.Munmap(r.mem)
}

// watch feeds those who take memory until Close.
func (r *Reserve) watch() {
	defer close(r.done)
	tick := time.NewTicker(reserveInterval)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
			r.feed()
		}
	}
}

// feed gives back what is missing of the free memory to be left. What was taken
// last goes first.
func (r *Reserve) feed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	free, err := r.free()
	if err != nil || free >= r.want || r.held == 0 {
		return
	}
	give := min(r.held, int(r.want-free+reserveStep-1)/reserveStep*reserveStep)
	if unix.Madvise(r.mem[r.held-give:r.held], unix.MADV_DONTNEED) == nil {
		r.held -= give
	}
}

// freeMemory is what nobody uses, and what a container may still use if that is
// less. Sources: proc(5), /proc/meminfo; the kernel's cgroup-v2, memory.max.
func freeMemory() (int64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("asking for free memory: %w", err)
	}
	free := int64(-1)
	for line := range bytes.Lines(data) {
		if value, ok := bytes.CutPrefix(line, []byte("MemFree:")); ok {
			if f := bytes.Fields(value); len(f) == 2 {
				kib, err := strconv.ParseInt(string(f[0]), 10, 64)
				if err == nil {
					free = kib << 10
				}
			}
			break
		}
	}
	if free < 0 {
		return 0, fmt.Errorf("asking for free memory: /proc/meminfo says %q", FirstLine("/proc/meminfo"))
	}
	limit, err := number("/sys/fs/cgroup/memory.max")
	if err != nil { // no container, or no limit
		return free, nil
	}
	used, err := number("/sys/fs/cgroup/memory.current")
	if err != nil {
		return free, nil
	}
	return max(0, min(free, limit-used)), nil
}

// number reads a file that holds one.
func number(path string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}
