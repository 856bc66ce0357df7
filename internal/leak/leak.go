// Package leak ends a package's tests with the question whether anything still
// runs that they started: goroutines, and on Linux processes, too. A package
// asks it with
//
//	func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }
//
// It is asked once, after all tests, since tests that run in parallel cannot be
// told apart. Tests in a bubble of testing/synctest need no such question: a
// goroutine that is left behind in a bubble fails its test by itself.
package leak

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// grace is how long what was told to end may take for it after the last test. On
// a busy machine, with the race detector, a goroutine may wait long for its
// turn; what ends is noticed at once, so only leaks cost this time.
const grace = 30 * time.Second

// Main runs m's tests and returns the exit code for them. When the tests pass
// and something that they started still runs, it says what on standard error,
// goroutines with their stacks, and returns 1.
func Main(m *testing.M) int { return run(m.Run, grace, os.Stderr) }

// run is Main for any tests.
func run(tests func() int, grace time.Duration, w io.Writer) int {
	code := tests()
	if code != 0 {
		return code // tests that failed may well leave something
	}
	if err := find(grace); err != nil {
		fmt.Fprintf(w, "leak: left running by the tests:\n%v\n", err)
		return 1
	}
	return 0
}

// find returns an error that names what still runs after grace; nil means
// nothing, as soon as that is so.
func find(grace time.Duration) error {
	for end := time.Now().Add(grace); ; time.Sleep(10 * time.Millisecond) {
		// goleak leaves out goroutines within a system call, as those are that
		// wait for a process; hence the processes.
		err := errors.Join(goleak.Find(), processes())
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
