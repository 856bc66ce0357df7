package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// sessionLimit is how long a session may take, attempts how often one is tried whose
// emulator was too slow.
const (
	sessionLimit = 4 * time.Minute
	attempts     = 3
)

// outcome is one session, or one command that copies to several hosts.
type outcome struct {
	wall      float64 // seconds of the whole command
	cpu       float64 // processor seconds of the sending host
	theirs    float64 // and of all others
	wire      int64   // bytes that have left it
	sent      sent
	receivers []received
	lab       ground.Counters
	busy      float64 // processors that the emulator took
}

// goodput is that to a receiver, in Mbit/s.
func (o *outcome) goodput(i int) float64 {
	return float64(o.receivers[i].Bytes) * 8e-6 / (o.receivers[i].Receipt - o.sent.Started)
}

// seconds is the time from the first data to the last receipt.
func (o *outcome) seconds() float64 {
	last := o.sent.Ended
	for _, r := range o.receivers {
		last = max(last, r.Receipt)
	}
	return last - o.sent.Started
}

// goodputs are the lowest and the highest.
func (o *outcome) goodputs() (low, high float64) {
	for i := range o.receivers {
		v := o.goodput(i)
		if i == 0 || v < low {
			low = v
		}
		high = max(high, v)
	}
	return low, high
}

// copies is what has left the sender, in times the file.
func (o *outcome) copies(size int64) float64 { return float64(o.wire) / float64(size) }

// complete says what is wrong with what arrived; nil is nothing.
func (o *outcome) complete(size int64) (wrong []string) {
	for i, r := range o.receivers {
		switch s := o.sent.Results[i]; {
		case r.Wrong > 0:
			wrong = append(wrong, fmt.Sprintf("receiver %d: wrong bytes", i))
		case r.Err != "" || r.Bytes != size || !s.Complete || s.Err != "":
			wrong = append(wrong, fmt.Sprintf("receiver %d: %d of %d bytes, it says %q, the sender %q", i, r.Bytes, size, r.Err, s.Err))
		}
	}
	return wrong
}

// disturbance is something that happens while a session runs.
type disturbance struct {
	forger *ground.Host // where one sits who knows the group's key
}

// send runs a session from the first host to others. Errors: of processes that failed,
// and a copy that is not complete.
func (n *network) send(ctx context.Context, to []*ground.Host, d disturbance) (o outcome, err error) {
	for range attempts {
		if o, err = n.attempt(ctx, to, d); !errors.Is(err, ground.ErrVoid) || ctx.Err() != nil {
			break
		}
		n.b.Note("void: %s", ground.OneLine(err))
	}
	if err != nil {
		return o, err
	}
	if wrong := o.complete(n.size); len(wrong) > 0 {
		return o, fmt.Errorf("not complete: %v", wrong)
	}
	return o, nil
}

// attempt is send, once, and does not look at what arrived.
func (n *network) attempt(ctx context.Context, to []*ground.Host, d disturbance) (o outcome, err error) {
	s, file := newSession(n.payload(), n.Hosts[0], to), filepath.Join(n.dir, "session.json")
	s.Trace = n.b.trace
	if err := s.write(file); err != nil {
		return o, err
	}
	var servers []*ground.Server
	for i, h := range to {
		servers = append(servers, &ground.Server{
			Host: h, Args: []string{n.b.self, receiveWord, "-session", file, "-index", strconv.Itoa(i)}, Protocol: "udp", Port: receiverPort, Ends: true,
		})
	}
	if d.forger != nil {
		f := forging{group: s.group(), source: netip.MustParseAddr(s.Sender), session: file}
		for _, h := range to {
			f.ports = append(f.ports, netip.AddrPortFrom(netip.MustParseAddr(h.Address), receiverPort))
		}
		servers = append(servers, f.server(n.b, d.forger))
	}
	ends, stop, err := n.Serve(ctx, servers)
	defer stop()
	if err != nil {
		return o, err
	}
	before := n.Emulator.CPU()
	u, err := n.Timed(ctx, ground.Run{
		Host: n.Hosts[0], Args: []string{n.b.self, sendWord, "-session", file}, Before: n.Emulator.Reset, Then: ends, Limit: sessionLimit,
	})
	if n.b.trace {
		fmt.Println(u.Output)
	}
	if err != nil {
		return o, err
	}
	o.wall, o.cpu, o.theirs = u.Wall.Seconds(), u.CPU[0].Seconds(), (u.TotalCPU() - u.CPU[0]).Seconds()
	o.busy = (n.Emulator.CPU() - before).Seconds() / o.wall
	if o.lab, err = n.Emulator.Counters(ctx); err != nil {
		return o, err
	}
	up := o.lab.Link(n.Hosts[0].Name + ".up")
	o.wire = up.Unicast.Bytes + up.Multicast.Bytes
	if err := lastLine(u.Output, &o.sent); err != nil {
		return o, fmt.Errorf("the sender: %w", err)
	}
	o.receivers = make([]received, len(to))
	for i := range to {
		if err := lastLine(servers[i].Output(), &o.receivers[i]); err != nil {
			return o, fmt.Errorf("receiver %d: %w", i, err)
		}
	}
	return o, nil
}

// lastLine reads the last line of what an end has printed.
func lastLine(text string, to any) error {
	end := len(text)
	for end > 0 && text[end-1] == '\n' {
		end--
	}
	begin := end
	for begin > 0 && text[begin-1] != '\n' {
		begin--
	}
	if err := json.Unmarshal([]byte(text[begin:end]), to); err != nil {
		return fmt.Errorf("reading %q: %w", ground.Tail(text), err)
	}
	return nil
}

// warm brings gomover's agent to hosts with a small copy.
func (n *network) warm(ctx context.Context, to []*ground.Host) error {
	for _, h := range to {
		if _, err := n.Timed(ctx, ground.Run{Host: n.Hosts[0], Args: []string{n.b.mover, "--progress=none", n.b.self, h.Name + ":" + filepath.Join(n.dir, "warm")}}); err != nil {
			return err
		}
	}
	return nil
}
