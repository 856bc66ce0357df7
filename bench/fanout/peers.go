package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
	"github.com/gomover/gomover/internal/payload"
)

// copyLimit is how long a copy by another program may take.
const copyLimit = 4 * time.Minute

// copy copies the payload to hosts with a program, to all at once, and gives the
// seconds of the whole command and the sender's processor seconds.
func (n *network) copy(ctx context.Context, to []*ground.Host, name string) (seconds, cpu float64, err error) {
	return n.peer(ctx, to, name, peer.Settings{AtOnce: len(to) > 1})
}

// peer is copy with settings.
func (n *network) peer(ctx context.Context, to []*ground.Host, name string, s peer.Settings) (seconds, cpu float64, err error) {
	program, ok := peer.Named(name)
	if !ok {
		return 0, 0, fmt.Errorf("no program %s", name)
	}
	t := peer.Transfer{
		Source: n.payload(), Size: n.size, Work: filepath.Join(n.dir, "work"), Interface: ground.Interface(n.Hosts[0].PID), RateBits: upRate,
		Config: n.Config(), From: []peer.Host{{Name: n.Hosts[0].Name, Address: n.Hosts[0].Address}}, Mover: []string{n.b.mover, "--progress=none"},
	}
	for _, h := range to {
		t.To = append(t.To, peer.Host{Name: h.Name, Address: h.Address})
		t.Dirs = append(t.Dirs, filepath.Join(n.dir, "to-"+h.Name))
	}
	places := append([]string{t.Work}, t.Dirs...)
	defer func() {
		for _, dir := range places {
			os.RemoveAll(dir)
		}
	}()
	plan := program.Plan(t, s)
	for _, dir := range append(places, plan.Dirs...) {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return 0, 0, err
		}
	}
	var servers []*ground.Server
	for _, one := range plan.Servers {
		servers = append(servers, &ground.Server{Host: n.Host(one.Host), Args: one.Args, Protocol: one.Protocol, Port: one.Port, Ends: one.Ends})
	}
	ends, stop, err := n.Serve(ctx, servers)
	defer stop()
	if err != nil {
		return 0, 0, err
	}
	u, err := n.Timed(ctx, ground.Run{Host: n.Hosts[0], Args: plan.Client.Args, Before: n.Emulator.Reset, Then: ends, Limit: copyLimit})
	if err != nil {
		return 0, 0, err
	}
	if _, err := n.Emulator.Counters(ctx); err != nil {
		return 0, 0, err
	}
	for _, dir := range t.Dirs {
		if err := payload.SameFile(n.payload(), filepath.Join(dir, filepath.Base(n.payload()))); err != nil {
			return 0, 0, fmt.Errorf("%s: what arrived is not what was sent: %w", name, err)
		}
	}
	return u.Wall.Seconds(), u.CPU[0].Seconds(), nil
}

// same compares what a copy of once has brought, and removes it.
func (n *network) same(to *ground.Host) error {
	path := filepath.Join(n.dir, "to-"+to.Name)
	defer os.Remove(path)
	return payload.SameFile(n.payload(), path)
}

// empty is how many seconds a copy of an empty file takes.
func (n *network) empty(ctx context.Context, to *ground.Host) (float64, error) {
	file := filepath.Join(n.dir, "empty")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return 0, err
	}
	u, err := n.Timed(ctx, ground.Run{Host: n.Hosts[0], Args: []string{n.b.mover, "--progress=none", file, to.Name + ":" + file + ".copy"}})
	return u.Wall.Seconds(), err
}

// losses are those of the row peers, in percent.
var losses = []string{"0", "0.1", "1"}

// others are the programs of the row peers.
var others = []string{"UFTP", "udpcast"}

// rowPeers runs each of the others as it is fastest with a short file at 0.1% of loss;
// the rate of UFTP is set by hand. They are started at the receivers before, as the ends
// of a session are; one command of gomover, which logs in, is for reference.
func rowPeers(ctx context.Context, b *bench) error {
	const k = 4
	n, err := b.start(ctx, tryBytes)
	if err != nil {
		return err
	}
	to := n.Hosts[1 : 1+k]
	if err := n.warm(ctx, to); err != nil {
		return err
	}
	if err := n.Emulator.Set(ctx, "all.down", "loss=0.1%"); err != nil {
		return err
	}
	chosen := map[string]peer.Settings{}
	for _, name := range others {
		if chosen[name], err = n.fastest(ctx, to, name); err != nil {
			return err
		}
	}
	if err := n.fill(ctx, b.Size(peerBytes)); err != nil {
		return err
	}
	for _, loss := range losses {
		if err := n.Emulator.Set(ctx, "all.down", "loss="+loss+"%"); err != nil {
			return err
		}
		if err := n.beside(ctx, to, loss, chosen); err != nil {
			return err
		}
	}
	return n.Emulator.Set(ctx, "all", "loss=0")
}

// fastest tries all ways to run a program.
func (n *network) fastest(ctx context.Context, to []*ground.Host, name string) (best peer.Settings, err error) {
	program, _ := peer.Named(name)
	least := 0.0
	for _, variant := range program.Variants {
		s := peer.Settings{Variant: variant}
		took, _, err := n.peer(ctx, to, name, s)
		switch {
		case ctx.Err() != nil:
			return best, ctx.Err()
		case err != nil:
			n.b.Note("tried %s, %s: %s", name, variant, ground.OneLine(err))
			continue
		}
		n.b.Note("tried %s, %s: %.2f s", name, variant, took)
		if least == 0 || took < least {
			best, least = s, took
		}
	}
	if least == 0 {
		return best, fmt.Errorf("%s brings nothing to all in any way", name)
	}
	return best, nil
}

// beside compares with the others at one share of losses.
func (n *network) beside(ctx context.Context, to []*ground.Host, loss string, chosen map[string]peer.Settings) error {
	b, row := n.b, fmt.Sprintf("peers, %s%% loss", loss)
	var ours, command ground.Samples
	theirs := map[string]ground.Samples{}
	for range b.Rounds {
		o, err := n.send(ctx, to, disturbance{})
		if err != nil {
			return err
		}
		n.tell(loss+"% loss", o)
		w, err := n.whole(ctx, to)
		if err != nil {
			return err
		}
		ours, command = append(ours, o.wall), append(command, w.wall)
		for _, name := range others {
			took, _, err := n.peer(ctx, to, name, chosen[name])
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				b.Note("%s, %s: %s", name, chosen[name].Variant, ground.OneLine(err))
				continue
			}
			theirs[name] = append(theirs[name], took)
		}
	}
	b.Show(row+", ours", "%.2f", " s", ours)
	b.Show(row+", gomover with login", "%.2f", " s", command)
	for _, name := range others {
		if len(theirs[name]) == 0 {
			b.Claim(row+", "+name, "it did not bring all to all", "<= 1 x", nil)
			continue
		}
		text := fmt.Sprintf(" x (%s %s takes %.2f s)", name, chosen[name].Variant, theirs[name].Median())
		b.AtMost(row+", by "+name, "%.3f", text, "<= 1 x", 1, ground.Samples{ours.Median() / theirs[name].Median()})
	}
	return nil
}
