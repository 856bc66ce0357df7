package leak

import (
	"io"
	"strings"
	"testing"
	"time"
)

// soon is the grace for what never ends, forever the one for what does.
const (
	soon    = 20 * time.Millisecond
	forever = time.Minute
)

func linger(stop <-chan struct{}) { <-stop }

// check plants something with start and demands that it is found until it is
// stopped, and not after.
func check(t *testing.T, name string, start func() (stop func())) {
	t.Helper()
	var stop func()
	var said strings.Builder
	plant := func() int {
		stop = start()
		return 0
	}
	if code := run(plant, soon, &said); code != 1 || !strings.Contains(said.String(), name) {
		t.Errorf("with a leak: exit code %d, want 1; said %q, want %q in it", code, said.String(), name)
	}
	stop()
	said.Reset()
	if code := run(func() int { return 0 }, forever, &said); code != 0 || said.Len() != 0 {
		t.Errorf("without a leak: exit code %d, want 0; said %q", code, said.String())
	}
}

func TestGoroutineIsFound(t *testing.T) {
	check(t, "leak.linger", func() func() {
		stop := make(chan struct{})
		go linger(stop)
		return func() { close(stop) }
	})
}

// TestSlowGoroutineIsNone: what ends within the grace is no leak.
func TestSlowGoroutineIsNone(t *testing.T) {
	slow := func() int {
		time.AfterFunc(soon, func() {}) // a timer alone runs nothing
		go func() { <-time.After(5 * soon) }()
		return 0
	}
	if code := run(slow, forever, io.Discard); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestFailedTestsKeepTheirCode(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	fail := func() int {
		go linger(stop)
		return 7
	}
	if code := run(fail, soon, io.Discard); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
}
