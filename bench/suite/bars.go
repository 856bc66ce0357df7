package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/gomover/gomover/bench/ground"
)

// rowBars runs bench/copy, which judges the main job, and takes its table over.
func rowBars(ctx context.Context, b *bench, _ string) error {
	b.release()
	b.reserve.Release() // bench/copy has its own
	program, report := filepath.Join(b.Dir, "bench-copy"), filepath.Join(b.Dir, "bars.json")
	if err := ground.Build(ctx, "github.com/gomover/gomover/bench/copy", program); err != nil {
		return err
	}
	scale, kills := b.Scale, 100
	if b.quick {
		scale, kills = b.Scale*0.02, 3
	}
	cmd := exec.CommandContext(ctx, program, "-lab", b.Lab, "-json", report, "-program", b.mover, "-memory", b.Memory, "-quiet", b.Quiet.String(),
		"-rounds", strconv.Itoa(b.Rounds), "-scale", fmt.Sprint(scale), "-kills", strconv.Itoa(kills))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it cleans up
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != ground.MissedCode) {
		return fmt.Errorf("running bench/copy: %w", err)
	}
	text, err := os.ReadFile(report)
	var bars []Bar
	if err == nil {
		err = json.Unmarshal(text, &bars)
	}
	if err != nil {
		return fmt.Errorf("reading the report of bench/copy: %w", err)
	}
	b.report.Bars = append(b.report.Bars, bars...)
	return nil
}
