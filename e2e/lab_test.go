package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/lab"
	"github.com/gomover/gomover/internal/lab/labtest"
)

// longPath are two hosts 100 Mbit/s and 60 ms apart, with a little loss.
const longPath = `{"cc": "cubic", "seed": 7, "hosts": [
	{"name": "h0", "link": {"rate": "100mbit", "delay": "15ms"}, "down": {"loss": "0.02%"}},
	{"name": "h1", "link": {"rate": "100mbit", "delay": "15ms"}, "down": {"loss": "0.02%"}}]}`

// TestLongPath copies over an emulated wide-area path, both ways, and through a
// cut of some seconds in the middle of the copy.
func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src, dst, back := filepath.Join(dir, "src"), filepath.Join(dir, "dst"), filepath.Join(dir, "back")
	const size = 24 << 20
	if err := os.WriteFile(src, content(7, size), 0o644); err != nil {
		t.Fatal(err)
	}
	l := labtest.Start(t, longPath)
	config := l.SSH()
	home := filepath.Join(dir, "home")
	start := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := l.Command("h0", append([]string{program, "-F", config, "--progress=none"}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home)
		out := new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}
	run := func(args ...string) {
		t.Helper()
		if cmd, out := start(args...); cmd.Run() != nil {
			t.Fatalf("%q: %v\n%s", args, cmd.ProcessState, out)
		}
	}

	t.Log("# push")
	run(src, "h1:"+dst)
	equalFiles(t, src, dst)
	if got := carried(t, l, "h1.down"); got < size {
		t.Errorf("the link carried %d bytes of a file of %d", got, int64(size))
	}

	t.Log("# pull")
	l.Reset()
	run("h1:"+dst, back)
	equalFiles(t, src, back)
	if got := carried(t, l, "h1.up"); got < size {
		t.Errorf("the link carried %d bytes of a file of %d", got, int64(size))
	}

	t.Log("# push through a cut")
	l.Reset()
	if err := os.Remove(dst); err != nil {
		t.Fatal(err)
	}
	l.Set("h1", "rate=40mbit") // so that there is time for the cut
	cmd, out := start(src, "h1:"+dst)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for carried(t, l, "h1.down") < size/3 {
		select {
		case err := <-ended:
			t.Fatalf("ended before the cut: %v\n%s", err, out)
		case <-tick.C:
		}
	}
	l.Set("h1", "cut=true")
	if _, err := os.Stat(dst); err == nil {
		t.Error("a part of the file is under its final name")
	}
	select {
	case err := <-ended:
		t.Fatalf("ended during the cut: %v\n%s", err, out)
	case <-time.After(3 * time.Second):
	}
	l.Set("h1", "cut=false", "rate=100mbit")
	if err := <-ended; err != nil {
		t.Fatalf("after the cut: %v\n%s", err, out)
	}
	equalFiles(t, src, dst)
}

// carried is what a link has let through. Unit: bytes.
func carried(t *testing.T, l *labtest.Lab, link string) int64 {
	t.Helper()
	s, err := lab.ReadStats(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	found := s.Link(link)
	if found == nil {
		t.Fatalf("no link %s in %+v", link, s)
	}
	return int64(found.Out.Bytes)
}

// equalFiles compares two files.
func equalFiles(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ", strings.TrimPrefix(a, filepath.Dir(a)), b)
	}
}
