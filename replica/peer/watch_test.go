package peer_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/wire"
)

// TestDeaf: a server that neither reads nor says anything is given up.
func TestDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		c := peer.NewClient(framing.New(b))
		defer c.Close()
		began := time.Now()
		<-c.Done()
		if d := time.Since(began); d > time.Minute {
			t.Errorf("given up after %v", d)
		}
		if _, err := c.Open(context.Background(), 0, "f"); err == nil {
			t.Error("it answers")
		}
	})
}

// TestHeld: while we do not read what came, which may be held to a rate, the server
// cannot be heard and is not given up.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := peer.NewClient(framing.New(b))
		c.AddInside()
		s := framing.New(a)
		size := int64(8 * wire.MaxPiece)
		out := make(chan []byte, 64)
		var wg sync.WaitGroup
		wg.Go(func() {
			for b := range out {
				if s.Send(b) != nil {
					return
				}
			}
		})
		wg.Go(func() {
			defer close(out)
			for {
				msg, err := s.Recv()
				if err != nil {
					return
				}
				switch wire.Kind(msg[0]) {
				case wire.KindPing:
					out <- append([]byte{byte(wire.KindPong)}, msg[1:]...)
				case wire.KindOpen:
					m, err := wire.ParseOpen(msg[1:])
					if err != nil {
						t.Error(err)
					}
					out <- wire.Opened{ID: m.ID, Size: size}.Append(nil)
				case wire.KindData:
					m, err := wire.ParseRead(msg[1:])
					if err != nil {
						return // it is taken back
					}
					data := make([]byte, wire.MaxPiece)
					for off := int64(0); off < size; off += wire.MaxPiece {
						p := piece(wire.Piece{ID: m.ID, Offset: off, Data: data, Last: off+wire.MaxPiece == size})
						out <- append([]byte{byte(wire.KindData)}, p...)
					}
				}
			}
		})
		f, err := c.Open(t.Context(), 0, "f")
		if err != nil {
			t.Fatal(err)
		}
		r, err := f.Range(t.Context(), 0, size, 0)
		if err != nil {
			t.Fatal(err)
		}
		part := make([]byte, wire.MaxPiece)
		for n := int64(0); n < size; n += wire.MaxPiece {
			time.Sleep(time.Minute)
			if _, err := io.ReadFull(r, part); err != nil {
				t.Fatalf("after %d bytes: %v", n, err)
			}
		}
		r.Close()
		c.Close()
		a.Close()
		wg.Wait()
	})
}
