package udt

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports/internal/cc"
	"github.com/gomover/gomover/transports/internal/pace"
)

// Endpoint is one UDP port with any number of connections, and at most one
// listener. One goroutine reads the socket, another one looks after timers; these
// and writers take turns in working on packets.
//
// All methods may be called by any goroutine.
type Endpoint struct {
	cfg    Config
	socket netx.BatchConn
	local  netip.AddrPort
	start  time.Time
	timer  pace.Timer
	nw     netx.Network
	short  error // socket buffers are smaller than asked for
	whole  bool  // packets are not cut: the path MTU can be found
	greet  *greeter
	done   chan struct{} // closed by the loop at its end
	quiet  chan struct{} // closed by the reader at its end
	turns  chan struct{} // holds the token of whoever has the turn; a lock, but virtual time can pass while waiting
	turn   turn          // guarded by it

	mu       sync.Mutex // guards what follows
	conns    map[uint32]*Conn
	meeting  map[netip.AddrPort]*Conn // rendezvous
	children map[childKey]*Conn       // made by the listener
	listener *Listener
	woken    []*Conn // something was done with them
	closed   bool
	lone     bool // closes when it has nothing left to do
}

// childKey tells clients of a listener apart.
type childKey struct {
	from netip.AddrPort
	id   uint32
	isn  seq
}

// Sizes of the socket's buffers that are asked for, in bytes. Ours: some 50 ms
// of a gigabit until the reader gets its turn.
const (
	socketReadBuffer  = 8 << 20
	socketWriteBuffer = 4 << 20
)

// Open makes an endpoint at a local address such as ":9000", in one of the
// networks "udp", "udp4" and "udp6". The network's sockets must be able to move
// batches, as those of netx.System are.
func Open(ctx context.Context, nw netx.Network, network, addr string, cfg Config) (*Endpoint, error) {
	cfg, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("opening a UDT port: %w", err)
	}
	if _, err := newControl(&cfg); err != nil {
		return nil, fmt.Errorf("opening a UDT port: %w", err)
	}
	pc, err := nw.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("opening a UDT port: %w", err)
	}
	socket, ok := pc.(netx.BatchConn)
	local, known := pc.LocalAddr().(*net.UDPAddr)
	if !ok || !known {
		return nil, errors.Join(fmt.Errorf("opening a UDT port: a socket of %T moves no batches", pc), pc.Close())
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	e := &Endpoint{
		cfg: cfg, nw: nw, socket: socket, local: local.AddrPort(), start: time.Now(), greet: newGreeter(cfg, secret),
		done: make(chan struct{}), conns: make(map[uint32]*Conn), meeting: make(map[netip.AddrPort]*Conn),
		children: make(map[childKey]*Conn), quiet: make(chan struct{}), turns: make(chan struct{}, 1),
	}
	e.turn.e = e
	go e.read(e.prepare())
	go e.loop()
	return e, nil
}

func newControl(cfg *Config) (cc.Controller, error) {
	name := cfg.Control
	if name == "" {
		name = defaultControl
	}
	return cc.New(name)
}

// prepare sets the socket's options, as far as it has them, and gives the memory
// for what is read from it.
func (e *Endpoint) prepare() *batch {
	_, system := e.socket.(*netx.UDPConn)
	e.timer = pace.NewTimer(system)
	if s, ok := e.socket.(interface{ SetReadBuffer(int) error }); ok {
		e.short = s.SetReadBuffer(socketReadBuffer)
	}
	if s, ok := e.socket.(interface{ SetWriteBuffer(int) error }); ok {
		e.short = errors.Join(e.short, s.SetWriteBuffer(socketWriteBuffer))
	}
	if s, ok := e.socket.(interface {
		SetFragmentation(netx.Fragmentation) error
	}); ok {
		e.whole = e.cfg.FindMTU && s.SetFragmentation(netx.Probe) == nil
		if !e.whole {
			// Packets are as long as the usual link takes. Where one is narrower and its
			// router does not say so, or is not heard, they arrive in pieces instead of
			// never. Refused, it is as the system is configured.
			_ = s.SetFragmentation(netx.Fragment)
		}
	}
	entries, size := 64, max(e.cfg.MSS, defaultMSS)
	if e.cfg.FindMTU {
		entries, size = 32, mostMTU
	}
	if s, ok := e.socket.(interface{ SetReceiveCoalescing(bool) error }); ok && s.SetReceiveCoalescing(true) == nil {
		entries, size = 16, netx.CoalescedSize
	}
	return newBatch(entries, size)
}

// Addr is the local address.
func (e *Endpoint) Addr() net.Addr { return net.UDPAddrFromAddrPort(e.local) }

// Shortfall tells that the system grants smaller socket buffers than would be
// good, or nil. See netx.ShortBufferError.
func (e *Endpoint) Shortfall() error { return e.short }

// Dial connects to a listener. Errors: ErrTimeout, ErrRefused, ErrSecurity, the
// context's, net.ErrClosed.
func (e *Endpoint) Dial(ctx context.Context, to netip.AddrPort) (*Conn, error) {
	return e.connect(ctx, to, false)
}

// Meet connects to an end that connects to this one at the same time, so that
// both open their firewalls; both must know the other's address, and use a
// local one that the other knows. It waits for up to 30 s. Errors as of Dial.
func (e *Endpoint) Meet(ctx context.Context, with netip.AddrPort) (*Conn, error) {
	return e.connect(ctx, with, true)
}

func (e *Endpoint) connect(ctx context.Context, to netip.AddrPort, rendezvous bool) (*Conn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	c, err := e.newConn(to, seq(random32())&seqMask)
	if err != nil {
		return nil, fmt.Errorf("connecting to %v: %w", to, err)
	}
	c.core.dial(e.now(), rendezvous)
	e.mu.Lock()
	err = e.addLocked(c)
	if err == nil && rendezvous {
		if e.meeting[to] != nil {
			delete(e.conns, c.core.id)
			err = errors.New("a rendezvous goes on there")
		} else {
			e.meeting[to] = c
		}
	}
	e.mu.Unlock()
	if err == nil {
		e.wake(c)
		if err = c.waitConnected(ctx); err != nil && rendezvous {
			e.mu.Lock()
			if e.meeting[to] == c { // not only when the loop gets to it
				delete(e.meeting, to)
			}
			e.mu.Unlock()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to %v: %w", to, err)
	}
	return c, nil
}

// pathMTU is what a network has that knows how long packets may be at first.
type pathMTU interface {
	PathMTU(ctx context.Context, to netip.AddrPort) (int, error)
}

// firstLink is the longest packet that the first link to a peer takes. Since the
// socket cuts none there has to be a search; where nothing is known it is up to what
// the usual link takes.
func (e *Endpoint) firstLink(peer netip.AddrPort) int {
	if nw, ok := e.nw.(pathMTU); ok {
		if mtu, err := nw.PathMTU(context.Background(), peer); err == nil && mtu >= leastMTU {
			return mtu
		}
	}
	return defaultMSS
}

func random32() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint32(b[:])
}

func (e *Endpoint) newConn(peer netip.AddrPort, isn seq) (*Conn, error) {
	control, err := newControl(&e.cfg)
	if err != nil {
		return nil, err
	}
	cfg := e.cfg
	cfg.RecvBuffer = cfg.FirstBuffer
	if peer.Addr().Is6() && !peer.Addr().Is4In6() {
		// The header of IPv6 is so much longer; datagrams too long for the path
		// may all be lost.
		cfg.MSS = max(cfg.MSS-20, minMSS)
	}
	c := &Conn{e: e, heap: -1, core: newCore(cfg, control, e.now(), peer, 0, isn)}
	if e.whole {
		c.core.mtu.top = e.firstLink(peer)
	}
	c.changed.L = &c.mu
	return c, nil
}

// addLocked gives a connection its ID, at which it can be reached then: IDs are
// random, so that nobody can guess those of others from his own.
func (e *Endpoint) addLocked(c *Conn) error {
	if e.closed {
		return net.ErrClosed
	}
	for c.core.id == 0 || e.conns[c.core.id] != nil {
		c.core.id = random32() & uint32(seqMask)
	}
	e.conns[c.core.id] = c
	return nil
}

// now is the time of the connections.
func (e *Endpoint) now() time.Duration { return time.Since(e.start) }

// wake has the loop look after a connection.
func (e *Endpoint) wake(c *Conn) {
	e.note(c)
	e.timer.Wake()
}

// note has whoever has the next turn look after a connection.
func (e *Endpoint) note(c *Conn) {
	e.mu.Lock()
	if !c.woken {
		c.woken = true
		e.woken = append(e.woken, c)
	}
	e.mu.Unlock()
}

// Listen begins to accept connections. Errors: there is a listener already;
// net.ErrClosed.
func (e *Endpoint) Listen() (*Listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fmt.Errorf("listening at %v: %w", e.local, net.ErrClosed)
	}
	if e.listener != nil {
		return nil, fmt.Errorf("listening at %v: there is a listener", e.local)
	}
	e.listener = &Listener{e: e, arrived: make(chan *Conn, e.cfg.Backlog), closed: make(chan struct{})}
	return e.listener, nil
}

// Close ends all connections at once, the listener, and the port. It returns
// when nothing of it runs any more.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	e.closed = true
	l := e.listener
	var all []*Conn
	for _, c := range e.conns {
		all = append(all, c)
	}
	e.mu.Unlock()
	if l != nil {
		l.stop()
	}
	for _, c := range all {
		c.abort()
	}
	e.timer.Wake()
	<-e.done
	return nil
}

// retire closes the endpoint when nothing is left.
func (e *Endpoint) retire() {
	e.mu.Lock()
	e.lone = true
	e.mu.Unlock()
	e.timer.Wake()
}

// endsWith tells that the endpoint closes when it has forgotten c.
func (e *Endpoint) endsWith(c *Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.conns)
	return e.lone && e.listener == nil && (n == 0 || n == 1 && e.conns[c.core.id] == c)
}

// Listener accepts connections at an endpoint. It implements net.Listener.
type Listener struct {
	e       *Endpoint
	arrived chan *Conn // by the loop, which refuses clients when it is full
	closed  chan struct{}
	once    sync.Once
}

var _ net.Listener = (*Listener)(nil)

// Accept implements net.Listener; the result is a *Conn. First come, first
// served.
func (l *Listener) Accept() (net.Conn, error) { return l.AcceptContext(context.Background()) }

// AcceptContext is Accept until a context ends.
func (l *Listener) AcceptContext(ctx context.Context) (*Conn, error) {
	select {
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "udt", Addr: l.Addr(), Err: net.ErrClosed}
	default:
	}
	select {
	case c := <-l.arrived:
		return c, nil
	case <-ctx.Done():
		return nil, &net.OpError{Op: "accept", Net: "udt", Addr: l.Addr(), Err: ctx.Err()}
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "udt", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.e.Addr() }

// Close implements net.Listener. Connections that nobody has accepted are
// ended; others live on.
func (l *Listener) Close() error {
	l.stop()
	l.e.mu.Lock()
	lone := l.e.lone
	last := lone && len(l.e.conns) == 0
	l.e.mu.Unlock()
	if lone {
		l.e.timer.Wake()
	}
	if last {
		<-l.e.done
	}
	return nil
}

func (l *Listener) stop() {
	l.once.Do(func() {
		l.e.mu.Lock()
		if l.e.listener == l {
			l.e.listener = nil
		}
		l.e.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.arrived:
				c.abort()
				continue
			default:
			}
			return
		}
	})
}
