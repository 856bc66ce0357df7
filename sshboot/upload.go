package sshboot

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// maxProgram bounds the program that is read into memory for an upload, in
// bytes. Ours is about 10 MB.
const maxProgram = 256 << 20

// payload is the program as it crosses the connection.
type payload struct {
	data    []byte // bytes to send
	size    int64  // bytes of the program itself
	gzipped bool
}

// newPayload reads the program whole: its compressed length must be known before
// the first byte is sent, since the far side counts bytes.
func newPayload(open func() (io.ReadCloser, int64, error), compress bool) (*payload, error) {
	if open == nil {
		return nil, errors.New("no program to upload was given")
	}
	r, size, err := open()
	if err != nil {
		return nil, fmt.Errorf("opening the program to upload: %w", err)
	}
	defer r.Close()
	if size <= 0 || size > maxProgram {
		return nil, fmt.Errorf("program to upload: %d bytes, allowed are 1 to %d", size, maxProgram)
	}
	up := &payload{size: size, gzipped: compress}
	var buf bytes.Buffer
	var n int64
	if compress {
		// A low level: from level 4 on the time spent outweighs the bytes saved
		// for anything faster than 50 Mbit/s.
		z, _ := gzip.NewWriterLevel(&buf, 3)
		n, err = io.Copy(z, io.LimitReader(r, size+1))
		if err == nil {
			err = z.Close()
		}
	} else {
		n, err = io.Copy(&buf, io.LimitReader(r, size+1))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the program to upload: %w", err)
	}
	if n != size {
		return nil, fmt.Errorf("reading the program to upload: it changed its size from %d bytes", size)
	}
	up.data = buf.Bytes()
	return up, nil
}

// Uploads keeps the program as it is sent while boots need it: where several hosts get
// it at the same time it is compressed once. The zero value is ready; any goroutine may
// use it.
type Uploads struct {
	mu    sync.Mutex // guards what follows; held while the program is compressed
	users int
	made  map[bool]*payload // by whether it is compressed
}

// get gives the program, made by the first who needs it; who gets one calls leave.
func (u *Uploads) get(open func() (io.ReadCloser, int64, error), compress bool) (*payload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	up := u.made[compress]
	if up == nil {
		var err error
		if up, err = newPayload(open, compress); err != nil {
			return nil, err
		}
		if u.made == nil {
			u.made = make(map[bool]*payload)
		}
		u.made[compress] = up
	}
	u.users++
	return up, nil
}

// leave ends the need of one; the last one's lets go of the memory.
func (u *Uploads) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.users--; u.users == 0 {
		u.made = nil
	}
}

// randomName is an unpredictable part of a file name.
func randomName() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, by its contract
	return hex.EncodeToString(b[:])
}

// systems maps what "uname -s" prints, machines what "uname -m" prints, to Go's
// names.
var systems = map[string]string{
	"Linux": "linux", "Darwin": "darwin", "FreeBSD": "freebsd", "NetBSD": "netbsd",
	"OpenBSD": "openbsd", "DragonFly": "dragonfly", "SunOS": "solaris", "AIX": "aix",
}

var machines = map[string]string{
	"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
	"i386": "386", "i486": "386", "i586": "386", "i686": "386",
	"armv6l": "arm", "armv7l": "arm", "armv8l": "arm", "ppc64le": "ppc64le", "ppc64": "ppc64",
	"s390x": "s390x", "riscv64": "riscv64", "loongarch64": "loong64",
	"mips": "mips", "mips64": "mips64",
}

// platform translates the far side's names; unknown ones come back in lower case.
func platform(system, machine string) (goos, goarch string) {
	goos, ok := systems[system]
	if !ok {
		goos = strings.ToLower(cleanLine(system, 40))
	}
	goarch, ok = machines[machine]
	if !ok {
		goarch = strings.ToLower(cleanLine(machine, 40))
	}
	return goos, goarch
}

// runsOn reports whether a program for goos/goarch runs on the far platform.
// 64-bit kernels of these two families run 32-bit programs.
func runsOn(goos, goarch, farOS, farArch string) bool {
	if goos != farOS {
		return false
	}
	return goarch == farArch || goarch == "386" && farArch == "amd64"
}
