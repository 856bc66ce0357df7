package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gomover/gomover/internal/lab/labtest"
)

// cloud is a lab of a sender, h0, and hosts that multicast reaches.
func cloud(n int, more string) string {
	s := `{"seed": 3, "hosts": [{"name": "h0", "multicast": true, "link": {"rate": "100mbit", "delay": "5ms"}}`
	for i := range n {
		s += fmt.Sprintf(`, {"name": "h%d", "multicast": true, "link": {"rate": "200mbit", "delay": "5ms"}}`, i+1)
	}
	return s + more + "]}"
}

// sender is the program on h0 of a lab.
type sender struct {
	t         *testing.T
	l         *labtest.Lab
	dir, conf string
}

func newSender(t *testing.T, topology string) *sender {
	t.Helper()
	l := labtest.Start(t, topology)
	return &sender{t: t, l: l, dir: t.TempDir(), conf: l.SSH()}
}

// start prepares a run.
func (s *sender) start(args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := s.l.Command("h0", append([]string{program, "-F", s.conf, "--json", "--progress=none"}, args...)...)
	home := filepath.Join(s.dir, "home")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home)
	out, errs := new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, errs
	return cmd, out, errs
}

// warm brings the program to the hosts, and sets the counters to zero.
func (s *sender) warm(n int) {
	s.t.Helper()
	put(s.t, filepath.Join(s.dir, "none"), nil)
	args := []string{filepath.Join(s.dir, "none")}
	for i := range n {
		args = append(args, fmt.Sprintf("h%d:%s/none%d", i+1, s.dir, i))
	}
	if cmd, out, errs := s.start(args...); cmd.Run() != nil {
		s.t.Fatalf("%v\n%s\n%s", cmd.ProcessState, out, errs)
	}
	s.l.Reset()
}

// TestMulticast sends one copy to three hosts.
func TestMulticast(t *testing.T) {
	t.Parallel()
	s := newSender(t, cloud(3, ""))
	src := filepath.Join(s.dir, "src")
	const size = 16 << 20
	data := content(130, size)
	put(t, src, data)
	args := []string{"--fanout=multicast", src}
	for i := 1; i <= 3; i++ {
		args = append(args, fmt.Sprintf("h%d:%s/d%d", i, s.dir, i))
	}
	s.warm(3)
	cmd, out, errs := s.start(args...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errs)
	}
	for i := 1; i <= 3; i++ {
		holds(t, fmt.Sprintf("%s/d%d", s.dir, i), data)
	}
	up := s.l.Stats().Link("h0.up")
	n := up.Unicast.Bytes + up.Multicast.Bytes
	t.Logf("# %.3f times the size has left, by multicast %.3f\n%s\n%s", float64(n)/size, float64(up.Multicast.Bytes)/size, out, errs)
	if float64(n) > 1.25*size {
		t.Errorf("%.3f times the size has left, by multicast %.3f\n%s\n%s", float64(n)/size, float64(up.Multicast.Bytes)/size, out, errs)
	}
}
