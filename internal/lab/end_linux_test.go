package lab_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/gomover/gomover/internal/lab"
	"github.com/gomover/gomover/internal/lab/labtest"
	"golang.org/x/sys/unix"
)

// testDownMeanwhile takes a lab down that is just coming up: Down looks for an
// emulator before there is one.
func testDownMeanwhile(t *testing.T, p labtest.Program) {
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	up := make(chan error, 1)
	go func() {
		up <- lab.Up(t.Context(), lab.Config{
			Topology: []byte(`{"hosts": [{"name": "h0"}]}`),
			Emulator: []string{"/bin/sh", "-c", `read x < "$0"; exec "$@"`, gate, p.Path, "emulate"},
		})
	}()
	until(t, "the emulator's shell is started", func() bool { return exists(lab.StateDir + "/log") })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- lab.Down(ctx) }()
	until(t, "down tries to get the lock that up has", func() bool { return openTwice(lab.StateDir + ".lock") })
	if err := os.WriteFile(gate, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	<-up // nil, or an error if down was faster than the emulator's word
	if err := <-down; err != nil {
		t.Errorf("down: %v", err)
		if err := lab.Down(t.Context()); err != nil {
			t.Error(err)
		}
	}
	nothingLeft(t)
}

// openTwice tells whether this process has a file open twice.
func openTwice(name string) bool {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return false
	}
	n := 0
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && target == name {
			n++
		}
	}
	return n > 1
}

// testAskedToEnd has the emulator end as at a shutdown of the machine.
func testAskedToEnd(t *testing.T, p labtest.Program) {
	err := lab.Up(t.Context(), lab.Config{Topology: []byte(`{"hosts": [{"name": "h0"}]}`), Emulator: []string{p.Path, "emulate"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := lab.ReadStats(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the emulator is gone", func() bool { return syscall.Kill(s.PID, 0) == syscall.ESRCH })
	nothingLeft(t)
}
