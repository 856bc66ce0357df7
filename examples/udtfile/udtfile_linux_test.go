package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/internal/leak"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports/udt"
)

func TestMain(m *testing.M) { leak.Main(m) }

// buildSample compiles what the library's sample programs say.
func buildSample(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "udtsample")
	if out, err := exec.Command("g++", "-O2", "-o", program, "../../testdata/udt/udtsample.cc", "-ludt", "-lpthread").CombinedOutput(); err != nil {
		t.Fatalf("compiling against libudt (make test-deps installs it): %v\n%s", err, out)
	}
	return program
}

// makeFile makes a file whose length is no multiple of a packet's.
func makeFile(t *testing.T, name string) []byte {
	t.Helper()
	data := make([]byte, 3<<20+17)
	rand.NewChaCha8([32]byte{1}).Read(data)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return data
}

func same(t *testing.T, name string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes differ from the %d that were sent", name, len(got), len(want))
	}
}

// serving runs a server over dir and gives its address.
func serving(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := udt.Listen(ctx, new(netx.System), "udp4", "127.0.0.1:0", udt.Config{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	s := server{files: root.FS(), say: func(text string) { t.Log(text) }}
	done := make(chan error)
	go func() { done <- s.run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		l.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestSampleFetches(t *testing.T) {
	program, dir := buildSample(t), t.TempDir()
	want := makeFile(t, filepath.Join(dir, "file"))
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("/etc/passwd", filepath.Join(dir, "outside")), unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(serving(t, dir), ":")
	got := filepath.Join(t.TempDir(), "got")
	for _, c := range []struct {
		name string
		code int
		want []byte
	}{{"file", 0, want}, {"empty", 0, nil}, {"missing", 3, nil}, {"../x", 3, nil}, {".", 3, nil}, {"outside", 3, nil}, {"pipe", 3, nil}} {
		cmd := exec.CommandContext(t.Context(), program, "recv", host, port, c.name, got)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.code {
			t.Fatalf("fetching %q: %v, want exit code %d\n%s", c.name, err, c.code, out)
		}
		if c.code == 0 {
			same(t, got, c.want)
		}
	}
}

func TestSampleSends(t *testing.T) {
	program, dir := buildSample(t), t.TempDir()
	want := makeFile(t, filepath.Join(dir, "file"))
	for _, name := range []string{"file", "missing"} {
		cmd := exec.CommandContext(t.Context(), program, "send", "0")
		cmd.Dir = dir
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		port, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		got := filepath.Join(t.TempDir(), "got")
		err = get(ctx, "127.0.0.1:"+strings.TrimSpace(port), name, got)
		cancel()
		_ = cmd.Wait() // 3 for the file that is missing
		if name == "missing" {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("fetching what is not there: %v", err)
			}
			if _, err := os.Stat(got); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file that was not there has a name: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	}
}

func TestBadWords(t *testing.T) {
	for _, args := range [][]string{nil, {"put"}, {"serve"}, {"get", "127.0.0.1:1"}, {"get", "-control", "x", "127.0.0.1:1", "a", "b"}, {"get", "127.0.0.1", "a", "b"}, {"serve", "-control", "x", "."}, {"serve", "-listen", "nowhere", "."}} {
		if err := run(t.Context(), args); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want an error of one line", args, err)
		}
	}
}

// TestInterrupted: whatever was under way, it is the user who has ended it.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := run(ctx, []string{"get", "127.0.0.1:1", "x", filepath.Join(t.TempDir(), "x")})
	if err == nil || err.Error() != "fetching x: interrupted" {
		t.Errorf("%v", err)
	}
}

// What is there and no file is not replaced, and nobody is asked for anything.
func TestGetReplacesFilesOnly(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{dir, link, "/dev/null"} {
		if err := get(t.Context(), "127.0.0.1:1", "x", file); err == nil || !strings.Contains(err.Error(), "no file") {
			t.Errorf("fetching to %s: %v", file, err)
		}
	}
}

// A client that asks and does not read is left.
func TestStalledClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, c := net.Pipe()
		defer client.Close()
		s := server{files: fstest.MapFS{"file": {Data: make([]byte, 1<<20)}}}
		go func() {
			client.Write([]byte("\x04\x00\x00\x00file"))
			io.ReadFull(client, make([]byte, 8+1000))
		}()
		began := time.Now()
		if text, err := s.one(c); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q, %v, want a deadline", text, err)
		}
		if took := time.Since(began); took != writeTime {
			t.Errorf("it took %v, want %v", took, writeTime)
		}
		c.Close()
	})
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2J\nb\u00e9"); got != "a?[2J?b\u00e9" {
		t.Errorf("%q", got)
	}
}

func TestBadNames(t *testing.T) {
	for _, text := range []string{"", "\x05\x00", "\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x00\x04\x00\x00x", "\x02\x00\x00\x00a"} {
		if name, err := readName(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read as %q", text, name)
		}
	}
}
