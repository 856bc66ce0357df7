package tcpxm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// Session sends one stream to several receivers. Any number of goroutines may use
// it, but only one may write.
type Session struct {
	l    *loop
	core *session
}

// Result is how a session stands with one receiver, or ended.
type Result struct {
	PCBCounters
	Addr netip.AddrPort
	// Connected: it has answered. Complete: its reader has read all of the stream. Err
	// says why it will not; nil while that is open. See the errors of this package.
	Connected, Complete bool
	Err                 error
	Mode                Mode
	Acked               int64 // bytes that its reader can read
	RTT                 time.Duration
}

// Dial begins a session with receivers that wait for it. It returns when those that
// answer have done so: all, or those that did within two seconds of the first. With
// some of them failed it is a session with the others; Results tells. Errors: a
// configuration that cannot be; the context's; none has answered.
func Dial(ctx context.Context, nw netx.Network, cfg Config, dests []Destination) (*Session, error) {
	network, v6 := "udp4", false
	dests = slices.Clone(dests) // which stay the caller's
	for i, d := range dests {
		dests[i].Addr = netip.AddrPortFrom(d.Addr.Addr().Unmap(), d.Addr.Port())
		v6 = v6 || dests[i].Addr.Addr().Is6()
	}
	if v6 {
		network = "udp"
		if cfg.Payload == 0 {
			cfg.Payload = defaultPayload - 20 // the header of IPv6 is so much longer
		}
	}
	cfg, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	pc, err := nw.ListenPacket(ctx, network, netip.AddrPortFrom(bindAddr(cfg.Bind, v6), 0).String())
	if err != nil {
		return nil, fmt.Errorf("opening a port to send from: %w", err)
	}
	socket, err := asGroup(pc, cfg.Interface)
	if err == nil {
		err = socket.SetMulticastTTL(cfg.TTL)
	}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	var core *session
	if err == nil {
		core, err = newSession(cfg, dests, 0, binary.BigEndian.Uint64(seed[:]), newSecret)
	}
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	s := &Session{l: newLoop(socket), core: core}
	s.l.run(core, func(now time.Duration, d *netx.Datagram, b []byte) { core.receive(now, d.Peer, b) })
	if err := s.l.wait(ctx, func() bool { return core.started || core.over() }); err != nil {
		s.Close()
		return nil, fmt.Errorf("connecting to %d receivers: %w", len(dests), err)
	}
	if all := s.Results(); !s.anyLeft() {
		s.Close()
		return nil, fmt.Errorf("connecting to %d receivers: %w", len(dests), all[0].Err)
	}
	return s, nil
}

// newSecret makes a random secret.
func newSecret() (s Secret) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}

// bindAddr is the address to bind.
func bindAddr(a netip.Addr, v6 bool) netip.Addr {
	switch {
	case a.IsValid():
		return a
	case v6:
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// groupSocket is what both ends need of a socket.
type groupSocket interface {
	netx.BatchConn
	netx.GroupConn
}

// asGroup checks what a network gave, and chooses the interface.
func asGroup(pc net.PacketConn, face string) (groupSocket, error) {
	socket, ok := pc.(groupSocket)
	if !ok {
		return nil, fmt.Errorf("opening a port: a socket of %T moves no batches or has no groups", pc)
	}
	if s, ok := pc.(interface{ SetMulticastInterface(string) error }); ok && face != "" {
		if err := s.SetMulticastInterface(face); err != nil {
			return nil, fmt.Errorf("opening a port: %w", err)
		}
	}
	return socket, nil
}

// anyLeft tells that a receiver has not failed.
func (s *Session) anyLeft() (any bool) {
	s.peek(func() { any = s.core.anyLeft() })
	return any
}

// anyLeft tells that a receiver has not failed.
func (s *session) anyLeft() bool {
	for _, p := range s.pcbs {
		if p.state != failed {
			return true
		}
	}
	return false
}

// peek looks at the core.
func (s *Session) peek(f func()) {
	s.l.turn <- struct{}{}
	f()
	<-s.l.turn
}

// writable is how much room makes it worth waking a writer, in bytes; half of the
// buffer if that is less.
const writable = 256 << 10

// Write gives bytes of the stream to all receivers. It returns when they are in the
// send buffer. Errors: net.ErrClosed after CloseWrite or Close, or with a Source; the
// last receiver's error when all have failed.
func (s *Session) Write(b []byte) (n int, err error) {
	for {
		ok := s.l.step(func(now time.Duration) {
			k := s.core
			switch {
			case k.stream.closed:
				err = net.ErrClosed
			case !k.anyLeft():
				err = k.pcbs[0].err
			default:
				n += k.write(now, b[n:])
			}
		})
		if !ok {
			err = net.ErrClosed
		}
		if err != nil || n == len(b) {
			break
		}
		if err = s.l.wait(context.Background(), s.core.writable); err != nil {
			break
		}
	}
	if err != nil {
		return n, fmt.Errorf("sending to several receivers: %w", err)
	}
	return n, nil
}

// writable tells that there is room for enough to be worth a wake-up, or that there
// never will be.
func (s *session) writable() bool {
	x := &s.stream
	return x.pages.low+s.cfg.Retain-x.end >= min(writable, s.cfg.Retain/2) || x.closed || !s.anyLeft()
}

// Extend makes a Growing source longer by n bytes, which can be read from it already.
// It does nothing after CloseWrite or Close.
func (s *Session) Extend(n int64) {
	s.l.step(func(now time.Duration) { s.core.extend(now, n) })
}

// Hungry waits until no more than ahead bytes of the stream are left that nobody was
// sent. Errors: the context's, net.ErrClosed after Close; the last receiver's error
// when all have failed.
func (s *Session) Hungry(ctx context.Context, ahead int64) error {
	err := s.l.wait(ctx, func() bool { return s.core.ahead() <= ahead || !s.core.anyLeft() })
	if err == nil && !s.anyLeft() {
		s.peek(func() { err = s.core.pcbs[0].err })
	}
	if err != nil {
		return fmt.Errorf("sending to several receivers: %w", err)
	}
	return nil
}

// CloseWrite ends the stream: receivers get its end behind what was written.
func (s *Session) CloseWrite() {
	s.l.step(func(time.Duration) { s.core.finish() })
}

// Wait waits until every receiver has all, or has failed, and tells how. It ends the
// stream if CloseWrite has not. Errors: the context's, net.ErrClosed; results are then
// as of now.
func (s *Session) Wait(ctx context.Context) ([]Result, error) {
	s.CloseWrite()
	err := s.l.wait(ctx, s.core.over)
	if err != nil {
		err = fmt.Errorf("waiting for %d receivers: %w", len(s.core.pcbs), err)
	}
	return s.Results(), err
}

// Results tells how the session stands with each receiver, in the order of Dial.
func (s *Session) Results() (l []Result) {
	s.peek(func() {
		for _, p := range s.core.pcbs {
			l = append(l, Result{
				PCBCounters: p.counts, Addr: p.addr, Connected: p.answered, Complete: p.state == done, Err: p.err, Mode: p.mode, Acked: min(p.acked, s.core.stream.end), RTT: p.est.smooth,
			})
		}
	})
	return l
}

// Counters tells what was sent to all receivers.
func (s *Session) Counters() (c Counters) {
	s.peek(func() { c = s.core.stats })
	return c
}

// Add calls one more receiver, which gets what of the stream follows an offset: its
// reader's first byte is that. What lies before is nobody's concern here. Add does not
// wait for an answer; the receiver's place is behind all others in Results. Errors: an
// address that is none, an offset before what is kept, too many receivers, net.ErrClosed.
func (s *Session) Add(d Destination, start int64) (place int, err error) {
	d.Addr = netip.AddrPortFrom(d.Addr.Addr().Unmap(), d.Addr.Port())
	if !s.l.step(func(now time.Duration) { place, err = s.core.add(d, start, now) }) {
		return 0, net.ErrClosed
	}
	return place, err
}

// Drop gives up a receiver by its place in Dial's list; the others are not held up,
// and their group gets a new key.
func (s *Session) Drop(i int) {
	s.l.step(func(now time.Duration) {
		if i >= 0 && i < len(s.core.pcbs) {
			s.core.pcbs[i].abort(now, ErrIncomplete)
		}
	})
}

// Close ends the session at once: receivers that have not confirmed the end are given
// up.
func (s *Session) Close() error {
	s.l.stop(func(now time.Duration) { s.core.fail(now, ErrIncomplete) })
	return nil
}

// due is deadline, for the loop.
func (s *session) due(now time.Duration) time.Duration { return s.deadline(now) }
