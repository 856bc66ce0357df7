package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// watcher reads a final name again and again.
type watcher struct {
	t    testing.TB
	quit chan struct{}
	done sync.WaitGroup
	n    int
	stop func() int // ends it and tells how often it has looked
}

// watchFinal reports any content under a final name but the allowed ones. Nothing
// under that name is allowed as well if the first allowed content is nil.
func watchFinal(t testing.TB, path string, allowed ...[]byte) *watcher {
	t.Helper()
	w := &watcher{t: t, quit: make(chan struct{})}
	w.done.Go(func() {
		var last os.FileInfo
		for {
			select {
			case <-w.quit:
				return
			default:
			}
			w.n++
			f, err := os.Open(path)
			if errors.Is(err, fs.ErrNotExist) {
				if allowed[0] != nil {
					t.Errorf("%s vanished", path)
					return
				}
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			info, err := f.Stat()
			// A file that was seen and not written since needs no reading.
			if err == nil && last != nil && os.SameFile(info, last) && info.ModTime().Equal(last.ModTime()) && info.Size() == last.Size() {
				f.Close()
				continue
			}
			f.Close()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			good := false
			for _, a := range allowed {
				good = good || a != nil && bytes.Equal(a, data)
			}
			if !good {
				t.Errorf("%s held %d bytes that are none of the allowed contents", path, len(data))
				return
			}
			last = info
		}
	})
	once := sync.OnceFunc(func() { close(w.quit); w.done.Wait() })
	t.Cleanup(once)
	w.stop = func() int { once(); return w.n }
	return w
}

// changeTime is when the system last changed anything of a file.
func changeTime(path string) string {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d.%09d of inode %d", st.Ctim.Sec, st.Ctim.Nsec, st.Ino)
}

// inode is a file's number.
func inode(t testing.TB, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// connections counts the established TCP connections of a process, those to or
// from the ssh port excepted.
func connections(t testing.TB, pid, ssh int) (n int) {
	t.Helper()
	own := make(map[string]bool)
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // none when it has ended
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			own[strings.Trim(to, "socket:[]")] = true
		}
	}
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if err != nil {
			continue // it has ended
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			w := strings.Fields(s.Text())
			if len(w) < 10 || w[3] != "01" || !own[w[9]] {
				continue
			}
			if portOf(w[1]) != ssh && portOf(w[2]) != ssh {
				n++
			}
		}
		f.Close()
	}
	return n
}

// portOf reads the port of an address as the kernel prints it.
func portOf(addr string) int {
	_, hex, _ := strings.Cut(addr, ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}
