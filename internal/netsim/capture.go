package netsim

import (
	"hash/fnv"
	"io"
	"net/netip"
	"strconv"
)

// What says which lines a Capture writes.
type What uint8

// The lines of a Capture; they can be added.
const (
	Drops      What = 1 << iota // packets that a link dropped
	Passes                      // packets that a link took, and when they leave it
	Deliveries                  // datagrams and segments that arrived
	Everything = Drops | Passes | Deliveries
)

// Capture writes what crosses a world, one line a packet and link, for goldens
// and for reading. Same seed, same text.
//
//	0.000100000 h0.up pass 0.025220000 udp 10.77.0.1:7 > 10.77.0.2:9 1028
//	0.025220000 h1.down drop loss tcp bulk 17 1500
//	0.050440000 h1 got udp 10.77.0.1:7 > 10.77.0.2:9 1028 9f2c6a01
//
// The words behind a time in seconds are: the link; what it did, with the time
// when the packet leaves it, or the cause; the packet with its size in bytes;
// what else happened to it (held, twice, corrupted, mangled). A datagram that
// arrived has a checksum of its payload behind it. A segment of a flow has the
// flow's name and its number, an acknowledgement the number that is expected.
type Capture struct {
	to   io.Writer
	what What
	line []byte
	err  error
}

// Capture writes lines to a writer from now on, instead of to an earlier one.
func (w *World) Capture(to io.Writer, what What) *Capture {
	w.capture = &Capture{to: to, what: what}
	return w.capture
}

// EndCapture ends what Capture began.
func (w *World) EndCapture() { w.capture = nil }

// Err gives the first error of the writer; nothing was written behind it.
func (c *Capture) Err() error { return c.err }

func (c *Capture) offered(w *World, h *Hop, p *packet, v Verdict) {
	if v.Cause != Passed && c.what&Drops == 0 || v.Cause == Passed && c.what&Passes == 0 {
		return
	}
	c.begin(w, h.name)
	if v.Cause != Passed {
		c.words("drop", v.Cause.String())
	} else {
		c.words("pass")
		c.time(int64(v.At))
	}
	c.packet(p)
	if v.Held {
		c.words("held")
	}
	if v.Copies > 1 {
		c.words("twice")
	}
	switch v.Damage {
	case Intact:
	case Corrupted:
		c.words("corrupted")
	case Mangled:
		c.words("mangled")
	}
	c.end()
}

func (c *Capture) delivered(w *World, p *packet) {
	if c.what&Deliveries == 0 {
		return
	}
	c.begin(w, p.to.name)
	c.words("got")
	c.packet(p)
	if p.flow == nil {
		h := fnv.New32a()
		h.Write(p.payload)
		c.line = append(c.line, ' ')
		c.line = append(c.line, hex(h.Sum32())...)
	}
	c.end()
}

func hex(n uint32) []byte {
	b := strconv.AppendUint(nil, 1<<32|uint64(n), 16)
	return b[1:]
}

func (c *Capture) begin(w *World, where string) {
	c.line = c.line[:0]
	c.time(int64(w.now))
	c.line = c.line[1:] // the space
	c.words(where)
}

// time writes nanoseconds as seconds, with all digits.
func (c *Capture) time(ns int64) {
	c.line = append(c.line, ' ')
	c.line = strconv.AppendInt(c.line, ns/1e9, 10)
	at := len(c.line)
	c.line = strconv.AppendInt(c.line, 1e9+ns%1e9, 10)
	c.line[at] = '.' // in place of the 1 that kept the zeros
}

func (c *Capture) words(words ...string) {
	for _, s := range words {
		c.line = append(c.line, ' ')
		c.line = append(c.line, s...)
	}
}

func (c *Capture) packet(p *packet) {
	if p.flow != nil {
		c.words("tcp", p.flow.config.Name)
		if p.seg.ack {
			c.words("ack")
		}
		c.number(p.seg.seq)
	} else {
		c.words("udp")
		c.addr(p.src)
		c.words(">")
		c.addr(p.dst)
	}
	c.number(int64(p.size))
}

func (c *Capture) number(n int64) {
	c.line = append(c.line, ' ')
	c.line = strconv.AppendInt(c.line, n, 10)
}

func (c *Capture) addr(a netip.AddrPort) {
	c.line = append(c.line, ' ')
	c.line = a.AppendTo(c.line)
}

func (c *Capture) end() {
	if c.err == nil {
		c.line = append(c.line, '\n')
		_, c.err = c.to.Write(c.line)
	}
}
