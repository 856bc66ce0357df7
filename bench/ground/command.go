package ground

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Wait is a pause that ends with ctx, and then with its error.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Tail is the end of a command's output, for an error.
func Tail(s string) string {
	const most = 800 // bytes
	if len(s) > most {
		s = "..." + s[len(s)-most:]
	}
	return strings.TrimSpace(s)
}

// Quiet runs a helper command, in the group if that is not nil, and gives its
// output only in an error.
func Quiet(ctx context.Context, group *Group, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	if group != nil {
		cmd.SysProcAttr = group.Attributes()
	}
	// A file, not a pipe: a daemon that the command leaves would keep a pipe open.
	out, err := os.CreateTemp("", "gomover-bench-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return errors.Join(fmt.Errorf("%s: %w", strings.Join(args, " "), err), errors.New(Tail(string(text))))
	}
	return nil
}

// Build compiles a program of this module as it is released: one static file.
func Build(ctx context.Context, pkg, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, pkg)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w", pkg, err)
	}
	return nil
}
