package pace

import (
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

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
	take  func(fd uintptr) bool // false until the timer has expired
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
	// fail for no reason but a wrong time. Raw calls, as they never block: others
	// wake up the Go runtime's monitor thread, which costs more than the timer.
	t.arm = func(fd uintptr) {
		_, _, _ = syscall.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&t.next)), 0, 0, 0)
	}
	t.take = func(fd uintptr) bool {
		_, _, errno := syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&t.count)), unsafe.Sizeof(t.count))
		return errno != unix.EAGAIN
	}
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
		_ = t.raw.Read(t.take) // an error is that of a closed file
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
