package pace

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fineGrain is how late a timerfd wakes a goroutine. Measured: BenchmarkLate.
const fineGrain = 100 * time.Microsecond

// fine is a timerfd(2) in the runtime's poller: when it expires, epoll_wait(2)
// returns at once, instead of at the next of its milliseconds.
type fine struct {
	file  *os.File
	raw   syscall.RawConn
	count [8]byte // what a read gives; of no interest

	mu    sync.Mutex // guards what follows; held while the timer is set
	woken bool
	next  unix.ItimerSpec
	arm   func(fd uintptr)
}

// newFine gives nil if the system refuses.
func newFine() Timer {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil
	}
	t := &fine{file: os.NewFile(uintptr(fd), "timer")}
	if t.raw, err = t.file.SyscallConn(); err != nil {
		t.file.Close()
		return nil
	}
	// Made once: no allocation for each wait. Setting a timer that is there can
	// fail for no reason but a wrong time.
	t.arm = func(fd uintptr) { _ = unix.TimerfdSettime(int(fd), 0, &t.next, nil) }
	return t
}

// set is called with the lock held. An error is that of a closed file.
func (t *fine) set(d time.Duration) {
	t.next.Value = unix.NsecToTimespec(max(d.Nanoseconds(), 1))
	_ = t.raw.Control(t.arm)
}

func (t *fine) Wait(d time.Duration) {
	if d > 0 {
		t.Set(d)
		t.Sleep()
		return
	}
	t.mu.Lock()
	t.woken = false
	t.mu.Unlock()
}

func (t *fine) Set(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.woken { // else the timer has expired, and must stay so
		t.set(d)
	}
}

func (t *fine) Sleep() {
	t.mu.Lock()
	woken := t.woken
	t.mu.Unlock()
	if !woken {
		_, _ = t.file.Read(t.count[:]) // an error is that of a closed file
	}
	t.mu.Lock()
	t.woken = false
	t.mu.Unlock()
}

func (t *fine) Wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.woken {
		t.woken = true
		t.set(1)
	}
}

func (t *fine) Grain() time.Duration { return fineGrain }

func (t *fine) Close() { t.file.Close() }
