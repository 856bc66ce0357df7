// Package framing cuts a byte stream into length-prefixed messages.
//
//	| length u32, big-endian | message, length bytes |
package framing

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Max is the longest message in bytes that is sent or accepted. Ours: the
// largest block of a file in one message, with room for what is before it.
const Max = 16<<20 + 64<<10

// ErrTooLong means that the other end announced a message beyond [Max].
var ErrTooLong = errors.New("message longer than the limit")

// Conn carries messages over a byte stream. Any number of goroutines may send,
// one receives.
type Conn struct {
	rw io.ReadWriteCloser
	br *bufio.Reader

	mu  sync.Mutex // guards bw and err
	bw  *bufio.Writer
	err error
}

// New returns a Conn over rw, which it owns from then on.
func New(rw io.ReadWriteCloser) *Conn {
	return &Conn{rw: rw, br: bufio.NewReaderSize(rw, 64<<10), bw: bufio.NewWriterSize(rw, 64<<10)}
}

// Send sends one message made of parts and flushes it. Errors are final.
func (c *Conn) Send(parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > Max {
		return fmt.Errorf("sending %d bytes: %w", n, ErrTooLong)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	var head [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(n))
	c.bw.Write(head[:])
	for _, p := range parts {
		c.bw.Write(p) // bufio keeps the first error for Flush
	}
	c.err = c.bw.Flush()
	return c.err
}

// Recv returns the next message in memory of its own.
func (c *Conn) Recv() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > Max {
		return nil, fmt.Errorf("receiving %d bytes: %w", n, ErrTooLong)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.br, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

// Close closes the byte stream; blocked calls return as that allows.
func (c *Conn) Close() error { return c.rw.Close() }
