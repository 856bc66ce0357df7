package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"time"
	"unicode"
)

// The sample programs say, over one connection in the byte order of their
// processor, which is taken for little-endian here:
//
//	client: length of the name, 4 bytes; the name
//	server: size of the file, 8 bytes, less than 0 when there is none; its bytes
const (
	// maxName is the longest name that a sample server has room for. Unit: bytes.
	maxName = 1023
	// patience is how long a client may take to say what it wants, and writeTime
	// to make room for the next piece of the file.
	patience  = 10 * time.Second
	writeTime = time.Minute
	// maxClients are served at once; others wait.
	maxClients = 64
)

// server sends files. All methods may be called at the same time.
type server struct {
	files fs.FS
	say   func(text string)
	mu    sync.Mutex // guards say
}

// run serves everybody until the listener is closed, which is no error once ctx has
// ended.
func (s *server) run(ctx context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, maxClients)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() {
			defer func() { <-places }()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			text, err := s.one(c)
			if cerr := c.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				text = err.Error()
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.say(fmt.Sprintf("%v: %s", c.RemoteAddr(), printable(text)))
		})
	}
}

// one serves one client and tells what it was given.
func (s *server) one(c net.Conn) (text string, err error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	name, err := readName(c)
	if err != nil {
		return "", err
	}
	f, size, err := s.open(name)
	if err != nil {
		// The client learns that there is none, and nothing else.
		return "", errors.Join(err, writeSize(c, -1))
	}
	defer f.Close()
	if err := writeSize(c, size); err != nil {
		return "", err
	}
	n, err := io.CopyN(patient{c}, f, size)
	if err != nil {
		return "", fmt.Errorf("sending %s: %w after %d of %d bytes", name, err, n, size)
	}
	return fmt.Sprintf("%s, %d bytes", name, size), nil
}

// patient gives each piece that is written its time, so that a client that reads
// nothing does not stay for ever.
type patient struct{ net.Conn }

func (p patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// open opens what is a file, and gives its size. Other things are not opened: a
// named pipe would wait for its other end.
func (s *server) open(name string) (fs.File, int64, error) {
	info, err := fs.Stat(s.files, name) // refuses names that leave the directory
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no file", name)
	}
	f, err := s.files.Open(name)
	return f, info.Size(), err
}

// printable replaces what could make a terminal do something: names are a
// stranger's words.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// readName reads what a client wants.
func readName(r io.Reader) (string, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", fmt.Errorf("reading the name of a file: %w", err)
	}
	n := binary.LittleEndian.Uint32(b[:])
	if n == 0 || n > maxName {
		return "", fmt.Errorf("a name of %d bytes: must have 1 to %d", n, maxName)
	}
	name := make([]byte, n)
	if _, err := io.ReadFull(r, name); err != nil {
		return "", fmt.Errorf("reading the name of a file: %w", err)
	}
	return string(name), nil
}

func writeSize(w io.Writer, size int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(size))
	_, err := w.Write(b[:])
	return err
}

// fetch asks for a file and writes it to w.
func fetch(c io.ReadWriter, name string, w io.Writer) (size int64, err error) {
	if len(name) == 0 || len(name) > maxName {
		return 0, fmt.Errorf("a name of %d bytes: must have 1 to %d", len(name), maxName)
	}
	// In one piece: a sample server does not ask twice for the rest.
	if _, err := c.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(name))), name...)); err != nil {
		return 0, fmt.Errorf("asking for %s: %w", name, err)
	}
	var b [8]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return 0, fmt.Errorf("reading the size of %s: %w", name, err)
	}
	if size = int64(binary.LittleEndian.Uint64(b[:])); size < 0 {
		return 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	n, err := io.CopyN(w, c, size)
	if err != nil {
		return n, fmt.Errorf("fetching %s: %w after %d of %d bytes", name, err, n, size)
	}
	return size, nil
}
