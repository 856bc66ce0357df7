package pull_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/replica/pull"
)

// host is a place that tells the sums of its blocks.
type host struct {
	*memory
	slow  time.Duration // a request for sums takes
	other []byte        // it tells the sums of this instead
	fails func() error  // before sums are told
}

func (h *host) sum(block, b int64) integrity.Sum {
	data := h.data
	if h.other != nil {
		data = h.other
	}
	off := b * block
	return integrity.Block(data[off:min(int64(len(data)), off+block)], off, int64(len(data)))
}

func (h *host) Sums(ctx context.Context, block, first int64, count int) (sums []integrity.Sum, err error) {
	if h.fails != nil {
		if err := h.fails(); err != nil {
			return nil, err
		}
	}
	select {
	case <-time.After(h.slow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for b := first; b < first+int64(count); b++ {
		sums = append(sums, h.sum(block, b))
	}
	return sums, nil
}

func (h *host) Attest(ctx context.Context, block int64) pull.Pipe {
	return &hostPipe{ctx: ctx, h: h, block: block}
}

// hostPipe is one connection to a host.
type hostPipe struct {
	ctx   context.Context
	h     *host
	block int64
	asked [][2]int64
}

func (p *hostPipe) Ask(offset, n int64) error {
	p.asked = append(p.asked, [2]int64{offset, n})
	return nil
}

func (p *hostPipe) Next() (io.Reader, error) {
	r, err := p.h.Range(p.ctx, p.asked[0][0], p.asked[0][1])
	p.asked = p.asked[1:]
	return &attested{r, p.h, p.block}, err
}

func (p *hostPipe) Close() error { return nil }

type attested struct {
	io.Reader
	h     *host
	block int64
}

func (a *attested) Sum(offset int64) (integrity.Sum, bool) {
	return a.h.sum(a.block, offset/a.block), true
}

// pull pulls f from places called a, b, c ...
func (b *bench) pull(ctx context.Context, j pull.Job, places ...pull.Source) (pull.Result, error) {
	b.t.Helper()
	for i, s := range places {
		j.Places = append(j.Places, pull.Place{Name: string(rune('a' + i)), Source: s})
	}
	j.Dest, j.Name = b.dest, "f"
	j.Warn = func(_, text string) {
		b.mu.Lock()
		b.said = append(b.said, text)
		b.more.Broadcast()
		b.mu.Unlock()
	}
	return pull.New(j).Run(ctx)
}

func at(m *memory) *host { return &host{memory: m} }

// TestHostsAgree: hosts that tell sums find out among themselves who is wrong.
func TestHostsAgree(t *testing.T) {
	root := integrity.Whole(content).String()
	const mib = 1 << 20
	for _, test := range []struct {
		name   string
		job    pull.Job
		places func() []pull.Source
		out    string // who is left out, with a colon behind and what is said of it
		err    error
		how    string // verified
	}{
		{"two good ones", pull.Job{}, func() []pull.Source { return []pull.Source{at(good()), at(good())} }, "", nil, "blocks"},
		{"one alone", pull.Job{}, func() []pull.Source { return []pull.Source{at(good())} }, "", nil, "wire"},
		{"one of three has a flipped byte", pull.Job{}, func() []pull.Source { return []pull.Source{at(good()), at(changed(3 * mib)), at(good())} },
			"b: same size, but what it has at 3145728 differs", nil, "blocks"},
		{"and tells sums late", pull.Job{}, func() []pull.Source {
			bad := at(changed(3 * mib))
			bad.slow = 300 * time.Millisecond
			return []pull.Source{at(good()), bad, at(good())}
		}, "", nil, "blocks"},
		{"the others tell sums late", pull.Job{}, func() []pull.Source {
			x, y := at(good()), at(good())
			x.slow, y.slow = 300*time.Millisecond, 400*time.Millisecond
			return []pull.Source{x, at(stale()), y}
		}, "b: same size", nil, "blocks"},
		{"two that differ", pull.Job{}, func() []pull.Source { return []pull.Source{at(good()), at(changed(3 * mib))} }, "", replica.ErrDisagree, ""},
		{"a mirror decides", pull.Job{}, func() []pull.Source { return []pull.Source{at(good()), at(changed(3 * mib)), good()} }, "b: same size", nil, "blocks"},
		{"a hash decides", pull.Job{Check: pull.Check{Root: root}}, func() []pull.Source { return []pull.Source{at(changed(3 * mib)), at(good())} }, "a: same size", nil, "hash"},
		{"the user decides", pull.Job{Prefer: 2}, func() []pull.Source { return []pull.Source{at(changed(3 * mib)), at(good())} }, "a: same size", nil, "blocks"},
		{"a mirror has a flipped byte", pull.Job{}, func() []pull.Source { return []pull.Source{at(good()), changed(3 * mib)} }, "", nil, "blocks"},
		{"a mirror is stale", pull.Job{}, func() []pull.Source {
			slow := at(good())
			slow.ranged = func(ctx context.Context, _, _ int64) error { time.Sleep(100 * time.Millisecond); return nil }
			return []pull.Source{slow, stale()}
		}, "", nil, "blocks"},
		{"one is truncated", pull.Job{}, func() []pull.Source {
			return []pull.Source{at(good()), at(&memory{data: content[:3*mib]}), at(good())}
		}, "b: size 3145728, the others have", nil, "blocks"},
		{"one sends other bytes than it has sums of", pull.Job{}, func() []pull.Source {
			liar := at(stale())
			liar.other = content
			slow := at(good())
			slow.ranged = func(ctx context.Context, _, _ int64) error { time.Sleep(100 * time.Millisecond); return nil }
			return []pull.Source{liar, slow}
		}, "a: sends wrong bytes", nil, "blocks"},
		{"all wrong", pull.Job{Check: pull.Check{Root: root}}, func() []pull.Source { return []pull.Source{at(changed(5)), at(stale())} }, "b: same size", replica.ErrNoReplica, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			places := test.places()
			name, why, out := strings.Cut(test.out, ":")
			if test.name == "one of three has a flipped byte" {
				// Else two might bring and vouch for all before the third one was heard.
				for _, i := range []int{0, 2} {
					b.await(places[i].(*host).memory, []string{name + " left out:" + why})
				}
			}
			r, err := b.pull(t.Context(), test.job, places...)
			if test.err != nil {
				if !errors.Is(err, test.err) {
					t.Errorf("%v, want %v", err, test.err)
				}
			} else {
				b.right(r, err)
				if r.Verified != test.how || r.Hash != integrity.Whole(content) {
					t.Errorf("verified by %s, hash %s", r.Verified, r.Hash)
				}
			}
			if out && !b.told(name+" left out:"+why) {
				t.Errorf("%q does not say %s", b.said, test.out)
			}
		})
	}
}

// TestHostDies: who is gone is not waited for, and what it said counts.
func TestHostDies(t *testing.T) {
	b := newBench(t)
	dead := make(chan struct{})
	dies := at(good())
	dies.ranged = func(context.Context, int64, int64) error {
		select {
		case <-dead:
			return final("gone")
		default:
			close(dead)
			return nil
		}
	}
	dies.slow = time.Hour
	r, err := b.pull(t.Context(), pull.Job{}, dies, at(good()))
	b.right(r, err)
}

// TestHostComesBack: all is here, and the only one who could tell whether it is
// right is away for a while.
func TestHostComesBack(t *testing.T) {
	b := newBench(t)
	h := at(good())
	broken := 0
	h.fails = func() error {
		if broken++; broken < 3 {
			return errors.New("connection lost")
		}
		return nil
	}
	r, err := b.pull(t.Context(), pull.Job{Streams: 1}, h, good())
	b.right(r, err)
}

// TestResumeAmongHosts: what an earlier run left is compared with what the hosts of
// this one say.
func TestResumeAmongHosts(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	old := stale()
	old.ranged = func(ctx context.Context, off, n int64) error {
		if off > 3<<20 {
			cancel()
			<-ctx.Done()
		}
		return nil
	}
	if _, err := b.pull(ctx, pull.Job{}, at(old), at(old)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	t.Log("# the same hosts: it goes on")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.pull(cancelled, pull.Job{}, at(old), at(old)); err == nil {
		t.Fatal("done without a source")
	}
	t.Log("# two others with another version: nothing of the old one is left")
	x, y := good(), good()
	r, err := b.pull(t.Context(), pull.Job{}, at(x), at(y))
	b.right(r, err)
	if r.Had != 0 && !bytes.Equal(x.data, content) {
		t.Errorf("%d bytes were kept", r.Had)
	}
	t.Log("# and with the same content only what lacks is fetched")
	b = newBench(t)
	ctx, cancel = context.WithCancel(t.Context())
	first := good()
	first.ranged = func(ctx context.Context, off, n int64) error {
		if off > 3<<20 {
			cancel()
			<-ctx.Done()
		}
		return nil
	}
	if _, err := b.pull(ctx, pull.Job{Streams: 1}, at(first), at(first)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	x, y = good(), good()
	r, err = b.pull(t.Context(), pull.Job{}, at(x), at(y))
	b.right(r, err)
	if x.given+y.given+r.Had > int64(len(content))+1<<20 || r.Had == 0 {
		t.Errorf("%d bytes were here, %d were fetched", r.Had, x.given+y.given)
	}
}
