// Package transporttest holds the contract of package transports as tests, to be
// run by every transport against itself. Only tests import it.
package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/transports"
)

// MaxBody is the longest frame body in bytes which Run's endpoints must be made
// for.
const MaxBody = 300_000

// patience bounds everything that should come about at once.
const patience = time.Minute

// Make returns two prepared ends of one job, with Params.MaxBody = MaxBody and
// frames protected as seal says; b at least can be dialled. The suite closes
// them.
type Make func(t *testing.T, seal transports.Seal) (a, b transports.Endpoint)

// Run tests everything that the comments in package transports promise, for
// every protection of frames.
func Run(t *testing.T, mk Make) {
	tests := []struct {
		name string
		run  func(t *testing.T, p *pair)
	}{
		{"sizes", testSizes},
		{"order", testOrder},
		{"duplex", testDuplex},
		{"streams", testStreams},
		{"labels", testLabels},
		{"close stream", testCloseStream},
		{"close endpoint", testCloseEndpoint},
		{"other end closes", testOtherEnd},
		{"too long", testTooLong},
		{"stats", testStats},
		{"retune", testRetune},
		{"cancel", testCancel},
	}
	for _, seal := range []transports.Seal{transports.SealOn, transports.SealAuth, transports.SealOff} {
		for _, tt := range tests {
			t.Run(seal.String()+"/"+tt.name, func(t *testing.T) {
				before := runtime.NumGoroutine()
				a, b := mk(t, seal)
				p := &pair{t: t, a: a, b: b}
				tt.run(t, p)
				p.close()
				settle(t, before)
			})
		}
	}
}

// settle waits until no more goroutines run than before.
func settle(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("goroutines: %d before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

// pair is two ends with the streams made between them.
type pair struct {
	t       *testing.T
	a, b    transports.Endpoint
	label   uint32
	mu      sync.Mutex // guards streams
	streams []transports.Stream
}

func (p *pair) close() {
	p.mu.Lock()
	for _, s := range p.streams {
		s.Close()
	}
	p.mu.Unlock()
	p.a.Close()
	p.b.Close()
}

func (p *pair) keep(s transports.Stream) transports.Stream {
	p.mu.Lock()
	p.streams = append(p.streams, s)
	p.mu.Unlock()
	return s
}

// open makes a stream: the dialler's side and the listener's.
func (p *pair) open() (dialled, accepted transports.Stream) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	p.label++
	type result struct {
		s   transports.Stream
		err error
	}
	got := make(chan result, 1)
	go func() {
		s, err := p.b.Accept(ctx)
		got <- result{s, err}
	}()
	d, err := p.a.Dial(ctx, p.b.Offer(), p.label)
	if err != nil {
		cancel()
		<-got
		p.t.Fatalf("Dial: %v", err)
	}
	r := <-got
	if r.err != nil {
		p.t.Fatalf("Accept: %v", r.err)
	}
	if d.ID() != p.label || r.s.ID() != p.label {
		p.t.Errorf("ID = %d, %d, want %d", d.ID(), r.s.ID(), p.label)
	}
	return p.keep(d), p.keep(r.s)
}

// pattern fills b with what only frame n of stream seed has.
func pattern(b []byte, seed, n uint64) {
	r := rand.New(rand.NewPCG(seed, n))
	i := 0
	for ; i+8 <= len(b); i += 8 {
		v := r.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	for ; i < len(b); i++ {
		b[i] = byte(r.Uint64())
	}
}

func sendAll(s transports.Stream, seed uint64, sizes []int) error {
	f := transports.NewFrame(MaxBody)
	for i, n := range sizes {
		f.Reset()
		pattern(f.Resize(n), seed, uint64(i))
		if err := s.Send(f); err != nil {
			return fmt.Errorf("sending frame %d: %w", i, err)
		}
	}
	return nil
}

func recvAll(s transports.Stream, seed uint64, sizes []int) error {
	f := transports.NewFrame(MaxBody)
	want := make([]byte, MaxBody)
	for i, n := range sizes {
		if err := s.Recv(f); err != nil {
			return fmt.Errorf("receiving frame %d: %w", i, err)
		}
		pattern(want[:n], seed, uint64(i))
		if !bytes.Equal(f.Body(), want[:n]) {
			return fmt.Errorf("frame %d: %d bytes differ from the %d sent", i, len(f.Body()), n)
		}
	}
	return nil
}

// both runs f and g at the same time and reports their errors.
func both(t *testing.T, fs ...func() error) {
	t.Helper()
	errs := make(chan error, len(fs))
	for _, f := range fs {
		go func() { errs <- f() }()
	}
	for range fs {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func testSizes(t *testing.T, p *pair) {
	sizes := []int{0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 1000, 4095, 4096, 65535, 65536, 65537, MaxBody - 1, MaxBody, 0, 0, MaxBody, 0, 5}
	d, a := p.open()
	both(t, func() error { return sendAll(d, 1, sizes) }, func() error { return recvAll(a, 1, sizes) })
	both(t, func() error { return sendAll(a, 2, sizes) }, func() error { return recvAll(d, 2, sizes) })
}

func randomSizes(seed uint64, n, most int) []int {
	r := rand.New(rand.NewPCG(seed, 99))
	sizes := make([]int, n)
	for i := range sizes {
		if sizes[i] = r.IntN(200); r.IntN(4) == 0 {
			sizes[i] = r.IntN(most + 1)
		}
	}
	return sizes
}

func testOrder(t *testing.T, p *pair) {
	d, a := p.open()
	sizes := randomSizes(1, 400, MaxBody)
	both(t, func() error { return sendAll(d, 3, sizes) }, func() error { return recvAll(a, 3, sizes) })
}

func testDuplex(t *testing.T, p *pair) {
	d, a := p.open()
	there, back := randomSizes(2, 200, MaxBody), randomSizes(3, 200, MaxBody)
	both(t,
		func() error { return sendAll(d, 4, there) }, func() error { return recvAll(a, 4, there) },
		func() error { return sendAll(a, 5, back) }, func() error { return recvAll(d, 5, back) })
}

func testStreams(t *testing.T, p *pair) {
	const n = 16
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var fs []func() error
	for label := uint32(100); label < 100+n; label++ {
		fs = append(fs, func() error {
			s, err := p.a.Dial(ctx, p.b.Offer(), label)
			if err != nil {
				return fmt.Errorf("dialing stream %d: %w", label, err)
			}
			p.keep(s)
			return sendAll(s, uint64(label), randomSizes(uint64(label), 30, 100_000))
		}, func() error {
			s, err := p.b.Accept(ctx)
			if err != nil {
				return fmt.Errorf("accepting: %w", err)
			}
			p.keep(s)
			return recvAll(s, uint64(s.ID()), randomSizes(uint64(s.ID()), 30, 100_000))
		})
	}
	both(t, fs...)
}

// testLabels: a label belongs to one stream of a job for ever.
func testLabels(t *testing.T, p *pair) {
	d, a := p.open()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if s, err := p.a.Dial(ctx, p.b.Offer(), d.ID()); err == nil {
		p.keep(s)
		late := time.AfterFunc(promptly, func() { s.Close() })
		defer late.Stop()
		if err := s.Recv(transports.NewFrame(MaxBody)); err == nil || errors.Is(err, net.ErrClosed) {
			t.Error("a second stream with the label of the first lives")
		}
	}
	sizes := []int{1, 2, 3}
	both(t, func() error { return sendAll(d, 6, sizes) }, func() error { return recvAll(a, 6, sizes) })
}

// promptly bounds what takes no time, on a machine that has much else to do; it is less
// than any time after which a transport gives something up by itself.
const promptly = 4 * time.Second

// within fails if f does not end promptly.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(promptly):
		t.Fatalf("%s: not within %v", what, promptly)
	}
}

// stuck sends until something stops it and tells what.
func stuck(s transports.Stream, sent chan<- struct{}) error {
	f := transports.NewFrame(MaxBody)
	for {
		f.Resize(MaxBody)
		if err := s.Send(f); err != nil {
			return err
		}
		select {
		case sent <- struct{}{}:
		default:
		}
	}
}

func testCloseStream(t *testing.T, p *pair) {
	d, _ := p.open()
	sent, errs := make(chan struct{}, 1), make(chan error, 2)
	go func() { errs <- stuck(d, sent) }()
	go func() { errs <- d.Recv(transports.NewFrame(MaxBody)) }()
	<-sent
	within(t, "unblocking by Close", func() {
		d.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("blocked call: %v, want net.ErrClosed", err)
			}
		}
	})
	f := transports.NewFrame(MaxBody)
	first := d.Send(f)
	for range 3 {
		if err := d.Send(f); err == nil || err != first {
			t.Errorf("Send after Close: %v, want %v again", err, first)
		}
		if err := d.Recv(f); err == nil || err != first {
			t.Errorf("Recv after Close: %v, want %v again", err, first)
		}
	}
	d.Close()
	d.Stats()
}

func testCloseEndpoint(t *testing.T, p *pair) {
	d, a := p.open()
	errs := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		_, err := p.b.Accept(context.Background())
		errs <- err
	}()
	<-started
	within(t, "unblocking Accept", func() {
		p.b.Close()
		p.a.Close()
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v, want net.ErrClosed", err)
		}
	})
	within(t, "calls after Close", func() {
		if _, err := p.b.Accept(context.Background()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
		}
		if _, err := p.a.Dial(context.Background(), p.b.Offer(), 9); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Dial after Close: %v, want net.ErrClosed", err)
		}
		p.b.Close()
	})
	sizes := []int{0, 10, MaxBody}
	both(t, func() error { return sendAll(d, 7, sizes) }, func() error { return recvAll(a, 7, sizes) })
}

func testOtherEnd(t *testing.T, p *pair) {
	d, a := p.open()
	d2, a2 := p.open()
	if err := sendAll(d, 8, []int{100}); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if err := recvAll(a, 8, []int{100}); err != nil {
		t.Fatalf("what was sent before the end: %v", err)
	}
	f := transports.NewFrame(MaxBody)
	within(t, "noticing the end", func() {
		first := a.Recv(f)
		if first == nil {
			t.Fatal("Recv from a closed stream: no error")
		}
		if errors.Is(first, transports.ErrDamaged) || errors.Is(first, net.ErrClosed) {
			t.Errorf("Recv from a stream which the other end closed: %v", first)
		}
		if err := a.Send(f); err != first {
			t.Errorf("Send on the dead stream: %v, want %v", err, first)
		}
	})
	sizes := []int{5, 6}
	both(t, func() error { return sendAll(d2, 9, sizes) }, func() error { return recvAll(a2, 9, sizes) })
}

func testTooLong(t *testing.T, p *pair) {
	d, _ := p.open()
	f := transports.NewFrame(MaxBody + 1)
	f.Resize(MaxBody + 1)
	if err := d.Send(f); err == nil {
		t.Error("a frame beyond MaxBody was sent")
	}
	d, a := p.open()
	if err := sendAll(d, 1, []int{1000}); err != nil {
		t.Fatal(err)
	}
	if err := a.Recv(transports.NewFrame(999)); err == nil {
		t.Error("a frame was received into one too short for it")
	}
}

func testStats(t *testing.T, p *pair) {
	d, a := p.open()
	sizes := randomSizes(5, 100, MaxBody)
	var total int64
	for _, n := range sizes {
		total += int64(n)
	}
	done := make(chan struct{})
	watched := make(chan error, 1)
	go func() {
		var last transports.Stats
		for {
			st := d.Stats()
			if st.SentBytes < last.SentBytes || st.Retrans < last.Retrans || st.SendBlocked < last.SendBlocked || st.RwndLimited < last.RwndLimited {
				watched <- fmt.Errorf("counters went back from %+v to %+v", last, st)
				return
			}
			last = st
			select {
			case <-done:
				watched <- nil
				return
			default:
			}
		}
	}()
	both(t, func() error { return sendAll(d, 10, sizes) }, func() error { return recvAll(a, 10, sizes) })
	close(done)
	if err := <-watched; err != nil {
		t.Error(err)
	}
	sd, sa := d.Stats(), a.Stats()
	if sd.SentBytes < total || sd.SentBytes > total+int64(len(sizes)*(transports.Headroom+transports.Tailroom)) {
		t.Errorf("SentBytes = %d for %d bytes of bodies", sd.SentBytes, total)
	}
	if sa.RecvBytes != sd.SentBytes {
		t.Errorf("RecvBytes = %d, want the %d sent", sa.RecvBytes, sd.SentBytes)
	}
	d.Close()
	if st := d.Stats(); st.SentBytes != sd.SentBytes {
		t.Errorf("SentBytes after Close = %d, want %d", st.SentBytes, sd.SentBytes)
	}
}

func testRetune(t *testing.T, p *pair) {
	d, a := p.open()
	for _, s := range []transports.Settings{{}, {Window: 256 << 10}, {PacingRate: 4 << 30}} {
		if err := d.Retune(s); err != nil {
			t.Errorf("Retune(%+v): %v", s, err)
		}
		sizes := []int{10, MaxBody, 0}
		both(t, func() error { return sendAll(d, 11, sizes) }, func() error { return recvAll(a, 11, sizes) })
	}
	if err := d.Retune(transports.Settings{Window: -1}); err == nil {
		t.Error("a window below zero was taken")
	}
}

func testCancel(t *testing.T, p *pair) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	within(t, "cancelled calls", func() {
		if _, err := p.b.Accept(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Accept: %v, want context.Canceled", err)
		}
		if _, err := p.a.Dial(ctx, p.b.Offer(), 77); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial: %v, want context.Canceled", err)
		}
	})
	if _, err := p.a.Dial(t.Context(), transports.Offer{}, 78); err == nil || strings.Contains(err.Error(), "%!") {
		t.Errorf("Dial of an empty offer: %v", err)
	}
	p.open()
}
