package leak

import (
	"io"
	"os/exec"
	"testing"
)

// start starts a process that ends with its input.
func start(t *testing.T) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in
}

func TestProcessIsFound(t *testing.T) {
	check(t, `["cat"]`, func() func() {
		cmd, in := start(t)
		return func() {
			if err := in.Close(); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestUnwaitedProcessIsFound: one that has ended, but that nobody waits for.
func TestUnwaitedProcessIsFound(t *testing.T) {
	check(t, "process ", func() func() {
		cmd, in := start(t)
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		return func() {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	})
}
