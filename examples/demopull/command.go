package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"time"
)

// gomover runs the program in the demo's directory, as its user would. The user's
// own configuration must not change what is shown, so HOME is that directory, and of
// the environment only what concerns the terminal is kept.
func (d *demo) gomover(ctx context.Context, words ...string) error {
	cmd := exec.CommandContext(ctx, d.program, words...)
	cmd.Dir = d.dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = []string{"HOME=" + d.dir, "GOMOVER_CONFIG="}
	for _, name := range []string{"PATH", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "NO_COLOR", "TMPDIR", "USER"} {
		if v, ok := os.LookupEnv(name); ok && !strings.ContainsRune(v, 0) {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	// An interrupt at the terminal reaches the program by itself; one that was sent to
	// the demo alone is passed on a little later.
	cmd.Cancel = func() error {
		time.AfterFunc(time.Second, func() { _ = cmd.Process.Signal(os.Interrupt) }) // it may have ended
		return nil
	}
	cmd.WaitDelay = 10 * time.Second
	return cmd.Run()
}
