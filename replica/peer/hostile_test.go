package peer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// liar is a server that says what it is told to.
type liar struct {
	client *peer.Client
	link   *framing.Conn
	far    *slowStream
}

// newLiar makes one that has opened a file of four blocks for the client.
func newLiar(t testing.TB) (*liar, *peer.File) {
	t.Helper()
	a, b := net.Pipe()
	l := &liar{client: peer.NewClient(framing.New(b)), link: framing.New(a)}
	near, far := slowPair(1e12, 0)
	l.far = far
	l.client.Add(near)
	var wg sync.WaitGroup
	wg.Go(func() {
		msg, err := l.link.Recv()
		if err != nil {
			return
		}
		m, err := wire.ParseOpen(msg[1:])
		if err == nil {
			_ = l.link.Send(wire.Opened{ID: m.ID, Size: 4 * block}.Append(nil)) // the client may be gone
		}
		for err == nil {
			_, err = l.link.Recv()
		}
	})
	t.Cleanup(func() {
		l.client.Close()
		a.Close()
		wg.Wait()
	})
	f, err := l.client.Open(context.Background(), 0, "f")
	if err != nil {
		t.Fatal(err)
	}
	return l, f
}

// asked is the next request for bytes that the client makes.
func (l *liar) asked(t *testing.T) wire.Read {
	t.Helper()
	req := transports.NewFrame(64)
	if err := l.far.Recv(req); err != nil {
		t.Fatal(err)
	}
	m, err := wire.ParseRead(req.Body())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// say sends a frame to the client.
func (l *liar) say(b []byte) {
	f := transports.NewFrame(len(b))
	copy(f.Resize(len(b)), b)
	_ = l.far.Send(f) // the client may have closed it
}

func piece(p wire.Piece) []byte {
	b := make([]byte, p.HeadLen())
	p.Put(b)
	return append(b, p.Data...)
}

func TestLies(t *testing.T) {
	data := make([]byte, wire.MaxPiece)
	for name, frame := range map[string]func(id uint32) []byte{
		"nothing":             func(uint32) []byte { return nil },
		"another request":     func(id uint32) []byte { return piece(wire.Piece{ID: id + 1, Data: data}) },
		"another place":       func(id uint32) []byte { return piece(wire.Piece{ID: id, Offset: 5, Data: data}) },
		"an early end":        func(id uint32) []byte { return piece(wire.Piece{ID: id, Data: data, Last: true}) },
		"no bytes":            func(id uint32) []byte { return piece(wire.Piece{ID: id}) },
		"no bytes at the end": func(id uint32) []byte { return piece(wire.Piece{ID: id, Last: true}) },
		"a sum too early":     func(id uint32) []byte { return piece(wire.Piece{ID: id, Data: data, Summed: true}) },
		"a request":           func(id uint32) []byte { return wire.Read{ID: id, Length: 1}.Append(nil) },
		"another refusal":     func(id uint32) []byte { return wire.Refused{ID: id + 1}.AppendFrame(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			l, f := newLiar(t)
			r, err := f.Range(t.Context(), 0, 2*block, block)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			m := l.asked(t)
			l.say(frame(m.ID))
			n, err := io.Copy(io.Discard, r)
			if !errors.Is(err, peer.ErrBreach) {
				t.Errorf("%d bytes, %v", n, err)
			}
			var final interface{ Final() bool }
			if !errors.As(err, &final) || !final.Final() {
				t.Errorf("it would be asked again after %v", err)
			}
		})
	}
	t.Run("a block without a sum", func(t *testing.T) {
		l, f := newLiar(t)
		r, err := f.Range(t.Context(), 0, block, block)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		m := l.asked(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			for off := int64(0); off < block; off += wire.MaxPiece {
				l.say(piece(wire.Piece{ID: m.ID, Offset: off, Data: data, Last: off+wire.MaxPiece == block}))
			}
		})
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, peer.ErrBreach) {
			t.Error(err)
		}
		wg.Wait()
	})
	t.Run("messages", func(t *testing.T) {
		for _, msg := range [][]byte{{}, {0}, {byte(wire.KindStart)}, {byte(wire.KindPong), 1}, {byte(wire.KindRefused), 0x80}, {byte(wire.KindData), 1}} {
			l, _ := newLiar(t)
			if err := l.link.Send(msg); err != nil {
				t.Fatal(err)
			}
			select {
			case <-l.client.Done():
			case <-time.After(time.Minute):
				t.Errorf("the client goes on after message %x", msg)
			}
		}
	})
}

// TestHostileClient: a client that breaks the rules ends its stream or its link.
func TestHostileClient(t *testing.T) {
	many := make([][]byte, 2000)
	for i := range many {
		many[i] = wire.Read{ID: uint32(i), Length: 1}.Append(nil)
	}
	for name, frames := range map[string][][]byte{
		"no frame":          {{9}},
		"nothing":           {{}},
		"a cut request":     {wire.Read{Length: 1}.Append(nil)[:20]},
		"too many requests": many,
	} {
		t.Run(name, func(t *testing.T) {
			s := peer.NewServer(nil, nil)
			near, far := slowPair(1e12, 0)
			if name == "too many requests" {
				far.rate = 1 // nobody reads the answers
			}
			var wg sync.WaitGroup
			wg.Go(func() { s.Serve(t.Context(), far) })
			f := transports.NewFrame(64)
			for _, b := range frames {
				copy(f.Resize(len(b)), b)
				if near.Send(f) != nil {
					break
				}
			}
			<-near.done
			wg.Wait()
		})
	}
	for _, msg := range [][]byte{{}, {byte(wire.KindReady)}, {byte(wire.KindOpen), 0x80}, {byte(wire.KindSums), 1}, {byte(wire.KindStreams), '{'}} {
		a, b := net.Pipe()
		c := framing.New(b)
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = c.Send(msg)
			for {
				if _, err := c.Recv(); err != nil {
					return
				}
			}
		})
		err := peer.NewServer(framing.New(a), nil).Run(t.Context())
		var fail *wire.Fail
		if !errors.As(err, &fail) || fail.Class != wire.ClassProtocol {
			t.Errorf("message %x: %v", msg, err)
		}
		wg.Wait()
	}
}

// FuzzPieces: whatever a server sends on a stream, the client neither panics nor
// gives bytes that were not asked for.
func FuzzPieces(f *testing.F) {
	f.Add([]byte{1, 0, 0, 3, 5, 6})
	f.Add([]byte{2, 2, 2, 2})
	f.Fuzz(func(t *testing.T, script []byte) {
		l, file := newLiar(t)
		r, err := file.Range(t.Context(), block, block, 0)
		if err != nil {
			t.Fatal(err)
		}
		m := l.asked(t)
		p := wire.Piece{ID: m.ID, Offset: m.Offset, Data: make([]byte, 1000)}
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, b := range script[:min(len(script), 500)] {
				switch b % 8 {
				case 0:
					p.ID++
				case 1:
					p.Offset += int64(len(p.Data))
				case 2:
					p.Data = p.Data[:int(b)%len(p.Data)+1]
				case 3:
					p.Last = !p.Last
				case 4:
					p.Summed = !p.Summed
				case 5:
					l.say(wire.Refused{ID: p.ID}.AppendFrame(nil))
				case 6:
					l.say(script)
				default:
					l.say(piece(p))
				}
			}
			l.far.Close()
		})
		if n, _ := io.Copy(io.Discard, r); n > block {
			t.Errorf("%d bytes", n)
		}
		r.Close()
		wg.Wait()
	})
}
