package ground

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// machine is memory that a reserve shares with one command.
type machine struct {
	total, command atomic.Int64
	reserve        atomic.Pointer[Reserve]
}

// free is called with the reserve's lock held, but for the first time.
func (m *machine) free() (int64, error) {
	free := m.total.Load() - m.command.Load()
	if r := m.reserve.Load(); r != nil {
		free -= int64(r.held)
	}
	return free, nil
}

func TestReserveLeavesWhatACommandWillWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m machine
		m.total.Store(reserveLead + 256<<20)
		r, err := newReserve(m.free)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		m.reserve.Store(r)
		left := func() int64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			free, _ := m.free()
			return free
		}
		held := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.held
		}
		r.Hold(t.Context())
		if got := left(); got < reserveFloor || got >= reserveFloor+reserveStep {
			t.Errorf("%d bytes are free while nothing runs, want some %d", got, reserveFloor)
		}
		r.Lead()
		if got := left(); got < reserveLead || got >= reserveLead+reserveStep {
			t.Errorf("%d bytes are free at the start, want some %d", got, reserveLead)
		}
		m.command.Add(100 << 20)
		time.Sleep(2 * reserveInterval)
		if got := left(); got < reserveLead || got >= reserveLead+reserveStep {
			t.Errorf("%d bytes are free with 100 MiB written, want some %d", got, reserveLead)
		}
		m.command.Add(300 << 20)
		time.Sleep(2 * reserveInterval)
		if got := held(); got != 0 {
			t.Errorf("the reserve keeps %d bytes when too little is left", got)
		}
		m.command.Store(0)
		r.Hold(t.Context())
		if got := left(); got < reserveFloor || got >= reserveFloor+reserveStep {
			t.Errorf("%d bytes are free after the command, want some %d", got, reserveFloor)
		}
		r.Release()
		if got := held(); got != 0 {
			t.Errorf("the reserve keeps %d bytes once released", got)
		}
	})
}

func TestFreeMemory(t *testing.T) {
	free, err := freeMemory()
	if err != nil || free <= 0 {
		t.Errorf("free memory: %d bytes, %v", free, err)
	}
}
