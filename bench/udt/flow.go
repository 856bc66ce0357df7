package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// flow is one connection that is kept full, and what has arrived over it.
type flow struct {
	kind     kind
	from, to *ground.Host
	port     int
	buffer   int // bytes that may be under way; 0 is the default

	mu      sync.Mutex
	samples []sample
}

// kind is what moves the bytes of a flow.
type kind struct {
	name    string
	library bool   // libudt
	tcp     bool   // the kernel's, cubic
	control string // of our UDT
	buffer  int    // bytes that may be under way; 0 is what the path says
	findMTU bool   // packets of our UDT are as long as the path takes
}

// The kinds of flows.
var (
	native  = kind{name: "native", control: "native"}
	model   = kind{name: "bbr", control: "bbr"}
	scaveng = kind{name: "ledbat", control: "ledbat"}
	jumbo   = kind{name: "bbr, long packets", control: "bbr", findMTU: true}
	library = kind{name: "libudt", library: true}
	cubic   = kind{name: "TCP cubic", tcp: true}
)

// names lists kinds of flows that run together.
func names(l []kind) string {
	var words []string
	for _, k := range l {
		words = append(words, k.name)
	}
	return strings.Join(words, " and ")
}

// errLibrary says that an end of a flow of libudt has ended.
var errLibrary = errors.New("libudt fell out")

// sample is what has arrived up to an instant of the monotonic clock.
type sample struct {
	at    float64 // seconds
	bytes float64
}

// commands gives the command lines of the receiver and the sender.
func (f *flow) commands(b *bench) (receive, send []string) {
	port, buffer := strconv.Itoa(f.port), strconv.Itoa(f.buffer)
	if f.kind.library {
		return []string{b.driver, "receive", port, buffer}, []string{b.driver, "send", f.to.Address, port, buffer}
	}
	common := []string{b.self, endWord, "-buffer", buffer, "-control", f.kind.control, "-tcp=" + strconv.FormatBool(f.kind.tcp), "-find-mtu=" + strconv.FormatBool(f.kind.findMTU)}
	address := f.to.Address + ":" + port
	receive = append(append(receive, common...), "-listen", address)
	send = append(append(send, common...), "-to", address)
	return receive, send
}

// at is how many bytes had arrived at an instant; between samples it is in between.
func (f *flow) at(t float64) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := sample{}
	for _, s := range f.samples {
		if s.at >= t {
			if s.at == before.at || before.at == 0 {
				return before.bytes
			}
			return before.bytes + (s.bytes-before.bytes)*(t-before.at)/(s.at-before.at)
		}
		before = s
	}
	return before.bytes
}

// rate is what has arrived per second between two instants, in bytes.
func (f *flow) rate(from, to float64) float64 { return (f.at(to) - f.at(from)) / (to - from) }

// running is the processes of flows.
type running struct {
	g     *ground.Ground
	kept  map[int]bool // processes that ran before
	start float64      // instant of the first sender's start
	ended chan error
	wait  []func()
}

// start starts the receivers, and when all listen, the senders.
func (b *bench) start(ctx context.Context, g *ground.Ground, flows ...*flow) (r *running, err error) {
	r = &running{g: g, kept: map[int]bool{}, ended: make(chan error, 2*len(flows))}
	for _, h := range g.Hosts {
		for _, pid := range h.Group.PIDs() {
			r.kept[pid] = true
		}
	}
	defer func() {
		if err != nil {
			r.stop()
		}
	}()
	var senders [][]string
	for _, f := range flows {
		receive, send := f.commands(b)
		senders = append(senders, send)
		cmd := g.Command(ctx, f.to, receive...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := r.run(f.kind, cmd, func() error { return f.listen(out) }); err != nil {
			return nil, err
		}
		if err := f.waitReady(ctx, r); err != nil {
			return nil, err
		}
	}
	r.start = ground.Monotonic()
	for i, f := range flows {
		if err := r.run(f.kind, g.Command(ctx, f.from, senders[i]...), func() error { return nil }); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// run starts an end of a flow; read reads its output to the end.
func (r *running) run(k kind, cmd *exec.Cmd, read func() error) error {
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := errors.Join(read(), cmd.Wait())
		if k.library {
			err = errors.Join(errLibrary, err)
		}
		if err == nil {
			err = io.EOF
		}
		r.ended <- fmt.Errorf("an end of a flow of %s has ended: %w; it said %q", k.name, err, ground.Tail(said.String()))
	}()
	r.wait = append(r.wait, func() { <-done })
	return nil
}

// stop ends all processes of the flows, also those that they have started.
func (r *running) stop() {
	if len(r.wait) == 0 {
		return
	}
	for _, h := range r.g.Hosts { // the sender's first
		h.Group.KillExcept(r.kept)
	}
	for _, wait := range r.wait {
		wait()
	}
	r.wait = nil
}

// pass lets time pass until so long after the start. It is an error if an end of
// a flow ends meanwhile.
func (r *running) pass(ctx context.Context, until time.Duration) error {
	left := until - time.Duration((ground.Monotonic()-r.start)*float64(time.Second))
	timer := time.NewTimer(max(left, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-r.ended:
		return err
	case <-timer.C:
		return nil
	}
}

// listen reads what a receiver prints. The first sample stands for readiness.
func (f *flow) listen(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var s sample
		if lines.Text() != ready {
			if _, err := fmt.Sscan(lines.Text(), &s.at, &s.bytes); err != nil {
				return fmt.Errorf("reading %q: %w", lines.Text(), err)
			}
		}
		f.mu.Lock()
		f.samples = append(f.samples, s)
		f.mu.Unlock()
	}
	return lines.Err()
}

func (f *flow) waitReady(ctx context.Context, r *running) error {
	for range 500 {
		f.mu.Lock()
		n := len(f.samples)
		f.mu.Unlock()
		if n > 0 {
			return nil
		}
		select {
		case err := <-r.ended:
			return err
		default:
		}
		if err := ground.Wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the receiver of %s does not listen", f.kind.name)
}
