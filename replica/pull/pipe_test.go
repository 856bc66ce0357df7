package pull_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/replica/pull"
)

// uneven is a place whose connections get very different parts of its path.
type uneven struct {
	*memory
	rates   []float64 // of connections in the order in which they are made, bytes per second
	latency time.Duration
	plain   bool // there are no pipes

	mu    sync.Mutex
	made  int
	early int // requests that came before the answers to earlier ones had ended
}

func (u *uneven) Pipe(ctx context.Context) pull.Pipe {
	if u.plain {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.made++
	return &unevenPipe{u: u, ctx: ctx, rate: u.rates[(u.made-1)%len(u.rates)]}
}

// unevenPipe answers in order; what is not asked for early waits for its latency.
type unevenPipe struct {
	u     *uneven
	ctx   context.Context
	rate  float64
	asked []io.ReadCloser
	from  []time.Time // when their answers may begin
	free  time.Time   // when the answer before has come
	body  io.Reader
}

func (p *unevenPipe) Ask(offset, n int64) error {
	r, err := p.u.Range(p.ctx, offset, n)
	if err != nil {
		return err
	}
	if p.body != nil || len(p.asked) > 0 {
		p.u.mu.Lock()
		p.u.early++
		p.u.mu.Unlock()
	}
	p.asked, p.from = append(p.asked, r), append(p.from, time.Now().Add(p.u.latency))
	return nil
}

func (p *unevenPipe) Next() (io.Reader, error) {
	if p.free.Before(p.from[0]) {
		p.free = p.from[0]
	}
	p.body, p.asked, p.from = p.asked[0], p.asked[1:], p.from[1:]
	return p, nil
}

// Read waits until the path has carried what it gives.
func (p *unevenPipe) Read(b []byte) (int, error) {
	n, err := p.body.Read(b[:min(len(b), 10_000)])
	p.free = p.free.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	select {
	case <-time.After(time.Until(p.free)):
	case <-p.ctx.Done():
		return 0, p.ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		p.body = nil
	}
	return n, err
}

func (p *unevenPipe) Close() error { return nil }

func TestUnevenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		u := &uneven{memory: good(), rates: []float64{800e3, 100e3, 50e3, 50e3}, latency: 100 * time.Millisecond}
		began := time.Now()
		j := pull.Job{Check: pieces(), Places: []pull.Place{{Name: "u", Source: u}}}
		r, err := b.run(t.Context(), j)
		if err != nil || r.Places[0].Bytes != int64(len(content)) {
			t.Fatalf("%+v, %v", r, err)
		}
		b.same()
		// What the slow ones were asked for before that was known goes to the fast one.
		if took, best := time.Since(began).Seconds(), float64(len(content))/1e6; took > 1.3*best {
			t.Errorf("%.2f s, the connections together can do it in %.2f s", took, best)
		}
		if u.made < 4 || u.made > 8 || u.early == 0 {
			t.Errorf("%d connections, %d early requests", u.made, u.early)
		}
	})
}

func TestNoPipes(t *testing.T) {
	b := newBench(t)
	j := pull.Job{Check: pieces(), Places: []pull.Place{{Name: "u", Source: &uneven{memory: good(), plain: true}}}}
	if r, err := b.run(t.Context(), j); err != nil || r.Places[0].Bytes != int64(len(content)) {
		t.Fatalf("%+v, %v", r, err)
	}
	b.same()
}

// same compares what was pulled.
func (b *bench) same() {
	b.t.Helper()
	got, err := os.ReadFile(filepath.Join(b.dir, "f"))
	if err != nil || string(got) != string(content) {
		b.t.Errorf("%d bytes came that are not the right ones, %v", len(got), err)
	}
}
