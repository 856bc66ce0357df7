package pace

import (
	"os"
	"sync/atomic"
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
	woken atomic.Bool
	count [8]byte // what a read gives; of no interest

	next        unix.ItimerSpec // of the waiting goroutine
	arm, expire func(fd uintptr)
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
	soon := unix.ItimerSpec{Value: unix.NsecToTimespec(1)}
	t.expire = func(fd uintptr) { _ = unix.TimerfdSettime(int(fd), 0, &soon, nil) }
	return t
}

func (t *fine) Wait(d time.Duration) {
	if t.woken.Swap(false) || d <= 0 {
		return
	}
	t.next.Value = unix.NsecToTimespec(d.Nanoseconds())
	if t.raw.Control(t.arm) != nil {
		return // closed
	}
	// A Wake before the timer was set is seen here, a later one sets it again.
	if !t.woken.Load() {
		_, _ = t.file.Read(t.count[:]) // an error is that of a closed file
	}
	t.woken.Store(false)
}

func (t *fine) Wake() {
	if !t.woken.Swap(true) {
		_ = t.raw.Control(t.expire) // an error is that of a closed file
	}
}

func (t *fine) Grain() time.Duration { return fineGrain }

func (t *fine) Close() { t.file.Close() }
