// Package jobs names jobs and keeps two of them from being the same one.
package jobs

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ID derives a job's name from what makes it that job: canonical sources and
// destination, and the options that change the result. 8 characters of a-z and
// 2-7, that is 40 bits: names of unfinished files carry it, and two jobs with
// one name would only be in each other's way in one directory.
func ID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)))[:8]
}

// BusyError says who holds a lock.
type BusyError struct {
	Job, Holder string
}

// Error names the job and the holder.
func (e *BusyError) Error() string {
	return fmt.Sprintf("job %s is already running (%s)", e.Job, e.Holder)
}

// errBusy is what lockFile returns while another process holds the lock.
var errBusy = errors.New("locked")

// A Lock is held until Release or the end of the process.
type Lock struct{ f *os.File }

// Acquire takes the lock of a job in the state directory dir, which it makes,
// readable by the user alone. It waits up to wait for an end that is still
// closing its journal. A *BusyError names the holder.
func Acquire(dir, id string, wait time.Duration) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	path := filepath.Join(dir, id+".lock")
	end := time.Now().Add(wait)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening the lock of job %s: %w", id, err)
		}
		if err = lockFile(f); err == nil {
			// The holder before may have removed the name meanwhile.
			a, aerr := f.Stat()
			b, berr := os.Stat(path)
			if aerr == nil && berr == nil && os.SameFile(a, b) {
				host, _ := os.Hostname() // for people only
				_ = f.Truncate(0)
				_, _ = fmt.Fprintf(f, "process %d on %s\n", os.Getpid(), host)
				return &Lock{f}, nil
			}
			f.Close()
			continue
		}
		if !errors.Is(err, errBusy) {
			f.Close()
			return nil, fmt.Errorf("locking job %s: %w", id, err)
		}
		buf := make([]byte, 200)
		n, _ := f.ReadAt(buf, 0)
		f.Close()
		if time.Now().After(end) {
			return nil, &BusyError{id, strings.TrimSpace(string(buf[:n]))}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Release gives the lock back and removes its file.
func (l *Lock) Release() {
	_ = os.Remove(l.f.Name())
	l.f.Close()
}
