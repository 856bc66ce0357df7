package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/wire"
)

// agentGrace is how long an agent may live without its connection: its journals
// are closed by then or will be checked by the next run.
const agentGrace = 1800 * time.Millisecond

// runAgent is the far end: one job, or one probe, on standard input and output.
func runAgent(ctx context.Context, env Env, args []string) error {
	if len(args) == 1 && args[0] == "--selfcheck" {
		sum, err := selfHash()
		if err != nil {
			return &exitError{Code: exitInternal, Msg: err.Error()}
		}
		_, err = fmt.Fprintf(env.Stdout, "%s %s\n", sum, version)
		return err
	}
	early := len(args) == 1 && args[0] == "--early"
	probes := len(args) == 1 && args[0] == "--probe"
	if len(args) > 0 && !early && !probes {
		return usageError("agent: unexpected argument " + args[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		<-signals
		cancel()
		time.AfterFunc(agentGrace, func() { os.Exit(exitTERM) })
	}()
	ssh := strings.Fields(env.Getenv("SSH_CONNECTION"))
	ae := mover.AgentEnv{
		Control: &agentControl{lost: func() {
			time.AfterFunc(agentGrace, func() { os.Exit(exitLost) })
		}},
		Version: version, OS: runtime.GOOS, Arch: runtime.GOARCH, Home: env.Home, StateDir: stateDir(env, ""), Early: early, Proxy: http.ProxyFromEnvironment,
	}
	if len(ssh) == 4 {
		// Malformed: the addresses stay unknown.
		ae.Client, _ = netip.ParseAddr(ssh[0])
		ae.Server, _ = netip.ParseAddr(ssh[2])
	}
	serve := mover.ServeAgent
	if probes {
		serve = mover.ServeProbe
	}
	if err := serve(ctx, ae); err != nil {
		// The director shows what it was told over the connection.
		return &exitError{Code: exitAgent}
	}
	return nil
}

// agentControl is standard input and output as one stream.
type agentControl struct {
	lost func()
	once sync.Once
}

func (c *agentControl) Read(b []byte) (int, error) {
	n, err := os.Stdin.Read(b)
	if err != nil {
		c.once.Do(c.lost)
	}
	return n, err
}

func (c *agentControl) Write(b []byte) (int, error) { return os.Stdout.Write(b) }

func (c *agentControl) Close() error {
	return errors.Join(os.Stdin.Close(), os.Stdout.Close())
}

var _ io.ReadWriteCloser = (*agentControl)(nil)

// self opens this program's file. Where the system has a handle on the running
// program, an update that replaced the file meanwhile does no harm.
func self() (*os.File, error) {
	if f, err := os.Open("/proc/self/exe"); err == nil {
		return f, nil
	}
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program's file: %w", err)
	}
	return os.Open(path)
}

// selfHash is the hex SHA-256 of this program's file.
func selfHash() (string, error) {
	f, err := self()
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading this program's file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// stateDir is where this user's job state lives.
func stateDir(env Env, asked string) string {
	switch {
	case asked != "":
		return asked
	case env.Getenv("XDG_STATE_HOME") != "":
		return filepath.Join(env.Getenv("XDG_STATE_HOME"), "gomover")
	case env.Home != "":
		return filepath.Join(env.Home, ".local", "state", "gomover")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("gomover-state-%d", os.Getuid()))
}

// printVersion prints the versions that matter to other programs.
func printVersion(w io.Writer, asJSON bool) error {
	var err error
	if asJSON {
		err = json.NewEncoder(w).Encode(map[string]any{"version": version, "protocol": wire.Version, "events": 1, "os": runtime.GOOS, "arch": runtime.GOARCH})
	} else {
		_, err = fmt.Fprintf(w, "gomover %s (protocol %d, events %d, %s/%s)\n", version, wire.Version, 1, runtime.GOOS, runtime.GOARCH)
	}
	if err != nil { // a full disk or a closed pipe, no fault of this program
		return &exitError{Code: exitDestination, Msg: "standard output: " + err.Error(), Err: err}
	}
	return nil
}
