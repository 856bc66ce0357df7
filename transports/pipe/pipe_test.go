package pipe

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
)

func TestContract(t *testing.T) {
	transporttest.Run(t, func(*testing.T, transports.Seal) (a, b transports.Endpoint) { return Pair() })
}

// connect returns the two ends of a stream.
func connect(t *testing.T) (a, b transports.Stream) {
	t.Helper()
	x, y := Pair()
	t.Cleanup(func() { x.Close() })
	var wg sync.WaitGroup
	wg.Go(func() {
		var err error
		if b, err = y.Accept(t.Context()); err != nil {
			t.Error(err)
		}
	})
	a, err := x.Dial(t.Context(), transports.Offer{}, 7)
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return a, b
}

// TestClosedWhileAFrameChangesHands: the receiver has its frame back, for itself
// alone, whenever Recv returns.
func TestClosedWhileAFrameChangesHands(t *testing.T) {
	for range 2000 {
		a, b := connect(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			f := transports.NewFrame(64)
			for i := byte(0); ; i++ {
				copy(f.Resize(64), bytes.Repeat([]byte{i}, 64))
				if a.Send(f) != nil {
					f.Resize(64)[0] = 1
					return
				}
			}
		})
		wg.Go(func() {
			f := transports.NewFrame(64)
			for i := byte(0); ; i++ {
				if err := b.Recv(f); err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Error(err)
					}
					f.Resize(64)[0] = 2
					return
				}
				if got := f.Body(); !bytes.Equal(got, bytes.Repeat([]byte{i}, 64)) {
					t.Errorf("frame %d holds %v", i, got)
				}
				if i == 3 {
					go a.Close()
				}
			}
		})
		wg.Wait()
		b.Close()
	}
}
