package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/probe/host"
)

// Constants of the trial of multicast.
const (
	// groupPackets are sent groupGap apart, groupSettle after the other end has joined,
	// which switches and routers must hear of first. It works if groupEnough of them
	// come. Ours.
	groupPackets = 10
	groupEnough  = 7
	groupGap     = 20 * time.Millisecond
	groupSettle  = 100 * time.Millisecond
	// groupTTL is as many routers as they may pass: those of an organisation.
	groupTTL = 32
)

// randomGroup is a group of this organisation (RFC 2365, section 6.2; RFC 7346,
// section 2, and RFC 4291, section 2.7, for groups that are not assigned for good).
func randomGroup(v6 bool) netip.Addr {
	n := rand.Uint32()
	if v6 {
		return netip.AddrFrom16([16]byte{0xff, 0x18, 12: byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n) | 1})
	}
	return netip.AddrFrom4([4]byte{239, 192 | byte(n>>16)&3, byte(n >> 8), byte(n) | 1})
}

// groupSocket opens a socket for groups that leaves, and joins, through the interface
// which leads to the peer, and gives that one's name, where the system tells.
func groupSocket(ctx context.Context, p *Params, peer netip.Addr, port uint16) (conn netx.BatchConn, face string, err error) {
	network := "udp4"
	if peer.Is6() {
		network = "udp6"
	}
	pc, err := p.Network.ListenPacket(ctx, network, p.local(port))
	if err != nil {
		return nil, "", err
	}
	socket, ok := pc.(interface {
		netx.BatchConn
		netx.GroupConn
	})
	if !ok {
		pc.Close()
		return nil, "", errors.New("the network has no groups")
	}
	if s, ok := pc.(interface{ SetMulticastInterface(string) error }); ok {
		if face = host.Toward(peer).Name; face != "" {
			err = s.SetMulticastInterface(face)
		}
	}
	if err != nil {
		pc.Close()
		return nil, face, err
	}
	return socket, face, nil
}

// group tries whether what is sent to a group arrives at the other end.
func (m *measurer) group(ctx context.Context) (g Group) {
	if err := m.tryGroup(ctx, &g); err != nil {
		g.Why = clip(err.Error())
	}
	return g
}

func (m *measurer) tryGroup(ctx context.Context, g *Group) error {
	peer := m.firstAddr()
	if !peer.IsValid() {
		return errors.New("no address is known")
	}
	addr := randomGroup(peer.Is6())
	conn, face, err := groupSocket(ctx, m.p, peer, 0)
	g.Face = face
	if err != nil {
		return fmt.Errorf("opening a port to send from: %w", err)
	}
	defer conn.Close()
	if err := conn.(netx.GroupConn).SetMulticastTTL(groupTTL); err != nil {
		return fmt.Errorf("setting how far packets go: %w", err)
	}
	r, err := m.c.call(ctx, request{Join: &join{Group: addr.String()}})
	if err != nil {
		return err
	}
	if r.Joined == 0 {
		return errProtocol
	}
	g.At = netip.AddrPortFrom(addr, r.Joined)
	if !sleep(ctx, groupSettle) {
		return context.Cause(ctx)
	}
	seal, b := newSealer(m.e.secret, asking), make([]byte, shortest)
	var refused error
	for i := range groupPackets {
		seal.write(b, head{kind: kindGroup, seq: uint32(i)})
		if _, err := conn.WriteBatch([]netx.Datagram{{B: b, Peer: g.At}}); err != nil {
			refused = err
		} else {
			g.Sent++
		}
		if !sleep(ctx, groupGap) {
			return context.Cause(ctx)
		}
	}
	if g.Sent == 0 {
		return fmt.Errorf("sending to %v: %w", addr, refused)
	}
	if r, err = m.c.call(ctx, request{Heard: &heard{Want: g.Sent, WaitMs: quiet.Milliseconds()}}); err != nil {
		return err
	}
	g.Heard = min(max(r.Heard, 0), g.Sent)
	if g.OK = g.Heard >= groupEnough; !g.OK {
		return fmt.Errorf("%d of %d packets to the group %v arrived", g.Heard, g.Sent, addr)
	}
	return nil
}

// groupPort is the answering end's socket that has joined a group.
type groupPort struct {
	conn netx.BatchConn
	seal *sealer // of the reading goroutine

	mu    sync.Mutex // guards what follows
	seen  uint32     // bits of the packets that came
	count int
	more  chan struct{} // capacity 1: one has come
	done  chan struct{}
}

// join opens a port and joins a group at it.
func (s *server) join(ctx context.Context, q *join) (*reply, error) {
	addr, err := netip.ParseAddr(q.Group)
	if err != nil || !addr.IsMulticast() || addr.Zone() != "" {
		return nil, errProtocol
	}
	peer := s.peer()
	if !peer.IsValid() || peer.Is6() != addr.Is6() {
		return nil, errors.New("it is not known through which interface the group comes")
	}
	s.joining.Lock()
	defer s.joining.Unlock()
	if s.group != nil || s.over {
		return nil, errProtocol
	}
	g := &groupPort{seal: newSealer(s.hello.Secret, asking), more: make(chan struct{}, 1), done: make(chan struct{})}
	// A port that firewalls may let through, as for data.
	for n := int(s.p.Ports[0]); n != 0 && n <= int(s.p.Ports[1]) && g.conn == nil; n++ {
		g.conn, _, _ = groupSocket(ctx, s.p, peer, uint16(n)) // in use: the next one
	}
	if g.conn == nil {
		if g.conn, _, err = groupSocket(ctx, s.p, peer, 0); err != nil {
			return nil, fmt.Errorf("opening a port for a group: %w", err)
		}
	}
	if err := g.conn.(netx.GroupConn).JoinGroup(addr, netip.Addr{}); err != nil {
		g.conn.Close()
		return nil, fmt.Errorf("joining the group %v: %w", addr, err)
	}
	s.group = g
	go g.run()
	return &reply{Joined: portOf(g.conn.LocalAddr())}, nil
}

// run counts what comes until the socket is closed.
func (g *groupPort) run() {
	defer close(g.done)
	ds := []netx.Datagram{{B: make([]byte, largest)}}
	for {
		if n, err := g.conn.ReadBatch(ds); err != nil || n == 0 {
			return
		}
		h, ok := g.seal.read(ds[0].B[:min(ds[0].N, len(ds[0].B))])
		if !ok || h.kind != kindGroup || h.seq >= groupPackets {
			continue
		}
		g.mu.Lock()
		if bit := uint32(1) << h.seq; g.seen&bit == 0 {
			g.seen |= bit
			g.count++
		}
		g.mu.Unlock()
		select {
		case g.more <- struct{}{}:
		default:
		}
	}
}

// heard waits for as many as were sent, and tells how many came.
func (s *server) heard(ctx context.Context, q *heard) (*reply, error) {
	s.joining.Lock()
	g := s.group
	s.joining.Unlock()
	if g == nil {
		return nil, errProtocol
	}
	timer := time.NewTimer(min(max(time.Duration(q.WaitMs)*time.Millisecond, 0), maxQuiet))
	defer timer.Stop()
	for {
		g.mu.Lock()
		n := g.count
		g.mu.Unlock()
		if n >= q.Want {
			return &reply{Heard: n}, nil
		}
		select {
		case <-g.more:
		case <-timer.C:
			return &reply{Heard: n}, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// closeGroup leaves the group; none can be joined any more.
func (s *server) closeGroup() {
	s.joining.Lock()
	defer s.joining.Unlock()
	s.over = true
	if s.group != nil {
		s.group.conn.Close()
		<-s.group.done
	}
}
