package tcpxm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// Receiver is one receiver of a session: a reader of its stream. Any number of
// goroutines may use it, but only one may read.
type Receiver struct {
	l    *loop
	core *receiver
	hall hall
}

var _ io.ReadCloser = (*Receiver)(nil)

// hall are the sockets of groups. It belongs to whoever has the turn.
type hall struct {
	r      *Receiver
	nw     netx.Network
	face   string
	port   uint16
	joined map[netip.Addr]groupSocket
}

// Listen opens a port, such as ":0", in one of the networks "udp", "udp4" and "udp6",
// and waits there for the session that the configuration names. Errors: a
// configuration that cannot be, a port that cannot be opened.
func Listen(ctx context.Context, nw netx.Network, network, addr string, cfg ReceiverConfig) (*Receiver, error) {
	cfg, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	pc, err := nw.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("opening a port to receive at: %w", err)
	}
	socket, err := asGroup(pc, "")
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	var irs [4]byte
	_, _ = rand.Read(irs[:]) // never fails
	r := &Receiver{l: newLoop(socket)}
	r.hall = hall{r: r, nw: nw, face: cfg.Interface, port: cfg.GroupPort, joined: make(map[netip.Addr]groupSocket)}
	r.core = newReceiver(cfg, &r.hall, 0, binary.BigEndian.Uint32(irs[:]))
	r.l.run(r.core, func(now time.Duration, d *netx.Datagram, b []byte) { r.core.receive(now, d.Peer, b, false) })
	return r, nil
}

// sourceSpecific are the addresses of groups that have one source only (RFC 4607).
var sourceSpecific = [...]netip.Prefix{netip.MustParsePrefix("232.0.0.0/8"), netip.MustParsePrefix("ff30::/12")}

// join opens a socket for a group.
func (h *hall) join(group, source netip.Addr) error {
	network := "udp4"
	if group.Is6() {
		network = "udp6"
	}
	pc, err := h.nw.ListenPacket(context.Background(), network, netip.AddrPortFrom(group, h.port).String())
	if err != nil {
		return err
	}
	socket, err := asGroup(pc, h.face)
	if err == nil {
		err = socket.JoinGroup(group, sourceOf(group, source))
	}
	if err != nil {
		return errors.Join(err, pc.Close())
	}
	h.joined[group] = socket
	l, core := h.r.l, h.r.core
	l.busy.Go(func() {
		l.read(socket, prepare(socket), func(now time.Duration, d *netx.Datagram, b []byte) { core.receive(now, d.Peer, b, true) })
	})
	return nil
}

// sourceOf is the source to be asked for; zero is any.
func sourceOf(group, source netip.Addr) netip.Addr {
	for _, p := range sourceSpecific {
		if p.Contains(group) {
			return source
		}
	}
	return netip.Addr{}
}

// leave closes the socket of a group, which leaves it.
func (h *hall) leave(group, _ netip.Addr) {
	if s := h.joined[group]; s != nil {
		_ = s.Close() // nothing was written to it
		delete(h.joined, group)
	}
}

// Addr is the address that the sender is to be told.
func (r *Receiver) Addr() net.Addr { return r.l.socket.LocalAddr() }

// Read implements io.Reader; io.EOF is at the end of the whole stream. Errors:
// ErrTimeout when the sender has vanished, ErrAborted when it has given up,
// net.ErrClosed after Close.
func (r *Receiver) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		ok := r.l.step(func(time.Duration) {
			if n = r.core.take(b); n == 0 {
				err = r.core.readError()
			}
		})
		switch {
		case !ok:
			return 0, fmt.Errorf("receiving: %w", net.ErrClosed)
		case n > 0 || errors.Is(err, io.EOF):
			return n, err
		case err != nil:
			return 0, fmt.Errorf("receiving: %w", err)
		}
		if err := r.l.wait(context.Background(), r.core.readable); err != nil {
			return 0, fmt.Errorf("receiving: %w", err)
		}
	}
}

// readable tells that Read has something to say.
func (r *receiver) readable() bool { return r.data.next > r.data.read || r.readError() != nil }

// Stats tells what has come.
func (r *Receiver) Stats() (s ReceiverStats) {
	r.l.turn <- struct{}{}
	s = r.core.stats
	s.Group = r.core.joined
	if p, ok := r.core.ring.percent(); ok {
		s.Heard = int(p)
	}
	<-r.l.turn
	return s
}

// closeLimit is how long Close waits for the sender to hear of the end.
const closeLimit = 3 * time.Second

// Close ends receiving. If all of the stream was read, the sender hears that it is
// complete, and Close waits for that up to 3 s; else the sender hears that this
// receiver gives up. Errors: context.DeadlineExceeded if the sender was
// not heard.
func (r *Receiver) Close() error {
	r.l.step(func(now time.Duration) { r.core.close(now) })
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := r.l.wait(ctx, r.core.gone)
	r.l.stop(func(time.Duration) { r.core.leave() })
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("telling the sender that all is there: %w", err)
	}
	return nil
}

// due is deadline, for the loop.
func (r *receiver) due(time.Duration) time.Duration { return r.deadline() }
