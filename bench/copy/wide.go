package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// roundTrip is that of the wide-area rows.
const roundTrip = 100 * time.Millisecond

func rowWAN(ctx context.Context, b *bench) error { return b.wide(ctx, "wan", wanLink, 0.88) }

func rowLossy(ctx context.Context, b *bench) error { return b.wide(ctx, "lossy", lossyLink, 0.80) }

// wide measures one large file over an emulated link.
func (b *bench) wide(ctx context.Context, name string, l link, bar float64) error {
	g, err := b.emulated(ctx, l)
	if err != nil {
		return err
	}
	defer g.Close()
	size := b.Size(2 << 30)
	src, dst := filepath.Join(b.Dir, "src"), filepath.Join(b.Dir, "dst")
	if err := payload.MakeFile(ctx, src, size, 1); err != nil {
		return err
	}
	defer os.Remove(src)
	var share, foreign ground.Samples
	var notes []string
	for !share.Settled(b.Rounds, settledWithin) {
		var check func(int64) (load, error)
		u, err := g.steady(ctx, dst, func(ctx context.Context) (err error) {
			check, err = carried(ctx, g)
			return err
		}, g.mover(src, g.target(dst))...)
		if err != nil {
			return err
		}
		carried, err := check(size)
		if err != nil {
			return err
		}
		if err := payload.SameFile(src, dst); err != nil {
			return err
		}
		if err := os.Remove(dst); err != nil {
			return err
		}
		b.peak(name, u)
		share = append(share, 100*rate(size, u.wall)/payloadRate)
		foreign = append(foreign, u.foreign)
		notes = append(notes, fmt.Sprintf("%.2f s, %d streams, %.1f s of CPU at both ends, others %.2f processors, the link carried %.3f times the payload and lost %d packets",
			u.wall.Seconds(), u.streams, u.cpu.Seconds(), u.foreign, float64(carried.bytes)/float64(size), carried.drops))
	}
	b.Add(ground.Result{
		Row: name, Figure: share.Text("%.1f", "% of the payload rate"), Bar: fmt.Sprintf(">= %.0f%%", 100*bar),
		Value: share.Median(), Limit: 100 * bar, Samples: share, Notes: append(notes, noise(name, foreign)...),
		Pass: share.Median() >= 100*bar,
	})
	if !b.peers {
		return nil
	}
	if l.loss > 0 {
		return b.widePeers(ctx, g, name, size/32) // a single stream crawls there
	}
	return b.widePeers(ctx, g, name, size/4)
}

// widePeers runs what others would use once each, over the same link.
func (b *bench) widePeers(ctx context.Context, g *ends, name string, size int64) error {
	src, dst := filepath.Join(b.Dir, "src"), filepath.Join(b.Dir, "dst")
	if err := os.Truncate(src, size); err != nil {
		return err
	}
	peers := []struct {
		name string
		args []string
	}{
		{"gomover", g.mover(src, g.target(dst))},
		{"scp", []string{"scp", "-q", "-F", g.Config(), "-c", "aes128-gcm@openssh.com", src, g.target(dst)}},
		{"rsync", []string{"rsync", "-W", "--inplace", "-e", "ssh -F " + g.Config() + " -c aes128-gcm@openssh.com", src, g.target(dst)}},
	}
	for _, p := range peers {
		u, err := g.timed(ctx, p.args...)
		if err != nil {
			return err
		}
		if err := payload.SameFile(src, dst); err != nil {
			return err
		}
		os.Remove(dst)
		b.Add(ground.Result{
			Row: name + ", " + p.name, Figure: fmt.Sprintf("%.1f%% of the payload rate (%d MiB, once)", 100*rate(size, u.wall)/payloadRate, size>>20),
			Bar: "reference", Value: 100 * rate(size, u.wall) / payloadRate, Reference: true,
		})
	}
	for _, cc := range []string{"cubic", "bbr"} {
		out, err := b.iperf(ctx, g, farHost, "-P", "8", "-C", cc, "-t", "15")
		if err != nil {
			return err
		}
		b.Add(ground.Result{
			Row: name + ", iperf3", Figure: fmt.Sprintf("%.1f%% of the payload rate (8 streams, %s, 15 s with the start)", 100*out.rate/payloadRate, cc),
			Bar: "reference", Value: 100 * out.rate / payloadRate, Reference: true,
		})
	}
	return nil
}

// flow is what iperf3 found.
type flow struct {
	bytes int64   // received
	rate  float64 // bytes per second at the receiver
	cpu   time.Duration
}

// iperf runs iperf3 from the near to the far end. It is tried again when it ends
// without a figure, as it does now and then on a busy machine.
func (b *bench) iperf(ctx context.Context, g *ends, host string, args ...string) (f flow, err error) {
	for range 4 {
		if f, err = b.iperfOnce(ctx, g, host, args...); ctx.Err() != nil || err == nil && f.bytes > 0 {
			break
		}
	}
	if err == nil && f.bytes == 0 {
		err = errors.New("iperf3 moved nothing")
	}
	return f, err
}

func (b *bench) iperfOnce(ctx context.Context, g *ends, host string, args ...string) (f flow, err error) {
	if err := g.Settle(ctx); err != nil {
		return f, err
	}
	server := g.command(ctx, true, "iperf3", "-s", "-1")
	cpu := g.cpu()
	if err := server.Start(); err != nil {
		return f, fmt.Errorf("starting iperf3: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); server.Wait() }()
	defer func() { server.Process.Kill(); <-ended }()
	var out []byte
	for range 20 { // until the server listens
		if out, err = g.command(ctx, false, append([]string{"iperf3", "-J", "-c", host}, args...)...).Output(); err == nil {
			break
		}
		if err := ground.Wait(ctx, 50*time.Millisecond); err != nil {
			return f, err
		}
	}
	if err != nil {
		return f, fmt.Errorf("iperf3: %w: %s", err, ground.Tail(string(out)))
	}
	var report struct {
		End struct {
			Received struct {
				Bytes int64   `json:"bytes"`
				Rate  float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return f, fmt.Errorf("reading iperf3's report: %w", err)
	}
	select { // a server of one test does not always leave after it
	case <-ended:
	case <-time.After(time.Second):
		server.Process.Kill()
	}
	if err := g.Settle(ctx); err != nil {
		return f, err
	}
	return flow{report.End.Received.Bytes, report.End.Received.Rate / 8, g.cpu() - cpu}, nil
}

// rowSmall compares one tiny file with a login that does nothing.
func rowSmall(ctx context.Context, b *bench) error {
	g, err := b.emulated(ctx, wanLink)
	if err != nil {
		return err
	}
	defer g.Close()
	rounds := 10 // cheap enough for a good median
	if b.Scale < 1 {
		rounds = 3
	}
	src := filepath.Join(b.Dir, "small")
	if err := payload.MakeFile(ctx, src, 1024, 2); err != nil {
		return err
	}
	defer os.Remove(src)
	times := map[string]ground.Samples{}
	var ratio ground.Samples
	for i := range rounds {
		dst := filepath.Join(b.Dir, fmt.Sprintf("small.%d", i))
		check, err := carried(ctx, g)
		if err != nil {
			return err
		}
		u, err := g.timed(ctx, g.mover(src, g.target(dst))...)
		if err != nil {
			return err
		}
		if _, err := check(1024); err != nil {
			return err
		}
		if err := payload.SameFile(src, dst); err != nil {
			return err
		}
		os.Remove(dst)
		b.peak("small", u)
		login, err := g.timed(ctx, "ssh", "-F", g.Config(), g.far.Name, "true")
		if err != nil {
			return err
		}
		times["gomover"] = append(times["gomover"], u.wall.Seconds())
		times["ssh host true"] = append(times["ssh host true"], login.wall.Seconds())
		ratio = append(ratio, (u.wall-3*roundTrip).Seconds()/login.wall.Seconds())
	}
	value := (times["gomover"].Median() - 3*roundTrip.Seconds()) / times["ssh host true"].Median()
	b.Add(ground.Result{
		Row: "small", Figure: fmt.Sprintf("%.2f x ssh host true, + 3 RTT (%s)", value, seconds([]string{"gomover", "ssh host true"}, times)),
		Bar: "<= 1.3 x, + 3 RTT", Value: value, Limit: 1.3, Samples: ratio, Pass: value <= 1.3,
	})
	return nil
}
