package labtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/lab"
)

// waitForOthers is how long Start waits for other tests' labs. Ours: a package's
// tests are through by then.
const waitForOthers = 5 * time.Minute

// Program is the built emulator, the program of bench/lab.
type Program struct{ Path string }

// Build builds the emulator for a test. It may be run by any user.
func Build(tb testing.TB) Program {
	tb.Helper()
	dir := tb.TempDir()
	// Both levels: refusals are tested as another user.
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	path := filepath.Join(dir, "lab")
	out, err := exec.Command("go", "build", "-o", path, "github.com/gomover/gomover/bench/lab").CombinedOutput()
	if err != nil {
		tb.Fatalf("building the emulator: %v\n%s", err, out)
	}
	return Program{path}
}

// Lab is a network that is up for the length of a test.
type Lab struct {
	tb      testing.TB
	program Program
}

// Start builds the emulator and brings up a lab; see Program.Start.
func Start(tb testing.TB, topology string) *Lab {
	tb.Helper()
	return Build(tb).Start(tb, topology)
}

// Start brings up a lab with a topology, which is JSON, and takes it down at the
// end of the test, also when the test's process just ends. It waits while another
// lab is up, and fails the test if that stays.
func (p Program) Start(tb testing.TB, topology string) *Lab {
	tb.Helper()
	here, there, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer here.Close()
	config := lab.Config{Topology: []byte(topology), Emulator: []string{p.Path, "emulate"}, Life: here}
	ctx, cancel := context.WithTimeout(tb.Context(), waitForOthers)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for err = lab.Up(ctx, config); errors.Is(err, lab.ErrUp) && ctx.Err() == nil; err = lab.Up(ctx, config) {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if err != nil {
		there.Close()
		tb.Fatalf("bringing up a lab: %v", err)
	}
	tb.Cleanup(func() {
		defer there.Close()
		if err := lab.Down(context.Background()); err != nil && !errors.Is(err, lab.ErrNotUp) {
			tb.Errorf("taking down the lab: %v", err)
		}
	})
	return &Lab{tb, p}
}

// Command prepares a command on a host. It is killed at the end of the test.
func (l *Lab) Command(host string, args ...string) *exec.Cmd {
	return exec.CommandContext(l.tb.Context(), l.program.Path, append([]string{"exec", host, "--"}, args...)...)
}

// Exec runs a command on a host and returns what it printed, on both of its
// outputs. The test fails with that if the command does.
func (l *Lab) Exec(host string, args ...string) string {
	l.tb.Helper()
	out, err := l.Command(host, args...).CombinedOutput()
	if err != nil {
		l.tb.Fatalf("%q on %s: %v\n%s", args, host, err, out)
	}
	return string(out)
}

// In runs f in the network namespace of a host: what sockets f opens are the
// host's, for as long as they are open.
func (l *Lab) In(host string, f func() error) {
	l.tb.Helper()
	if err := lab.InHost(host, f); err != nil {
		l.tb.Fatalf("on %s: %v", host, err)
	}
}

// Set changes links, as in Set("h1.down", "loss=1%").
func (l *Lab) Set(words ...string) {
	l.tb.Helper()
	if err := lab.Set(l.tb.Context(), words...); err != nil {
		l.tb.Fatal(err)
	}
}

// Stats gives the counters since the start or the latest Reset. The test fails if
// the emulator has not kept up, since its results would be void.
func (l *Lab) Stats() *lab.Stats {
	l.tb.Helper()
	s, err := lab.ReadStats(l.tb.Context(), false)
	if err != nil {
		l.tb.Fatal(err)
	}
	for i := range s.Links {
		if n := s.Links[i].Drop("overrun"); n > 0 {
			l.tb.Fatalf("the emulator was too slow for %d packets from %s", n, s.Links[i].Name)
		}
	}
	return s
}

// Reset sets all counters to zero.
func (l *Lab) Reset() {
	l.tb.Helper()
	if _, err := lab.ReadStats(l.tb.Context(), true); err != nil {
		l.tb.Fatal(err)
	}
}

// SSH starts the hosts' ssh servers and returns the file that "ssh -F" takes to
// reach them from each other.
func (l *Lab) SSH() string {
	l.tb.Helper()
	if err := lab.StartServers(l.tb.Context(), os.Getenv("PATH"), l.program.Path, "exec"); err != nil {
		l.tb.Fatal(err)
	}
	return filepath.Join(lab.SSHDir, "config")
}
