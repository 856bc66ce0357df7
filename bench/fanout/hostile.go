package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/gomover/gomover/bench/ground"
)

// Of the row hostile.
const (
	hostileSize  = 50e6
	hostileCount = 8        // receivers
	damage       = "2%"     // of all packets, so that their checksums still fit
	wholePorts   = "50000-" // of the agents, for a command
	wholeGroup   = "50009"  // of the group, for a command: the last one of them
)

// rowHostile has one more host in the group that forges and repeats, around a session with
// damage on all links, and around a whole command. That without damage: TCP takes it for
// good, and the first such packet breaks ssh off, amid a login, too.
func rowHostile(ctx context.Context, b *bench) error {
	n, err := b.start(ctx, hostileSize)
	if err != nil {
		return err
	}
	to := n.Hosts[1 : 1+hostileCount]
	if err := n.warm(ctx, to); err != nil {
		return err
	}
	for range b.Rounds {
		if err := n.hostileSession(ctx, to); err != nil {
			return err
		}
		if err := n.hostileCommand(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

// damaged does something while packets are damaged on the way to all hosts.
func (n *network) damaged(ctx context.Context, do func() error) error {
	if err := n.Emulator.Set(ctx, "all.down", "mangle="+damage); err != nil {
		return err
	}
	err := do()
	return errors.Join(err, n.Emulator.Set(ctx, "all", "mangle=0"))
}

// hostileSession disturbs a session of the transport.
func (n *network) hostileSession(ctx context.Context, to []*ground.Host) error {
	return n.damaged(ctx, func() error {
		o, err := n.attempt(ctx, to, disturbance{forger: n.Hosts[1+hostileCount]})
		if err != nil {
			return err
		}
		n.tell("forged, repeated, mangled", o)
		blocks, packets := int64(0), int64(0)
		for _, r := range o.receivers {
			blocks, packets = blocks+r.Stats.Refused, packets+r.Stats.Forged
		}
		n.claimHostile("hostile, a session", blocks, packets, o.seconds(), o.complete(n.size))
		return nil
	})
}

// claimHostile reports what was withstood.
func (n *network) claimHostile(name string, blocks, packets int64, seconds float64, wrong []string) {
	if blocks == 0 {
		wrong = append(wrong, "no block was refused: nobody forged")
	}
	if packets == 0 {
		wrong = append(wrong, "no datagram was refused: nobody disturbed")
	}
	n.b.Claim(name, fmt.Sprintf("all complete, no wrong byte; %d blocks refused, %d datagrams not sealed right or repeated; %.1f s", blocks, packets, seconds),
		"zero wrong bytes, all complete", wrong)
}

// hostileCommand disturbs a whole command: a host that is no destination hears the group,
// and the first destination's host gives the key away.
func (n *network) hostileCommand(ctx context.Context, to []*ground.Host) error {
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", to[0].PID))
	if err != nil {
		return fmt.Errorf("looking for the network namespace of %s: %w", to[0].Name, err)
	}
	f := forging{group: netip.MustParseAddrPort(groupAddress + ":" + wholeGroup), source: netip.MustParseAddr(n.Hosts[0].Address), member: space}
	for _, h := range to {
		f.ports = append(f.ports, netip.MustParseAddrPort(h.Address+":"+strings.TrimSuffix(wholePorts, "-")))
	}
	server := f.server(n.b, n.Hosts[1+hostileCount])
	_, stop, err := n.Serve(ctx, []*ground.Server{server})
	defer stop()
	if err != nil {
		return err
	}
	w, err := n.whole(ctx, to, "--mcast-group="+groupAddress, "--ports="+wholePorts+wholeGroup)
	if err != nil {
		return err
	}
	stop()
	sent, err := forged(server)
	if err != nil {
		return err
	}
	blocks, packets := int64(0), int64(0)
	for i, d := range w.ways {
		blocks, packets = blocks+d.Blocks, packets+d.Packets
		n.b.Note("%s: %.1f MB by the group, %.1f by unicast of the session; %d blocks and %d datagrams refused", to[i].Name, float64(d.Multicast)/1e6, float64(d.Unicast)/1e6, d.Blocks, d.Packets)
	}
	n.b.Note("the forger has heard %d datagrams, repeated %d, altered %d and forged %d, each to the group and to all receivers; %.2f copies left the sender", sent.Heard, sent.Repeated, sent.Altered, sent.Forged, float64(w.wire)/float64(n.size))
	n.claimHostile("hostile, a command", blocks, packets, w.wall, nil)
	return nil
}
