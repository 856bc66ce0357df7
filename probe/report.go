package probe

import (
	"net/netip"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/host"
)

// Params says how an end probes. The zero value of a field means what its comment
// says.
type Params struct {
	Network netx.Network // makes the sockets
	// Ports are tried in order for both ports of an end; without them, or when all
	// are in use, the system chooses.
	Ports      [2]uint16
	Bind       netip.Addr   // local address; invalid: any
	IPv4, IPv6 bool         // permitted families; neither set: both
	Own        []netip.Addr // told to the other end
	Peers      []netip.Addr // where the other end may be, tried before what it tells
	// Facts looks at this host; nil leaves it out.
	Facts func(a host.Ask) host.Facts

	// What follows is for the asking end.

	Dir, FarDir string // whose disks are meant
	// Bytes bounds the trains of each direction, headers included; 0 is
	// DefaultBytes, and negative sends none.
	Bytes int64
	// Time bounds how long the trains of each direction last together, without the
	// first; 0 is DefaultTime.
	Time time.Duration
	// Group tries whether datagrams to a multicast group reach the other end, too.
	Group bool
	// Step, if not nil, hears of what begins. It is called by one goroutine.
	Step func(what string)
}

// Bounds of a probe, if the caller sets none. Ours: some hundredths of what a
// transfer moves that is worth a probe.
const (
	DefaultBytes = 64 << 20
	DefaultTime  = 600 * time.Millisecond
	// maxBytes is the most that an answering end sends, whatever it is asked for.
	maxBytes = 256 << 20
)

// Report is what a probe has proven. Zero means "not known", and false "not seen
// to work".
type Report struct {
	Connect time.Duration   // round trip of a TCP handshake
	RTT     estimate.Delays // of UDP echoes
	// Offset is by how much the other end's clock is ahead of this one's, at most
	// wrong by half a round trip. It is known when RTT is.
	Offset time.Duration
	// Echoes and Lost count the echoes; LossLow and LossHigh are the bounds of the
	// share that this leaves open, both ways together.
	Echoes, Lost      int
	LossLow, LossHigh float64
	Order             estimate.Order

	TCPOut, TCPIn Reach // this end's TCP connections to the other one, and the other way
	UDPOut, UDPIn Reach
	Group         Group // not tried unless asked for

	// MTU is the largest IP packet that goes both ways whole, and Link that which
	// this end's first link takes. Beyond 9000 it is not looked for. Unit: bytes.
	MTU, Link int

	There, Back Direction

	Here, Far host.Facts

	Flags []string      // what is odd, in words
	Took  time.Duration //
	Bytes int64         // of trains, both ends, headers included
}

// Reach tells whether a port was reached.
type Reach struct {
	OK  bool
	At  netip.AddrPort // where
	Why string         // not
}

// Group tells whether datagrams to a multicast group reach the other end. At is the
// group and its port there; OK means that most of them came.
type Group struct {
	Reach
	Sent, Heard int
	Face        string // interface here that they left through; "": as routes are
}

// Direction is what trains tell of one direction.
type Direction struct {
	estimate.Capacity
	Trains     int
	Coalescing time.Duration // period in which the receiver takes packets; 0: not seen
	BDP        int64         // of capacity and least round trip, bytes
}
