// Package stage is what the demonstrations have in common: how they begin and end,
// and how they run the program.
package stage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// Main runs a demonstration, which ends in order when it is interrupted, and gives
// its exit code. Name is what its errors begin with.
func Main(name string, run func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx)
	switch {
	case ctx.Err() != nil:
		Say("\nInterrupted. Everything the demo made is removed.")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, name+":", err)
		return 1
	}
	return 0
}

// Say prints a line.
func Say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// Run runs the program as its user would, in the user's home. The configuration of
// who looks on must not change what is shown, so HOME is that directory, and of the
// environment only what concerns the terminal is kept.
//
// An interrupt at the terminal reaches the program by itself, and a second one would
// cut its orderly end short; so one that was sent to the demonstration alone is passed
// on a little later. A program that does not end is killed.
func Run(ctx context.Context, program, home string, words ...string) error {
	cmd := exec.CommandContext(ctx, program, words...)
	cmd.Dir = home
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = []string{"HOME=" + home, "GOMOVER_CONFIG="}
	for _, name := range []string{"PATH", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "NO_COLOR", "TMPDIR", "USER"} {
		if v, ok := os.LookupEnv(name); ok && !strings.ContainsRune(v, 0) {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Cancel = func() error {
		time.AfterFunc(time.Second, func() { _ = cmd.Process.Signal(os.Interrupt) }) // it may have ended
		return nil
	}
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}
