package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/leak"
)

// coverDir names the variable with the folder where a covered program leaves
// what it ran. When it is set, the program under test is built to do so.
const coverDir = "GOCOVERDIR"

// program is the binary under test, set once by TestMain.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "gomover-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "gomover")
		words := []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", program}
		if os.Getenv(coverDir) != "" {
			words = append(words, "-cover", "-covermode=atomic", "-coverpkg=github.com/gomover/gomover/...")
		}
		build := exec.Command("go", append(words, "../cmd/gomover")...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
			return 1
		}
		return leak.Main(m)
	}())
}

// runLimit ends a run that hangs; no test lets a run take nearly as long, unless the
// machine has much else to do.
const runLimit = 2 * time.Minute

// patience bounds what a test waits for and what seldom takes a second.
const patience = time.Minute

// tries is how often something is measured that must not take longer than it should:
// the quickest counts, since a machine may be busy.
const tries = 3

// result is what a run of the program left.
type result struct {
	args []string
	code int // -1: ended by a signal
	out  string
	err  string
	took time.Duration
}

func (r *result) String() string {
	return fmt.Sprintf("gomover %s\nexit %d after %v\nstdout: %s\nstderr: %s", strings.Join(r.args, " "), r.code, r.took, clip(r.out), clip(r.err))
}

func clip(s string) string {
	if len(s) > 4000 {
		return s[:2000] + "\n...\n" + s[len(s)-2000:]
	}
	return s
}

// process is a run that goes on.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	args  []string
	began time.Time
	out   lockedBuffer
	err   lockedBuffer
	ended chan struct{} // closed when the process has ended and code is set
	code  int
	took  time.Duration
}

// lockedBuffer is a buffer that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts the program in w's near home. It is killed when the test ends.
func (w *world) start(args ...string) *process { return w.startWith(nil, args...) }

// startWith is start with a last change to the command.
func (w *world) startWith(change func(*exec.Cmd), args ...string) *process {
	w.t.Helper()
	p := &process{t: w.t, args: args, ended: make(chan struct{})}
	words := append(append([]string{}, w.inside...), program)
	words = append(words, args...)
	p.cmd = exec.Command(words[0], words[1:]...)
	p.cmd.Dir, p.cmd.Env = w.near, w.env()
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if change != nil {
		change(p.cmd)
	}
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		w.t.Fatalf("starting the program: %v", err)
	}
	go func() {
		err := p.cmd.Wait()
		p.took, p.code = time.Since(p.began), p.cmd.ProcessState.ExitCode()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
			fmt.Fprintf(&p.err, "(waiting: %v)", err)
		}
		close(p.ended)
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	})
	return p
}

// wait waits for the end of the run.
func (p *process) wait() *result {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(runLimit):
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
		p.t.Fatalf("did not end within %v:\n%v", runLimit, p.result())
	}
	return p.result()
}

func (p *process) result() *result {
	return &result{args: p.args, code: p.code, out: p.out.String(), err: p.err.String(), took: p.took}
}

// running tells whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// run runs the program to its end.
func (w *world) run(args ...string) *result {
	w.t.Helper()
	return w.start(args...).wait()
}

// ok runs the program and demands success.
func (w *world) ok(args ...string) *result {
	w.t.Helper()
	r := w.run(args...)
	if r.code != 0 {
		w.t.Fatalf("want exit 0:\n%v", r)
	}
	return r
}

// fails runs the program and demands an exit code, and texts on standard error.
func (w *world) fails(code int, texts []string, args ...string) *result {
	w.t.Helper()
	r := w.run(args...)
	r.want(w.t, code, texts...)
	return r
}

// want demands an exit code and texts on standard error.
func (r *result) want(t testing.TB, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("want exit %d:\n%v", code, r)
	}
	for _, s := range texts {
		if !strings.Contains(r.err, s) {
			t.Errorf("want %q on standard error:\n%v", s, r)
		}
	}
}

// await polls until what holds, at most for limit; what it waits for is the
// state of other processes, which nothing here can subscribe to.
func await(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not: %s", limit, what)
		}
	}
}

var _ io.Writer = (*lockedBuffer)(nil)
