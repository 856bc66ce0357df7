package forger

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Of reading the memory of a process.
const (
	regionMost = 256 << 20 // a longer region is not read
	nearTag    = 192       // bytes around a session's tag in which its secret is looked for
)

// KeyFrom finds the key of a datagram in the memory of a process that takes part in its
// session, as whoever is root on a receiver's host can. It is nil if it is not there. The
// secret lies near the session's tag; the right one is known by opening the datagram.
// Errors: of reading the memory, as of a process that has ended.
func KeyFrom(pid int, datagram []byte) (*Key, error) {
	if len(datagram) < shimLen+tagLen {
		return nil, nil
	}
	regions, err := writable(pid)
	if err != nil {
		return nil, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	defer mem.Close()
	for _, r := range regions {
		b := make([]byte, r[1]-r[0])
		n, _ := mem.ReadAt(b, int64(r[0])) // some of it may be gone by now
		if k := keyIn(b[:n], datagram); k != nil {
			return k, nil
		}
	}
	return nil, nil
}

// writable lists the parts of a process's memory that it may change and no file backs.
func writable(pid int) (l [][2]uint64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, fmt.Errorf("listing the memory of process %d: %w", pid, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var from, to uint64
		var may string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &may); n != 3 || !strings.HasPrefix(may, "rw") || to-from > regionMost {
			continue
		}
		if !strings.Contains(lines.Text(), "/") {
			l = append(l, [2]uint64{from, to})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("listing the memory of process %d: %w", pid, err)
	}
	return l, nil
}

// keyIn looks for the key of a datagram in memory.
func keyIn(b, datagram []byte) *Key {
	var tag [4]byte
	binary.NativeEndian.PutUint32(tag[:], binary.BigEndian.Uint32(datagram[4:]))
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], tag[:])
		if i < 0 {
			return nil
		}
		at += i
		for from := max(0, at-nearTag); from <= min(at+nearTag, len(b)-secretLen); from += 4 {
			k, err := NewKey(b[from:from+secretLen], datagram)
			if err == nil && k.open(datagram) != nil {
				return k
			}
		}
	}
}

// Member gives what looks for a key on a receiver's host: in the memory of all agents of
// gomover in a network namespace, which is named as /proc/PID/ns/net is.
func Member(namespace string) func(datagram []byte) *Key {
	return func(datagram []byte) *Key {
		dirs, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return nil
		}
		for _, dir := range dirs {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil {
				continue
			}
			if to, err := os.Readlink(dir + "/ns/net"); err != nil || to != namespace {
				continue
			}
			if words, err := os.ReadFile(dir + "/cmdline"); err != nil || !bytes.Contains(words, []byte("\x00agent\x00")) {
				continue
			}
			if k, err := KeyFrom(pid, datagram); err == nil && k != nil {
				return k
			}
		}
		return nil
	}
}
