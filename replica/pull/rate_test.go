package pull_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/replica/pull"
)

// TestRateIsKept: all places together give no more than the limit.
func TestRateIsKept(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		began := time.Now()
		r, err := b.run(t.Context(), pull.Job{Check: pieces(), Rate: 1_000_000}, good(), good())
		b.right(r, err)
		if d := time.Since(began); d < 4500*time.Millisecond || d > 6*time.Second {
			t.Errorf("%d bytes at 1 MB/s took %v", len(content), d)
		}
	})
}

// TestTooSlow: when all that there are bring too little for a minute, it ends.
func TestTooSlow(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		began := time.Now()
		_, err := b.run(t.Context(), pull.Job{Check: pieces(), Rate: 10_000, MinRate: 50_000}, good())
		if d := time.Since(began); !errors.Is(err, pull.ErrSlow) || d < time.Minute || d > 70*time.Second {
			t.Errorf("after %v: %v", d, err)
		}
	})
	b = newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		r, err := b.run(t.Context(), pull.Job{Check: pieces(), Rate: units.Rate(60_000), MinRate: 50_000}, good())
		b.right(r, err)
	})
}

// TestTroubleIsTold: the only mirror, which gives nothing, is named before it is
// given up.
func TestTroubleIsTold(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		b.t = t
		m := good()
		m.ranged = func(context.Context, int64, int64) error { return io.ErrUnexpectedEOF }
		if _, err := b.run(t.Context(), pull.Job{Check: pieces(), GiveUp: time.Minute}, m); !errors.Is(err, pull.ErrLost) {
			t.Error(err)
		}
		if !b.told("a does not deliver: unexpected EOF") || len(b.said) != 1 {
			t.Errorf("%q was said", b.said)
		}
		if left, _ := filepath.Glob(filepath.Join(b.dir, ".gomover-*")); len(left) > 0 {
			t.Errorf("%v holds nothing", left)
		}
	})
}

// TestNothingIsLeftOfNothing: what ends before its first block leaves no files.
func TestNothingIsLeftOfNothing(t *testing.T) {
	b := newBench(t)
	m := good()
	m.ranged = func(context.Context, int64, int64) error { return final("403") }
	if _, err := b.run(t.Context(), pull.Job{Check: pieces()}, m); !errors.Is(err, replica.ErrNoReplica) {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(b.dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
