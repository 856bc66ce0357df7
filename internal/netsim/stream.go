package netsim

import (
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// streamBuffer is what each side of a stream buffers at first, in bytes: what
// Linux grows to by itself (the last figure of net.ipv4.tcp_rmem).
const streamBuffer = 6 << 20

// Conn is a byte stream between two hosts of a [Network]: a modelled TCP
// connection. Its segments and acknowledgements pass the links like all other
// packets, share their queues, and are lost there; what is lost is sent again.
//
// The sender begins with ten segments, doubles its window each round trip, and
// after a loss halves it and adds one segment per round trip (RFC 5681), with
// selective acknowledgements. There is no pacing.
type Conn struct {
	ends
	h             *Node
	peer          *Node
	local, remote netip.AddrPort
	listener      *Listener // of an accepted stream that nobody has taken yet

	// Guarded by the network's lock.
	state     streamState
	err       error // why the stream is broken
	wasOpen   bool  // the handshake was through
	abortive  bool  // SetLinger(0)
	finQueued bool  // by CloseWrite or Close
	writing   bool  // a goroutine is in Write
	out       streamSender
	in        streamReceiver
	clock     streamClock
	stats     StreamStats
}

var _ net.Conn = (*Conn)(nil)

// streamState is how far a stream has come.
//
//	dialling --SYN ACK--> open --both ends done, or broken--> gone
//	answering --ACK-----> open
type streamState uint8

const (
	dialling  streamState = iota // waits for an answer to its SYN
	answering                    // has answered a SYN, waits for the ACK
	open
	gone // no packet will find it any more
)

// StreamStats tell how a stream fares.
type StreamStats struct {
	Sent, Retransmitted int64         // segments with data
	Timeouts            int64         // retransmission timeouts
	RTT, MinRTT         time.Duration // smoothed, and least; 0 before the first
	Window              int           // congestion window in bytes
	Unacked             int           // bytes written and not acknowledged
}

// Stats tells how the stream fares.
func (c *Conn) Stats() StreamStats {
	c.h.n.lock()
	defer c.h.n.unlock()
	s := c.stats
	s.RTT, s.MinRTT, s.Window, s.Unacked = c.clock.srtt, c.clock.least, int(c.out.cwnd), c.out.buffered
	return s
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// Read implements net.Conn. It ends with io.EOF when the peer has closed its
// side, with ECONNRESET when the stream was reset, with ETIMEDOUT when the peer
// did not acknowledge anything for some fifteen minutes.
func (c *Conn) Read(b []byte) (int, error) {
	n := c.h.n
	n.lock()
	defer n.unlock()
	for {
		err := c.usable(&c.read)
		switch {
		case err != nil:
			return 0, c.fail("read", err)
		case len(b) == 0:
			return 0, nil
		case c.in.queued > 0:
			got := c.in.read(b)
			if c.state == open && c.in.windowGrew() {
				c.acknowledge()
			}
			return got, nil
		case c.in.ended:
			return 0, io.EOF
		case c.err != nil:
			return 0, c.fail("read", os.NewSyscallError("read", c.err))
		}
		c.read.wait(n)
	}
}

// Write implements net.Conn. It returns when all of b is in the send buffer.
func (c *Conn) Write(b []byte) (int, error) {
	n := c.h.n
	n.lock()
	defer n.unlock()
	for mine, done := false, 0; ; {
		err := c.writable()
		if err == nil && !mine && !c.writing {
			mine, c.writing = true, true
		}
		if mine && err == nil {
			done += c.out.queue(b[done:], c.mss())
			c.send()
		}
		if err != nil || mine && done == len(b) {
			if mine {
				c.writing = false
				c.write.wake()
			}
			if err != nil {
				err = c.fail("write", err)
			}
			return done, err
		}
		c.write.wait(n)
	}
}

// writable is why nothing can be written now or ever, or nil.
func (c *Conn) writable() error {
	err := c.usable(&c.write)
	switch {
	case err != nil:
		return err
	case c.err != nil:
		return os.NewSyscallError("write", c.err)
	case c.finQueued:
		return os.NewSyscallError("write", syscall.EPIPE)
	}
	return nil
}

// CloseWrite ends this direction: the peer reads io.EOF after what was written.
func (c *Conn) CloseWrite() error {
	n := c.h.n
	n.lock()
	defer n.unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	if c.err != nil {
		return c.fail("close", os.NewSyscallError("shutdown", syscall.ENOTCONN))
	}
	c.finish()
	c.write.wake()
	return nil
}

// Close implements net.Conn. What was written is still delivered. If there is
// something that was not read, or comes later, the peer's side is reset.
func (c *Conn) Close() error {
	n := c.h.n
	n.lock()
	defer n.unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.leave()
	return nil
}

// leave closes the stream's program side.
func (c *Conn) leave() {
	c.shut()
	switch {
	case c.state == gone:
	case c.abortive || c.in.queued > 0 || c.state == dialling:
		if c.state != dialling {
			c.sendReset()
		}
		c.end(net.ErrClosed)
	default:
		c.finish()
		c.endIfDone()
	}
}

// finish queues the end of what this side sends.
func (c *Conn) finish() {
	if !c.finQueued {
		c.finQueued = true
		c.out.queueEnd()
		c.send()
	}
}

// end takes the stream out of the network: err is what its users get.
func (c *Conn) end(err error) {
	if c.state == gone {
		return
	}
	c.state, c.err = gone, err
	c.clock.deadline = never
	c.out = streamSender{room: c.out.room}
	delete(c.h.streams, streamKey{c.local, c.remote})
	if c.listener != nil {
		c.listener.forget(c)
	}
	c.read.wake()
	c.write.wake()
}

// endIfDone ends a stream of which both sides have said and heard all.
func (c *Conn) endIfDone() {
	if c.closed && c.in.ended && c.finQueued && c.out.first == nil && c.state == open {
		c.end(net.ErrClosed)
	}
}

// SetReadBuffer sets how many bytes may wait to be read, which is the window
// that the peer may fill. It never shrinks what was already promised.
func (c *Conn) SetReadBuffer(bytes int) error {
	c.h.n.lock()
	defer c.h.n.unlock()
	c.in.room = max(bytes, c.mss())
	return nil
}

// SetWriteBuffer sets how many bytes may wait for their acknowledgement before
// Write waits.
func (c *Conn) SetWriteBuffer(bytes int) error {
	c.h.n.lock()
	defer c.h.n.unlock()
	c.out.room = max(bytes, c.mss())
	c.write.wake()
	return nil
}

// SetLinger with 0 makes Close reset the stream at once; other values mean what
// Close does anyway.
func (c *Conn) SetLinger(sec int) error {
	c.h.n.lock()
	defer c.h.n.unlock()
	c.abortive = sec == 0
	return nil
}

// ResetStreams breaks all streams between two hosts, as a firewall or a power
// cut on the way does that tells both ends: both get ECONNRESET. It returns how
// many there were. For ends that are told nothing, cut links with Set.
func (n *Network) ResetStreams(a, b string) int {
	n.lock()
	defer n.unlock()
	count := 0
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		h := n.Node(pair[0])
		if h == nil {
			continue
		}
		for _, c := range h.streams {
			if c.peer.name == pair[1] {
				c.end(syscall.ECONNRESET)
				count++
			}
		}
		if a == b {
			break
		}
	}
	return (count + 1) / 2
}
