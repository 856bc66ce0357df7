package probe

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// Constants of our choice.
const (
	// dialTimeout is how long a TCP port may take to show that it is the other
	// end's: two lost packets of the handshake.
	dialTimeout = 4 * time.Second
	// maxGuests bounds the connections whose dialler is not known yet.
	maxGuests = 16
	nonceLen  = 16
	// maxAddrs bounds the addresses that are tried of the other end.
	maxAddrs = 8
)

// endpoint is one end's UDP and TCP port, of one number where that is possible.
type endpoint struct {
	udp *port
	tcp net.Listener // nil: could not listen

	connect func(ctx context.Context, to string) (net.Conn, error) // by TCP

	cancel context.CancelFunc // ends the guests
	guests sync.WaitGroup
	slots  chan struct{} // a place for each guest
	secret []byte
	own    string
	other  string
}

// listen opens the ports of an end. Errors: no port for UDP.
func listen(ctx context.Context, p *Params, secret []byte, own, other string) (*endpoint, error) {
	e := &endpoint{slots: make(chan struct{}, maxGuests), secret: secret, own: own, other: other,
		connect: func(ctx context.Context, to string) (net.Conn, error) {
			return p.Network.Dial(ctx, p.network("tcp"), to)
		}}
	var conn net.PacketConn
	var err error
	for n := p.Ports[0]; n != 0 && n <= p.Ports[1] && e.tcp == nil; n++ {
		if conn != nil {
			conn.Close()
		}
		if conn, err = p.Network.ListenPacket(ctx, p.network("udp"), p.local(n)); err != nil {
			conn = nil
			continue
		}
		e.tcp, _ = p.Network.Listen(ctx, p.network("tcp"), p.local(n)) // in use: the next one
		if n == 65535 {
			break
		}
	}
	if conn == nil {
		if conn, err = p.Network.ListenPacket(ctx, p.network("udp"), p.local(0)); err != nil {
			return nil, fmt.Errorf("listening for UDP: %w", err)
		}
	}
	if e.tcp == nil {
		e.tcp, _ = p.Network.Listen(ctx, p.network("tcp"), p.local(0)) // nil tells the other end
	}
	batch, ok := conn.(netx.BatchConn)
	if !ok {
		conn.Close()
		e.stopListening()
		return nil, errors.New("listening for UDP: the network has no batches")
	}
	e.udp = newPort(batch, secret, own, other)
	go e.udp.run()
	ctx, e.cancel = context.WithCancel(ctx)
	if e.tcp != nil {
		e.guests.Go(func() { e.accept(ctx) })
	}
	return e, nil
}

func (e *endpoint) stopListening() {
	if e.tcp != nil {
		e.tcp.Close()
	}
}

// close ends both ports and waits for what runs at them.
func (e *endpoint) close() {
	e.cancel()
	e.stopListening()
	e.udp.close()
	e.guests.Wait()
}

// network names a protocol with the family that is asked for.
func (p *Params) network(name string) string {
	switch {
	case p.IPv4 && !p.IPv6:
		return name + "4"
	case p.IPv6 && !p.IPv4:
		return name + "6"
	}
	return name
}

// local is the address of a port here.
func (p *Params) local(port uint16) string {
	host := ""
	if p.Bind.IsValid() {
		host = p.Bind.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// portOf gives the number of a port.
func portOf(a net.Addr) uint16 {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return 0
	}
	return ap.Port()
}

// accept lets the other end show that it reached the TCP port.
func (e *endpoint) accept(ctx context.Context) {
	for {
		c, err := e.tcp.Accept()
		if err != nil {
			return // closed
		}
		select {
		case e.slots <- struct{}{}:
			e.guests.Go(func() {
				defer func() { <-e.slots }()
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				e.welcome(c)
			})
		default:
			c.Close()
		}
	}
}

// welcome answers who knows the secret.
func (e *endpoint) welcome(c net.Conn) {
	if c.SetDeadline(time.Now().Add(dialTimeout)) != nil {
		return
	}
	var b [nonceLen + tagLen]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return
	}
	tag := newSealer(e.secret, e.other).tag(b[:nonceLen])
	if subtle.ConstantTimeCompare(tag, b[nonceLen:]) != 1 {
		return
	}
	_, _ = c.Write(newSealer(e.secret, e.own).tag(b[:nonceLen])) // gone: it does not care
}

// errStranger means that something else is at the port.
var errStranger = errors.New("something else answers there")

// dial tries the other end's TCP port at its addresses, all at once, and gives the
// first that is the other end's, and how long connecting took.
func (e *endpoint) dial(ctx context.Context, addrs []netip.Addr, port uint16) (netip.AddrPort, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	type result struct {
		at   netip.AddrPort
		took time.Duration
		err  error
	}
	results := make(chan result, len(addrs)) // has room for all
	for _, a := range addrs {
		at := netip.AddrPortFrom(a, port)
		go func() {
			took, err := e.dialOne(ctx, at)
			results <- result{at, took, err}
		}()
	}
	var best result
	for range addrs {
		r := <-results
		switch {
		case r.err == nil && !best.at.IsValid():
			best = r
			cancel() // the others end
		case best.err == nil && !best.at.IsValid():
			best.err = r.err // of the address that is tried first to fail
		}
	}
	if best.at.IsValid() {
		return best.at, best.took, nil
	}
	if best.err == nil {
		best.err = errors.New("no address is known")
	}
	return netip.AddrPort{}, 0, best.err
}

func (e *endpoint) dialOne(ctx context.Context, to netip.AddrPort) (time.Duration, error) {
	began := time.Now()
	c, err := e.connect(ctx, to.String())
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return 0, fmt.Errorf("no answer from %v", to)
		}
		return 0, err
	}
	took := time.Since(began)
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	var nonce [nonceLen]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	if _, err := c.Write(newSealer(e.secret, e.own).greet(nonce[:])); err != nil {
		return 0, err
	}
	var tag [tagLen]byte
	if _, err := io.ReadFull(c, tag[:]); err != nil {
		return 0, fmt.Errorf("%v: %w", to, errStranger)
	}
	if subtle.ConstantTimeCompare(tag[:], newSealer(e.secret, e.other).tag(nonce[:])) != 1 {
		return 0, fmt.Errorf("%v: %w", to, errStranger)
	}
	return took, nil
}

// parseAddrs reads the other end's addresses behind those that are known, each
// once, at most maxAddrs.
func parseAddrs(known []netip.Addr, list []string) (out []netip.Addr) {
	seen := make(map[netip.Addr]bool)
	add := func(a netip.Addr) {
		if a = a.Unmap(); a.IsValid() && !seen[a] && len(out) < maxAddrs {
			seen[a] = true
			out = append(out, a)
		}
	}
	for _, a := range known {
		add(a)
	}
	for i, s := range list {
		if a, err := netip.ParseAddr(s); err == nil && i < maxAddrs && !a.IsUnspecified() && !a.IsMulticast() {
			add(a)
		}
	}
	return out
}
