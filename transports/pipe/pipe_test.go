package pipe

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/gomover/gomover/transports"
)

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

func TestFrameTooLongEndsTheStream(t *testing.T) {
	a, b := connect(t)
	if a.ID() != 7 || b.ID() != 7 {
		t.Errorf("labels %d and %d", a.ID(), b.ID())
	}
	got := make(chan error, 1)
	go func() { got <- b.Recv(transports.NewFrame(10)) }()
	f := transports.NewFrame(64)
	f.Resize(11)
	if err := a.Send(f); !errors.Is(err, net.ErrClosed) {
		t.Error("Send:", err)
	}
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Error("Recv:", err)
	}
	for range 20 {
		if err := a.Send(f); err != net.ErrClosed {
			t.Error("Send afterwards:", err)
		}
		if err := b.Recv(f); err != net.ErrClosed {
			t.Error("Recv afterwards:", err)
		}
	}
}

func TestCloseUnblocks(t *testing.T) {
	a, b := connect(t)
	errs := make(chan error, 2)
	go func() { errs <- a.Send(transports.NewFrame(1)) }()
	go func() { errs <- a.Recv(transports.NewFrame(1)) }()
	b.Close()
	for range 2 {
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	x, y := Pair()
	go func() { _, err := y.Accept(t.Context()); errs <- err }()
	x.Close()
	if err := <-errs; !errors.Is(err, net.ErrClosed) {
		t.Error("Accept:", err)
	}
	if _, err := y.Dial(t.Context(), transports.Offer{}, 1); !errors.Is(err, net.ErrClosed) {
		t.Error("Dial:", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x, _ = Pair()
	defer x.Close()
	if _, err := x.Dial(ctx, transports.Offer{}, 1); !errors.Is(err, context.Canceled) {
		t.Error("cancelled Dial:", err)
	}
}
