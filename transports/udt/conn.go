package udt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// Conn is a connection: a stream of bytes each way, or messages. It implements
// net.Conn. Any number of goroutines may use it.
type Conn struct {
	e *Endpoint

	mu       sync.Mutex // guards what follows
	core     *core
	changed  sync.Cond // something that somebody may wait for
	waiting  int       // how many do
	roomless int       // how many of them for room to write
	writing  bool      // somebody is in Write; others wait for their turn
	read     deadline
	write    deadline

	woken bool // guarded by the endpoint's lock

	// Guarded by the endpoint's turns.
	dirty bool
	due   time.Duration
	heap  int
	key   childKey
}

var _ net.Conn = (*Conn)(nil)

// copyMax is how much is copied between buffers before the loop gets its turn:
// it waits meanwhile. Unit: bytes.
const copyMax = 1 << 20

// deadline is an instant that ends waiting.
type deadline struct {
	timer  *time.Timer
	passed bool
	set    int // how often, so that an older timer does nothing
}

// Dial opens a port and connects it to a listener; the port is closed with the
// connection. addr is of an IP address and a port. Errors: those of Open and of
// Endpoint.Dial.
func Dial(ctx context.Context, nw netx.Network, network, addr string, cfg Config) (*Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	e, err := Open(ctx, nw, network, ":0", cfg)
	if err != nil {
		return nil, err
	}
	c, err := e.Dial(ctx, to)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.retire()
	return c, nil
}

// Listen opens a port and accepts connections at it. The port is closed when
// the listener and its connections are. Errors: those of Open.
func Listen(ctx context.Context, nw netx.Network, network, addr string, cfg Config) (*Listener, error) {
	e, err := Open(ctx, nw, network, addr, cfg)
	if err != nil {
		return nil, err
	}
	l, err := e.Listen()
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	e.retire()
	return l, nil
}

// wait waits for a change; the lock is held before and after.
func (c *Conn) wait() {
	c.waiting++
	c.changed.Wait()
	c.waiting--
}

// waitRoom is wait for a writer.
func (c *Conn) waitRoom() {
	c.roomless++
	c.wait()
	c.roomless--
}

// notify wakes who waits; the lock is held. Writers alone are not woken for a
// little room, since waking them costs more than what they could write.
func (c *Conn) notify() {
	if c.waiting > c.roomless || c.roomless > 0 && (c.core.state != connected || c.core.send.peerError || c.core.writable()) {
		c.changed.Broadcast()
	}
}

// waitConnected waits for the handshake.
func (c *Conn) waitConnected(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		c.changed.Broadcast()
		c.mu.Unlock()
	})
	defer stop()
	c.mu.Lock()
	for c.core.state == connecting && ctx.Err() == nil {
		c.wait()
	}
	var err error
	switch c.core.state {
	case connecting:
		err = ctx.Err()
		c.core.close(c.e.now(), -1)
	case closed:
		err = c.core.err
	}
	c.mu.Unlock()
	if err != nil {
		c.e.wake(c)
	}
	return err
}

// Read implements net.Conn. It ends with io.EOF when the other end has closed
// the connection, with ErrTimeout when it is gone.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	if c.core.cfg.Messages {
		c.mu.Unlock()
		return c.ReceiveMessage(b)
	}
	defer c.mu.Unlock()
	for {
		if n, err, ok := c.tryRead(b[:min(len(b), copyMax)]); ok {
			if c.core.recv.ackDue == 0 { // there is room again, which the peer wants to know
				defer c.e.wake(c)
			}
			return n, err
		}
		c.wait()
	}
}

// tryRead reads without waiting; ok is false if there is nothing to say.
func (c *Conn) tryRead(b []byte) (n int, err error, ok bool) { //nolint:revive // the error is what is read
	k := c.core
	switch {
	case k.state == closing || k.state == closed:
		return 0, c.fault("read", net.ErrClosed), true
	case c.read.passed:
		return 0, c.fault("read", os.ErrDeadlineExceeded), true
	case len(b) == 0:
		return 0, nil, true
	}
	if n = k.read(b); n > 0 {
		return n, nil, true
	}
	if k.state == broken {
		if errors.Is(k.err, ErrShutdown) && len(k.recv.gaps.l) == 0 {
			return 0, io.EOF, true
		}
		return 0, c.fault("read", k.err), true
	}
	return 0, nil, false
}

// Write implements net.Conn. It returns when all of b is in the send buffer, and
// so is not mixed with what others write meanwhile.
func (c *Conn) Write(b []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.core.cfg.Messages {
		if err := c.sendMessage(b, 0, true); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	for c.writing {
		if err := c.writeError(); err != nil {
			return 0, c.fault("write", err)
		}
		c.wait()
	}
	c.writing = true
	defer func() {
		c.writing = false
		c.notify()
	}()
	for {
		if err := c.writeError(); err != nil {
			return n, c.fault("write", err)
		}
		if len(b) == 0 {
			return n, nil
		}
		if k := c.core.write(b[:min(len(b), copyMax)]); k > 0 {
			n += k
			b = b[k:]
			c.mu.Unlock()
			c.e.wakeNow(c)
			c.mu.Lock()
			continue
		}
		c.waitRoom()
	}
}

func (c *Conn) writeError() error {
	k := c.core
	switch {
	case k.state == closing || k.state == closed:
		return net.ErrClosed
	case k.state == broken:
		return k.err
	case c.write.passed:
		return os.ErrDeadlineExceeded
	case k.send.peerError:
		k.send.peerError = false
		return ErrPeer
	}
	return nil
}

// SendMessage sends a message. It waits until all of it is in the send buffer;
// after ttl it is not sent again when it was lost, 0 is for ever. A message that
// is not to be delivered in order is delivered as soon as it has come. Errors:
// ErrTooLong, and those of Write.
func (c *Conn) SendMessage(b []byte, ttl time.Duration, inOrder bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendMessage(b, ttl, inOrder)
}

// sendMessage is SendMessage; the lock is held.
func (c *Conn) sendMessage(b []byte, ttl time.Duration, inOrder bool) error {
	for {
		if err := c.writeError(); err != nil {
			return c.fault("write", err)
		}
		ok, err := c.core.writeMessage(c.e.now(), b, ttl, inOrder)
		if err != nil {
			return c.fault("write", err)
		}
		if ok {
			defer c.e.wake(c)
			return nil
		}
		c.wait()
	}
}

// ReceiveMessage gives the next message; what does not fit into b is gone.
// Errors as of Read.
func (c *Conn) ReceiveMessage(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		k := c.core
		switch {
		case k.state == closing || k.state == closed:
			return 0, c.fault("read", net.ErrClosed)
		case c.read.passed:
			return 0, c.fault("read", os.ErrDeadlineExceeded)
		}
		if k.state != connecting {
			if n := k.readMessage(b); n >= 0 {
				if k.recv.ackDue == 0 {
					defer c.e.wake(c)
				}
				return n, nil
			}
		}
		if k.state == broken {
			if errors.Is(k.err, ErrShutdown) {
				return 0, io.EOF
			}
			return 0, c.fault("read", k.err)
		}
		c.wait()
	}
}

// fault dresses an error as net does.
func (c *Conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "udt", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Close implements net.Conn. It waits until the other end has acknowledged all
// that was written, at most as long as Config.Linger says; what was received and
// not read is gone. Errors: os.ErrDeadlineExceeded if something was not
// acknowledged in that time, ErrShutdown if the other end has closed before,
// ErrTimeout if it has vanished; what had ended the connection before Close,
// except for ErrShutdown.
func (c *Conn) Close() error { return c.end(c.core.cfg.Linger) }

// abort ends the connection without waiting.
func (c *Conn) abort() { _ = c.end(-1) } // there is nothing that it could have failed in

func (c *Conn) end(linger time.Duration) error {
	c.mu.Lock()
	if c.core.state == closed {
		c.mu.Unlock()
		return c.fault("close", net.ErrClosed)
	}
	broke := c.core.err
	c.core.close(c.e.now(), linger)
	c.changed.Broadcast()
	c.mu.Unlock()
	c.e.wake(c)
	c.mu.Lock()
	for c.core.state != closed {
		c.wait()
	}
	unacked, cut := c.core.send.acked < c.core.send.end, c.core.cut
	c.read.stop()
	c.write.stop()
	c.mu.Unlock()
	if c.e.endsWith(c) {
		<-c.e.done
	}
	switch {
	case broke != nil && !errors.Is(broke, ErrShutdown):
		return c.fault("close", broke)
	case unacked && cut != nil:
		return c.fault("close", cut)
	case unacked && broke != nil && linger > 0:
		return c.fault("close", broke)
	case unacked && linger > 0:
		return c.fault("close", os.ErrDeadlineExceeded)
	}
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.e.Addr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.core.peer) }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.read, t) }

// SetWriteDeadline implements net.Conn. It does not bound Close.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.write, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.core.state == closing || c.core.state == closed {
		return c.fault("set", net.ErrClosed)
	}
	d.stop()
	d.set++
	d.passed = !t.IsZero() && time.Until(t) <= 0
	if !t.IsZero() && !d.passed {
		set := d.set
		d.timer = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if d.set == set {
				d.passed = true
				c.changed.Broadcast()
			}
		})
	}
	c.changed.Broadcast()
	return nil
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// Stats is how a connection stands.
type Stats struct {
	Counters
	RTT, MinRTT  time.Duration // smoothed; least seen, 0 if none
	Window       int           // packets that the congestion control allows in flight
	Rate         int64         // bytes per second that it allows; 0 is without limit
	InFlight     int           // packets
	NotSent      int64         // packets in the send buffer that were not sent yet
	PeerSpeed    float64       // packets per second that arrive at the peer, as it says
	PeerCapacity float64       // packets per second that the path could carry, as it says
	Payload      int           // bytes in a full packet of the negotiated size, of which the others speak
	Full         int           // bytes in a full packet that is sent now; see Config.FindMTU
}

// Stats tells how the connection stands.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, x := c.core, &c.core.send
	return Stats{
		Counters: k.count, RTT: x.rtt.rtt, MinRTT: x.minRTT, Window: int(k.ctl.Window), Rate: int64(k.ctl.Rate),
		InFlight: x.inFlight, NotSent: x.load.end - x.load.next, PeerSpeed: x.speed, PeerCapacity: x.capacity, Payload: k.payload,
		Full: k.full,
	}
}
