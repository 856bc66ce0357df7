package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports/udt"
)

// endWord is the first word of a command line that makes this program an end of a
// flow.
const endWord = "end"

// chunk is what an end reads or writes at once, in bytes.
const chunk = 1 << 20

// sampleInterval is the time between two lines of a receiver.
const sampleInterval = 100 * time.Millisecond

// ready is the first line of a receiver.
const ready = "ready"

// end is one end of a flow.
type end struct {
	tcp     bool
	to      string // of a sender; a receiver has none
	listen  string
	control string // congestion control of UDT
	buffer  int    // bytes that may be under way; 0 is the default
	findMTU bool   // packets of UDT are as long as the path takes
	trace   bool   // a sender of UDT prints how it stands, once a second
}

// runEnd is an end of a flow until it is killed.
func runEnd(ctx context.Context, args []string) error {
	var e end
	flags := flag.NewFlagSet(endWord, flag.ContinueOnError)
	flags.BoolVar(&e.tcp, "tcp", false, "TCP instead of UDT")
	flags.StringVar(&e.to, "to", "", "send to this address")
	flags.StringVar(&e.listen, "listen", "", "receive at this address")
	flags.StringVar(&e.control, "control", "", "congestion control of UDT")
	flags.IntVar(&e.buffer, "buffer", 0, "buffers of UDT, in bytes")
	flags.BoolVar(&e.findMTU, "find-mtu", false, "let packets of UDT be as long as the path takes")
	flags.BoolVar(&e.trace, "trace", false, "print how a sender of UDT stands, once a second")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if (e.to == "") == (e.listen == "") || flags.NArg() > 0 {
		return errors.New("an end has either -to or -listen, and no other words")
	}
	if e.to != "" {
		return e.send(ctx)
	}
	return e.receive(ctx)
}

func (e *end) config() udt.Config {
	return udt.Config{MSS: 1500, Control: e.control, SendBuffer: e.buffer, RecvBuffer: e.buffer, FindMTU: e.findMTU}
}

func (e *end) dial(ctx context.Context) (net.Conn, error) {
	if e.tcp {
		return new(net.Dialer).DialContext(ctx, "tcp4", e.to)
	}
	return udt.Dial(ctx, &netx.System{}, "udp4", e.to, e.config())
}

// send sends as long as it can.
func (e *end) send(ctx context.Context) error {
	c, err := e.dial(ctx)
	if err != nil {
		return err
	}
	if u, ok := c.(*udt.Conn); ok && e.trace {
		go trace(u)
	}
	b := make([]byte, chunk)
	for i := range b {
		b[i] = 'u'
	}
	for {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
}

// trace prints how a connection stands as long as the process lives.
func trace(c *udt.Conn) {
	for range time.Tick(time.Second) {
		s := c.Stats()
		fmt.Printf("%.3f rate %.1f Mbit/s, window %d, in flight %d, RTT %v, least %v, peer's speed %.0f, capacity %.0f, sent %d, again %d, lost %d, timeouts %d, NAKs %d\n",
			ground.Monotonic(), float64(s.Rate)*8/1e6, s.Window, s.InFlight, s.RTT, s.MinRTT, s.PeerSpeed, s.PeerCapacity, s.Sent, s.Resent, s.Lost, s.Timeouts, s.RecvNaks)
	}
}

func (e *end) listener(ctx context.Context) (net.Listener, error) {
	if e.tcp {
		return new(net.ListenConfig).Listen(ctx, "tcp4", e.listen)
	}
	return udt.Listen(ctx, &netx.System{}, "udp4", e.listen, e.config())
}

// receive prints what has come of one connection.
func (e *end) receive(ctx context.Context) error {
	l, err := e.listener(ctx)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	say := func(format string, args ...any) error {
		fmt.Fprintf(out, format, args...)
		return out.Flush()
	}
	if err := say("%s\n", ready); err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	var got atomic.Int64
	ended := make(chan error, 1)
	go func() { ended <- count(c, &got) }()
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		if err := say("%.6f %d\n", ground.Monotonic(), got.Load()); err != nil {
			return err
		}
		select {
		case err := <-ended:
			return err
		case <-tick.C:
		}
	}
}

// count reads a connection to its end.
func count(c net.Conn, got *atomic.Int64) error {
	b := make([]byte, chunk)
	for {
		n, err := c.Read(b)
		got.Add(int64(n))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
