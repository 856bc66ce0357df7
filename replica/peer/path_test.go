package peer_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/transports"
)

// slowStream is a stream over a path with a rate and a delay.
type slowStream struct {
	rate  float64       // bytes per second
	delay time.Duration // one way
	out   chan<- sent
	in    <-chan sent
	done  chan struct{}
	end   func()
}

type sent struct {
	at   time.Time
	body []byte
}

// slowPair makes the two ends of a stream.
func slowPair(rate float64, delay time.Duration) (a, b *slowStream) {
	x, y, done := make(chan sent, 1000), make(chan sent, 1000), make(chan struct{})
	end := sync.OnceFunc(func() { close(done) })
	return &slowStream{rate, delay, x, y, done, end}, &slowStream{rate, delay, y, x, done, end}
}

func (s *slowStream) Send(f *transports.Frame) error {
	select {
	case <-time.After(time.Duration(float64(len(f.Body())) / s.rate * float64(time.Second))):
	case <-s.done:
		return net.ErrClosed
	}
	select {
	case s.out <- sent{time.Now().Add(s.delay), append([]byte(nil), f.Body()...)}:
		return nil
	case <-s.done:
		return net.ErrClosed
	}
}

func (s *slowStream) Recv(f *transports.Frame) error {
	select {
	case m := <-s.in:
		time.Sleep(time.Until(m.at))
		copy(f.Resize(len(m.body)), m.body)
		return nil
	case <-s.done:
		return net.ErrClosed
	}
}

func (s *slowStream) ID() uint32                       { return 1 }
func (s *slowStream) Stats() transports.Stats          { return transports.Stats{} }
func (s *slowStream) Retune(transports.Settings) error { return nil }
func (s *slowStream) Close() error                     { s.end(); return nil }

// zeros is a source of one long file.
type zeros struct {
	store.Source
	size int64
}

func (z zeros) Open(string) (store.ReadFile, error) { return z, nil }
func (zeros) Close() error                          { return nil }
func (z zeros) Stat() (store.Entry, error)          { return store.Entry{Kind: store.File, Size: z.size}, nil }
func (zeros) Ahead(int64, int64)                    {}
func (zeros) ReadAt(b []byte, _ int64) (int, error) { return len(b), nil }

// TestFillsThePath: with more requests than streams under way a path of 400 Mbit/s
// and 120 ms is never idle between two requests.
func TestFillsThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, workers, each, size = 4, 8, 2 << 20, 128 << 20
		const rate = 400e6 / 8 / streams
		a, b := net.Pipe()
		server := peer.NewServer(framing.New(a), []peer.Root{{Open: func() (store.Source, error) { return zeros{size: size}, nil }}})
		client := peer.NewClient(framing.New(b))
		var wg sync.WaitGroup
		wg.Go(func() { _ = server.Run(t.Context()) }) // ends with the client
		for range streams {
			near, far := slowPair(rate, 60*time.Millisecond)
			wg.Go(func() { server.Serve(t.Context(), far) })
			client.Add(near)
		}
		f, err := client.Open(t.Context(), 0, "")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		next := make(chan int64, size/each) // all offsets
		for off := int64(0); off < size; off += each {
			next <- off
		}
		close(next)
		var work sync.WaitGroup
		for range workers {
			work.Go(func() {
				lane, err := f.Lane()
				if err != nil {
					t.Error(err)
					return
				}
				defer lane.Close()
				for off := range next {
					r, err := lane.Range(t.Context(), off, each, 0)
					if err != nil {
						t.Error(err)
						return
					}
					if n, err := io.Copy(io.Discard, r); n != each || err != nil {
						t.Errorf("%d bytes, %v", n, err)
					}
					r.Close()
				}
			})
		}
		work.Wait()
		took, ideal := time.Since(began), time.Duration(float64(size)/(rate*streams)*float64(time.Second))
		t.Logf("%v, the path needs %v", took, ideal)
		if took > ideal*105/100+200*time.Millisecond {
			t.Errorf("took %v where the path needs %v", took, ideal)
		}
		client.Close()
		wg.Wait()
	})
}
