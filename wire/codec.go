package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is in the chain of every parse error.
var ErrMalformed = errors.New("malformed message")

// reader takes values off a slice; the first error sticks and empties it.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	r.b = nil
}

func (r *reader) uint(what string) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || (n > 1 && r.b[n-1] == 0) { // the second: a longer form than needed
		r.fail(what)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// int returns a value in 0..limit.
func (r *reader) int(what string, limit int64) int64 {
	v := r.uint(what)
	if v > uint64(limit) {
		r.fail(what + " out of range")
		return 0
	}
	return int64(v)
}

func (r *reader) byte(what string) byte {
	if len(r.b) < 1 {
		r.fail(what)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// take returns n bytes of the input, not copied.
func (r *reader) take(what string, n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail(what)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(what string, limit int) []byte {
	n := r.int(what, int64(limit))
	return r.take(what, int(n))
}

func (r *reader) string(what string, limit int) string { return string(r.bytes(what, limit)) }

// sint returns a zigzag-coded signed value.
func (r *reader) sint(what string) int64 {
	v := r.uint(what)
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) end() error {
	if r.err == nil && len(r.b) != 0 {
		r.fail("trailing bytes")
	}
	return r.err
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendSint(b []byte, v int64) []byte {
	return binary.AppendUvarint(b, uint64(v<<1)^uint64(v>>63))
}
