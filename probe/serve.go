package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe/host"
)

// Constants of our choice.
const (
	// maxQuiet bounds for how long silence is waited for.
	maxQuiet = 5 * time.Second
	// loadTime is how long a host's load is watched.
	loadTime = 200 * time.Millisecond
	// knocks is how many datagrams show that a UDP port is reached: lost ones must
	// not look like a firewall.
	knocks = 5
	// maxRequests bounds the requests of a probe.
	maxRequests = 1024
	secretLen   = 32
)

// ErrVersion means that the two ends speak different versions.
var ErrVersion = errors.New("the other end speaks another version of the probe")

// errProtocol means that the other end does not follow the protocol.
var errProtocol = errors.New("the other end broke the protocol of the probe")

// server is the answering end.
type server struct {
	p     *Params
	e     *endpoint
	hello *hello
	left  atomic.Int64  // bytes that may still be sent in trains
	sends chan struct{} // has room for one: a train at a time is sent

	joining sync.Mutex // guards what follows
	group   *groupPort // nil: none was joined
	over    bool       // none may be joined any more
}

// Serve answers one probe, until the link ends, or ctx. It takes the link over.
// Errors: ErrVersion, of the socket, or of what the other end did wrong; nil when
// the link has ended in between.
func Serve(ctx context.Context, link Link, p *Params) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer link.Close()
	defer cancel()
	defer context.AfterFunc(ctx, func() { link.Close() })()
	s := &server{p: p, sends: make(chan struct{}, 1)}
	slots := make(chan struct{}, maxWaiting) // a place for each request under way
	for range maxRequests {
		msg, err := link.Recv()
		if err != nil {
			return nil
		}
		q := new(request)
		if len(msg) > maxMessage || json.Unmarshal(msg, q) != nil {
			return errProtocol
		}
		if q.Hello != nil {
			r, err := s.greet(ctx, q.Hello)
			if err := answer(link, q.ID, r, err); err != nil {
				return err
			}
			if err != nil {
				return err
			}
			defer s.e.close()
			defer s.closeGroup()
			continue
		}
		if s.e == nil {
			return errProtocol
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r, err := s.do(ctx, q)
			if answer(link, q.ID, r, err) != nil {
				cancel()
			}
		})
	}
	return errProtocol
}

// answer sends a reply, or the reason why there is none.
func answer(link Link, id uint32, r *reply, err error) error {
	if err != nil {
		r = &reply{Error: clip(err.Error())}
	}
	r.ID = id
	msg, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return link.Send(msg)
}

// greet opens the ports.
func (s *server) greet(ctx context.Context, h *hello) (*reply, error) {
	switch {
	case s.e != nil || len(h.Secret) != secretLen || h.Bytes < 0:
		return nil, errProtocol
	case h.Version != Version:
		return nil, ErrVersion
	}
	p := *s.p
	p.Ports, p.IPv4, p.IPv6 = h.Ports, h.IPv4, h.IPv6
	e, err := listen(ctx, &p, h.Secret, answering, asking)
	if err != nil {
		return nil, err
	}
	e.udp.fragment(probeMTU)
	s.p, s.e, s.hello = &p, e, h
	s.left.Store(min(h.Bytes, maxBytes))
	return &reply{Ready: e.ready(&p)}, nil
}

// ready says where an end can be reached.
func (e *endpoint) ready(p *Params) *ready {
	r := &ready{UDP: portOf(e.udp.conn.LocalAddr())}
	if e.tcp != nil {
		r.TCP = portOf(e.tcp.Addr())
	}
	for _, a := range p.Own {
		r.Addrs = append(r.Addrs, a.String())
	}
	return r
}

// do does what is asked for.
func (s *server) do(ctx context.Context, q *request) (*reply, error) {
	switch {
	case q.Facts:
		f := host.Facts{}
		if s.p.Facts != nil {
			f = s.p.Facts(host.Ask{Peer: s.peer(), Dir: s.hello.Dir, For: loadTime})
		}
		return &reply{Facts: &f}, nil
	case q.Reach != nil:
		return &reply{Reached: s.reach(ctx, q.Reach)}, nil
	case q.Collect != nil:
		c := q.Collect
		quiet := min(max(time.Duration(c.QuietMs)*time.Millisecond, 0), maxQuiet)
		return &reply{Arrivals: appendArrivals(nil, s.e.udp.collect(ctx, c.Train, min(max(c.Packets, 1), maxArrivals), quiet))}, nil
	case q.Train != nil:
		return s.train(ctx, q.Train)
	case q.Join != nil:
		return s.join(ctx, q.Join)
	case q.Heard != nil:
		return s.heard(ctx, q.Heard)
	}
	return nil, errProtocol
}

// peer is the most likely address of the other end.
func (s *server) peer() (a netip.Addr) {
	if len(s.p.Peers) > 0 {
		a = s.p.Peers[0]
	}
	return a
}

// reach tries the asking end's ports, from new ones: whether an answer would get
// through says nothing about who begins.
func (s *server) reach(ctx context.Context, q *reach) *reached {
	addrs := parseAddrs(s.p.Peers, q.Addrs)
	r := new(reached)
	if q.UDP != 0 {
		if conn, err := s.p.Network.ListenPacket(ctx, s.p.network("udp"), s.p.local(0)); err == nil {
			defer conn.Close()
			if batch, ok := conn.(netx.BatchConn); ok {
				seal := newSealer(s.hello.Secret, answering)
				for _, a := range addrs {
					r.Knock += knock(batch, seal, netip.AddrPortFrom(a, q.UDP), knocks)
				}
			}
		}
	}
	if q.TCP == 0 {
		r.Error = "no port to connect to"
		return r
	}
	at, _, err := s.e.dial(ctx, addrs, q.TCP)
	if err != nil {
		r.Error = clip(err.Error())
		return r
	}
	r.TCP = at.String()
	return r
}

// train sends a train to an address that has shown to receive.
func (s *server) train(ctx context.Context, q *train) (*reply, error) {
	to, ok := s.e.udp.address(q.Token)
	switch {
	case !ok:
		return nil, errors.New("a train to an address that sent no echo")
	case q.Packets < 1 || q.Packets > maxPackets || q.Len < headLen || q.Len > largest || q.Packets*q.Len > maxTrainBytes || q.Pace < 0:
		return nil, fmt.Errorf("a train of %d packets of %d bytes is none", q.Packets, q.Len)
	case s.left.Add(-int64(q.Packets)*int64(q.Len)) < 0:
		return nil, errSpent
	}
	s.sends <- struct{}{}
	defer func() { <-s.sends }()
	n, took, err := s.e.udp.send(ctx, outgoing{to: to, number: q.Train, packets: q.Packets, len: q.Len, pace: units.Rate(q.Pace)})
	if err != nil && n == 0 {
		return nil, err
	}
	return &reply{SentN: n, TookNs: int64(took)}, nil
}
