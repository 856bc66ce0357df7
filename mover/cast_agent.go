package mover

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/tcpxm"
	"github.com/gomover/gomover/wire"
)

// maxCasts bounds the groups that one agent is asked to join in its life.
const maxCasts = 8

// castHost is an agent's part in groups: it opens a port when it is asked to, and
// gives what comes there to its sink.
type castHost struct {
	env   AgentEnv
	ports [2]uint16
	link  engine.Link
	sink  *engine.Sink // set before anything is asked
	count int          // of those that were asked for; only the link's reader uses it
	leave sync.WaitGroup
}

// take follows an order.
func (h *castHost) take(body []byte) error {
	var o castOrder
	if err := wire.ParseJSON(body, &o); err != nil {
		return err
	}
	if h.count++; h.count > maxCasts || len(o.Secret) != tcpxm.SecretLen || o.Tag == 0 || o.Stream < castStream {
		return wire.Failf(wire.ClassProtocol, "an order to join a group that makes no sense")
	}
	a := castAnswer{Tag: o.Tag}
	r, err := h.listen(&o)
	if err != nil {
		a.Error = err.Error()
	} else {
		a.Port = uint16(r.Addr().(*net.UDPAddr).Port)
		h.sink.Take(&castStreamIn{r: r, in: bufio.NewReaderSize(r, 128<<10), id: o.Stream, leave: &h.leave, tell: h.tally(o.Tag)})
	}
	return sendJSON(h.link, wire.KindGroup, a)
}

// listen opens a port: in the range that was asked for, or the one that firewalls are
// most likely to let through, or any.
func (h *castHost) listen(o *castOrder) (r *tcpxm.Receiver, err error) {
	cfg := tcpxm.ReceiverConfig{Tag: o.Tag, Secret: tcpxm.Secret(o.Secret), GroupPort: o.GroupPort, Dead: castDead}
	if h.env.Server.IsValid() {
		cfg.Interface = faceOf(h.env.Server.Unmap())
	}
	network := "udp4"
	if o.IPv6 {
		network = "udp" // others of the job may be at IPv4 addresses
	}
	open := func(port uint16) (*tcpxm.Receiver, error) {
		return tcpxm.Listen(context.Background(), &netx.System{}, network, ":"+strconv.Itoa(int(port)), cfg)
	}
	ports, only := h.ports, true
	if ports == [2]uint16{} {
		ports, only = transports.DefaultPorts, false
	}
	for port := int(ports[0]); port <= int(ports[1]); port++ {
		if only && port == int(o.GroupPort) {
			break // the last one is the group's
		}
		if r, err = open(uint16(port)); err == nil {
			return r, nil
		}
	}
	if only {
		return nil, fmt.Errorf("no port in %d-%d is free for UDP", ports[0], ports[1])
	}
	return open(0)
}

// tallyEvery is how often it is told at most how many datagrams were refused.
const tallyEvery = 250 * time.Millisecond

// tally gives what tells the sender, if that is news, how many datagrams a receiver has
// refused. One goroutine at a time.
func (h *castHost) tally(tag uint32) func(n int64) {
	told := int64(0)
	return func(n int64) {
		if n > told && sendJSON(h.link, wire.KindGroup, castAnswer{Tag: tag, Refused: n}) == nil {
			told = n
		}
	}
}

// leaveWait is how long an agent that is done waits for its senders to hear of it.
const leaveWait = 500 * time.Millisecond

// end waits, not for long, until streams that were closed are.
func (h *castHost) end() {
	done := make(chan struct{})
	go func() { h.leave.Wait(); close(done) }() // Close of a receiver takes three seconds at the most
	select {
	case <-done:
	case <-time.After(leaveWait):
	}
}

// castStreamIn is what comes from a group as a stream of frames.
type castStreamIn struct {
	r     *tcpxm.Receiver
	in    *bufio.Reader
	id    uint32
	once  sync.Once
	leave *sync.WaitGroup
	tell  func(refused int64) // who sends, from Recv
	told  time.Time
}

var _ transports.Stream = (*castStreamIn)(nil)

// ID implements transports.Stream.
func (s *castStreamIn) ID() uint32 { return s.id }

// Send implements transports.Stream. There is nobody to hear it.
func (s *castStreamIn) Send(*transports.Frame) error { return errors.ErrUnsupported }

// Recv implements transports.Stream.
func (s *castStreamIn) Recv(f *transports.Frame) error {
	var head [4]byte
	_, err := io.ReadFull(s.in, head[:])
	if now := time.Now(); err != nil || now.Sub(s.told) >= tallyEvery {
		s.tell(s.r.Stats().Forged)
		s.told = now
	}
	if err != nil {
		if err != io.EOF {
			err = fmt.Errorf("from the group: %v", err) // no silence of the usual way
		}
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || uint64(n) > uint64(f.Max()) {
		return fmt.Errorf("a frame of %d bytes: %w", n, transports.ErrDamaged)
	}
	if _, err := io.ReadFull(s.in, f.Resize(int(n))); err != nil {
		return fmt.Errorf("from the group: %v", err)
	}
	return nil
}

// Stats implements transports.Stream.
func (s *castStreamIn) Stats() transports.Stats {
	st := s.r.Stats()
	out := transports.Stats{Transport: "multicast", RecvBytes: st.GroupBytes + st.UnicastBytes}
	if a, err := netip.ParseAddrPort(s.r.Addr().String()); err == nil {
		out.Local = a
	}
	return out
}

// Retune implements transports.Stream: the sender decides.
func (s *castStreamIn) Retune(transports.Settings) error { return nil }

// Close implements transports.Stream. That the sender hears of it is not waited for.
func (s *castStreamIn) Close() error {
	s.once.Do(func() {
		s.leave.Go(func() { _ = s.r.Close() }) // who is not heard is gone
	})
	return nil
}
