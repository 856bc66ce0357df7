package sshboot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/sshboot/boottest"
)

// serve starts the embedded server and returns options that log in to it.
func serve(t *testing.T, o boottest.Options) (*boottest.Server, sshboot.Options) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if o.Home == "" {
		o.Home = t.TempDir()
	}
	s, err := boottest.Start(l, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	home := t.TempDir()
	config, err := s.WriteClient(filepath.Join(home, ".ssh"), "far")
	if err != nil {
		t.Fatal(err)
	}
	return s, sshboot.Options{ConfigFiles: []string{config}, Home: home, LocalUser: "me", ConnectTimeout: 2 * time.Minute}
}

func dial(t *testing.T, o sshboot.Options) (sshboot.Shell, error) {
	t.Helper()
	sh, err := sshboot.Dial(t.Context(), sshboot.Target{Host: "far"}, o)
	if err == nil {
		t.Cleanup(func() { sh.Close() })
	}
	return sh, err
}

func TestEmbeddedServer(t *testing.T) {
	s, o := serve(t, boottest.Options{})
	sh, err := dial(t, o)
	if err != nil {
		t.Fatal(err)
	}
	out, err := sh.Run(t.Context(), "cat; echo $HOME >&2; exit 3", bytes.NewReader([]byte("hello")))
	var exit *sshboot.ExitError
	if string(out) != "hello" || !errors.As(err, &exit) || exit.Status != 3 {
		t.Errorf("got %q, %v", out, err)
	}
	if sh.Remote().String() != s.Addr().String() {
		t.Errorf("remote %v, want %v", sh.Remote(), s.Addr())
	}
	if !bytes.Equal(sh.HostKey(), s.HostKey().Marshal()) {
		t.Error("another host key")
	}
	if user, host, port := sh.Canonical(); user != "me" || host != "127.0.0.1" || port != s.Addr().(*net.TCPAddr).Port {
		t.Errorf("canonical %s %s %d", user, host, port)
	}
	if s.Logins() != 1 {
		t.Errorf("%d logins", s.Logins())
	}
}

func TestDenyExec(t *testing.T) {
	_, o := serve(t, boottest.Options{DenyExec: true})
	sh, err := dial(t, o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sh.Start(t.Context(), "true")
	var e *sshboot.Error
	if !errors.As(err, &e) || e.Kind != sshboot.CannotExecute {
		t.Errorf("got %v", err)
	}
}

func TestWrongHostKey(t *testing.T) {
	s, o := serve(t, boottest.Options{WrongHostKey: true})
	_, err := dial(t, o)
	var e *sshboot.Error
	if !errors.As(err, &e) || e.Kind != sshboot.HostKeyChanged || s.Logins() != 0 {
		t.Errorf("got %v after %d logins", err, s.Logins())
	}
}

// TestConnectionBreaks proves that a command hears of a broken connection and
// that its holder does too.
func TestConnectionBreaks(t *testing.T) {
	home := t.TempDir()
	s, o := serve(t, boottest.Options{Home: home})
	sh, err := dial(t, o)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sh.Start(t.Context(), "echo up; cat; echo end > ended")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 3)
	if _, err := io.ReadFull(p, buf); err != nil {
		t.Fatal(err)
	}
	s.CloseConnections()
	if _, err := p.Read(buf); err == nil {
		t.Error("read after the end")
	}
	if err := p.Wait(); err == nil {
		t.Error("waited for a good end")
	}
	if err := s.Close(); err != nil { // waits for the command
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(home, "ended")); err != nil {
		t.Errorf("the command did not see the end of its input: %v", err)
	}
}

func TestCancelEndsProcess(t *testing.T) {
	_, o := serve(t, boottest.Options{})
	sh, err := dial(t, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p, err := sh.Start(ctx, "cat")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(p); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("reading: %v", err)
	}
	if err := p.Wait(); err == nil {
		t.Error("no error after the context ended")
	}
}

// TestDeadServer: a server that answers nothing any more is noticed.
func TestDeadServer(t *testing.T) {
	_, o := serve(t, boottest.Options{NoKeepAlive: true})
	o.Extra = []string{"ServerAliveInterval=1", "ServerAliveCountMax=1"}
	sh, err := dial(t, o)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sh.Start(t.Context(), "cat")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(p); err != nil && !errors.Is(err, io.EOF) {
		t.Logf("reading ended with %v", err)
	}
	if err := p.Wait(); err == nil {
		t.Error("no error")
	}
}

// TestLivelyServer: one that answers, though a busy machine may take its time for that,
// is kept.
func TestLivelyServer(t *testing.T) {
	t.Parallel() // it only waits
	_, o := serve(t, boottest.Options{})
	o.Extra = []string{"ServerAliveInterval=1", "ServerAliveCountMax=8"}
	sh, err := dial(t, o)
	if err != nil {
		t.Fatal(err)
	}
	// Longer than it takes to give up a dead one.
	if out, err := sh.Run(t.Context(), "sleep 10; echo ok", nil); string(out) != "ok\n" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
}
