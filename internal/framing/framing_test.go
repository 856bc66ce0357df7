package framing

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// stream is a byte stream in memory: what is written piles up, what is read was
// put there before.
type stream struct {
	in     *bytes.Reader
	out    bytes.Buffer
	closed bool
}

func (s *stream) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *stream) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s *stream) Close() error                { s.closed = true; return nil }

func reading(b []byte) *Conn { return New(&stream{in: bytes.NewReader(b)}) }

func TestBytes(t *testing.T) {
	s := &stream{in: bytes.NewReader(nil)}
	c := New(s)
	if err := c.Send([]byte("ab"), nil, []byte("c")); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(); err != nil {
		t.Fatal(err)
	}
	want := "\x00\x00\x00\x03abc\x00\x00\x00\x00"
	if got := s.out.String(); got != want {
		t.Fatalf("sent %q, want %q", got, want)
	}
	r := reading([]byte(want))
	for _, want := range []string{"abc", ""} {
		if got, err := r.Recv(); err != nil || string(got) != want {
			t.Errorf("received %q %v, want %q", got, err, want)
		}
	}
	if _, err := r.Recv(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	for n := 1; n < 7; n++ {
		if _, err := reading([]byte(want)[:n]).Recv(); err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	if err := c.Close(); err != nil || !s.closed {
		t.Error("not closed:", err)
	}
}

func TestLimits(t *testing.T) {
	s := &stream{in: bytes.NewReader(nil)}
	c := New(s)
	if err := c.Send(make([]byte, Max), []byte{1}); !errors.Is(err, ErrTooLong) {
		t.Errorf("sending beyond the limit: %v", err)
	}
	if s.out.Len() != 0 {
		t.Error("part of a refused message was sent")
	}
	if err := c.Send(make([]byte, Max)); err != nil {
		t.Errorf("sending at the limit: %v", err)
	}
	if got, err := reading(s.out.Bytes()).Recv(); err != nil || len(got) != Max {
		t.Errorf("receiving at the limit: %d bytes, %v", len(got), err)
	}
	for _, n := range []uint32{Max + 1, 1<<32 - 1} {
		head := binary.BigEndian.AppendUint32(nil, n)
		if _, err := reading(head).Recv(); !errors.Is(err, ErrTooLong) {
			t.Errorf("%d bytes announced: %v", n, err)
		}
	}
}

// broken fails after some bytes.
type broken struct {
	stream
	left int
}

var errBroken = errors.New("broken")

func (b *broken) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, errBroken
	}
	b.left -= len(p)
	return b.stream.Write(p)
}

func TestErrorsAreFinal(t *testing.T) {
	c := New(&broken{left: 10})
	if err := c.Send([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Send([]byte("cd")); !errors.Is(err, errBroken) {
			t.Errorf("after the stream broke: %v", err)
		}
	}
}

func TestManySenders(t *testing.T) {
	a, b := net.Pipe()
	x, y := New(a), New(b)
	const senders, each = 8, 50
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for k := range each {
				if err := x.Send([]byte{byte(i)}, bytes.Repeat([]byte{byte(k)}, 300*k)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := make([]int, senders)
	for range senders * each {
		m, err := y.Recv()
		if err != nil {
			t.Fatal(err)
		}
		i := m[0]
		if want := bytes.Repeat([]byte{byte(next[i])}, 300*next[i]); !bytes.Equal(m[1:], want) {
			t.Fatalf("message %d of sender %d is mixed or out of order", next[i], i)
		}
		next[i]++
	}
	wg.Wait()
	y.Close()
	if err := x.Send([]byte("z")); err == nil {
		t.Error("sent to a closed end")
	}
	if _, err := x.Recv(); err == nil {
		t.Error("received from a closed end")
	}
}

func FuzzRecv(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x03abc\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := reading(b)
		s := &stream{}
		again := New(s)
		for {
			m, err := c.Recv()
			if err != nil {
				break
			}
			if err := again.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(b, s.out.Bytes()) {
			t.Errorf("%x became %x", b, s.out.Bytes())
		}
	})
}
