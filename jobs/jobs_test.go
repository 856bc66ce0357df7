package jobs

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestID(t *testing.T) {
	if a, b := ID("x", "y"), ID("x", "y"); a != b || !regexp.MustCompile(`^[a-z2-7]{8}$`).MatchString(a) {
		t.Errorf("%q and %q", a, b)
	}
	seen := make(map[string]bool)
	for _, parts := range [][]string{nil, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"1:a,"}, {"a", "1:b,"}, {"b", "a"}} {
		id := ID(parts...)
		if seen[id] {
			t.Errorf("%q has the name of another job", parts)
		}
		seen[id] = true
	}
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	l, err := Acquire(dir, "job", 0)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(dir); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("state directory: %v, %v", i, err)
	}
	var busy *BusyError
	if _, err := Acquire(dir, "job", 0); !errors.As(err, &busy) || busy.Job != "job" || !strings.Contains(busy.Holder, "process ") {
		t.Errorf("a second lock: %v", err)
	}
	other, err := Acquire(dir, "other", 0)
	if err != nil {
		t.Fatal(err)
	}
	other.Release()
	go func() {
		time.Sleep(100 * time.Millisecond) // the end that still closes its journal
		l.Release()
	}()
	again, err := Acquire(dir, "job", 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(filepath.Join(dir, "file"), "job", 0); err == nil {
		t.Error("a file served as state directory")
	}
}

// TestLockIsExclusive: the holder removes the lock's name, which must not let
// two in.
func TestLockIsExclusive(t *testing.T) {
	dir := t.TempDir()
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 20 {
				l, err := Acquire(dir, "job", time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				inside.Add(-1)
				l.Release()
			}
		})
	}
	wg.Wait()
}
