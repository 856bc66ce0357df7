// Package transports is the seam between the engine and the ways data can
// travel: it defines what a data stream is, and nothing about files.
//
// Each end of a job prepares an [Endpoint] and describes it to the other end in
// an [Offer]. Streams are then made in whichever direction the network lets
// connections through: one end calls Dial with the other's offer, the other
// receives the authenticated stream from Accept. Who dials is independent of
// who sends.
//
//	source                                     sink
//	Endpoint.Offer  ---- control channel --->  Endpoint.Dial(offer)
//	Endpoint.Accept <==== Stream of frames ==== Stream
//
// A [Stream] carries [Frame]s whole and in order. Nothing above this package
// knows sockets; nothing in it or below it knows files, blocks or journals.
package transports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// Errors which callers tell apart.
var (
	// ErrAuth means the other end could not prove that it belongs to the job.
	// Dialling the same address again is useless.
	ErrAuth = errors.New("the other end could not prove that it belongs to this job")
	// ErrDamaged means a frame was changed, repeated or cut on its way; the
	// stream is dead, what it carried must be sent again by another one.
	ErrDamaged = errors.New("damaged data on the wire")
)

// Seal says how frames are protected on the wire.
type Seal uint8

// The protections, strongest first.
const (
	// SealOn encrypts and authenticates every frame.
	SealOn Seal = iota
	// SealAuth authenticates every frame and leaves it readable.
	SealAuth
	// SealOff authenticates the connection only, at its start.
	SealOff
)

// String returns the word which the --encrypt option uses.
func (s Seal) String() string {
	switch s {
	case SealOn:
		return "on"
	case SealAuth:
		return "auth"
	case SealOff:
		return "off"
	}
	return fmt.Sprintf("Seal(%d)", uint8(s))
}

// Params is what an endpoint is prepared with.
type Params struct {
	Net     netx.Network     // the only door to sockets; nil: the system's
	Secret  [32]byte         // of this job, one time; proves that a stream belongs to it
	Seal    Seal             // protection of frames; both ends must agree
	MaxBody int              // bytes; the longest frame body that may come or go
	Listen  bool             // wait for connections too, not only dial
	On      net.Listener     // with Listen: wait on this one, which is taken over; nil: make one
	Bind    netip.Addr       // local address to bind; zero: any
	Ports   [2]uint16        // inclusive range to listen in; zero: see DefaultPorts, then any
	IPv4    bool             // permit IPv4 (neither set: both)
	IPv6    bool             // permit IPv6
	Window  int              // bytes of socket buffer per stream; 0: the kernel's own tuning
	CC      string           // TCP congestion control by name; "": the system's default
	DSCP    int              // traffic class 0..63
	Timeout time.Duration    // for one connection attempt; 0: 5 s
	Silence time.Duration    // over TCP: a stream of which nothing sent was acknowledged for so long is given up; 0: 30 s
	Known   []netip.Addr     // addresses of this end as others see it, first in the offer
	Warn    func(msg string) // called for what a user should know once; may be nil
}

// DefaultPorts is the range tried in order when none was asked for: many
// research sites leave it open already.
var DefaultPorts = [2]uint16{50000, 50019}

// An Offer says how an endpoint can be reached. The zero value: not at all.
type Offer struct {
	// Addrs are candidates, the most promising first; at most 32.
	Addrs []netip.AddrPort
}

// An Endpoint is one end's prepared side of a data channel.
//
// All methods may be called at the same time. After Close every blocked call
// returns within a second with net.ErrClosed in its chain, and no goroutine
// remains; streams already handed out live on and are closed by their owner.
type Endpoint interface {
	// Offer says how to reach this end.
	Offer() Offer
	// Dial makes one new authenticated stream to far. Candidates are raced on
	// the first call, the winner is remembered. label is given to the
	// accepting end as Stream.ID and must be unique within the job.
	Dial(ctx context.Context, far Offer, label uint32) (Stream, error)
	// Accept returns the next authenticated stream. Strangers are dropped
	// inside and never surface here.
	Accept(ctx context.Context) (Stream, error)
	// Close ends listening.
	Close() error
}

// A Switcher is an endpoint that makes streams in more than one way, and prefers
// one of them.
type Switcher interface {
	// Distrust says that a stream was made the preferred way and moved nothing.
	// Streams are made another way for a while, even if it seems to be open. Any
	// goroutine may call it.
	Distrust()
	// Reason says in a few words why streams are made another way, such as
	// "timed out" or "refused"; "": they are not, or the other end has made them
	// and knows. Any goroutine may call it.
	Reason() string
	// Use has streams made the preferred way from now on, or the other one. An
	// error means that this end cannot, and changes nothing. Any goroutine may call
	// it.
	Use(preferred bool) error
	// Turned tells if streams are made the other way at present. Any goroutine may
	// call it.
	Turned() bool
}

// A Stream carries frames both ways, whole and in order. One goroutine may
// send while another receives; Stats and Close may be called by any. After an
// error the stream is dead and returns the same error for ever.
type Stream interface {
	// ID is the dialler's label for the stream.
	ID() uint32
	// Send sends one frame. The contents of f, body included, are undefined
	// afterwards: sealing works in place. A nil error does not mean delivered.
	Send(f *Frame) error
	// Recv replaces f's body by the next frame's.
	Recv(f *Frame) error
	// Stats never blocks.
	Stats() Stats
	// Retune changes window and pacing of the running stream as far as the
	// system allows; zero values leave as is.
	Retune(s Settings) error
	// Close ends the stream at once; blocked calls return.
	Close() error
}

// Settings are what can be changed while a stream runs.
type Settings struct {
	Window     int   // bytes of socket buffer
	PacingRate int64 // bytes per second, most that the kernel may send; 0: as is

	// SeenRate is what the path was seen to carry, in bytes per second, for a stream
	// that has just begun: transports of this program begin with a part of it. 0: not
	// known.
	SeenRate int64

	// CC is the congestion control to change to, by name; "": as is. A refusal
	// is an error, the stream goes on as before.
	CC string
}

// Stats are counters and gauges of one stream. Counters only grow. Zero: not
// known on this system.
type Stats struct {
	SentBytes, RecvBytes    int64         // on this stream, overhead of sealing included
	RTT, MinRTT             time.Duration // smoothed; least seen
	Retrans                 int64         // segments sent again
	Lost                    int64         // segments now thought lost
	Cwnd                    int64         // bytes
	Unacked                 int64         // bytes sent and not acknowledged, selectively neither
	NotSent                 int64         // bytes in the send buffer, not yet sent
	MSS                     int           // longest segment in bytes; 0: not known
	Acked                   int64         // bytes that the other end's kernel has, selectively acknowledged ones among them
	DeliveryRate            int64         // bytes per second, the kernel's estimate
	SendBlocked             time.Duration // total time Send waited for the network
	RecvBlocked             time.Duration // total time Recv waited for the network
	RwndLimited, BufLimited time.Duration // limited by the receiver's window, by the send buffer
	CC                      string        // congestion control in use
	Transport               string        // how the stream travels, a word of --transport; "": within the process
	Local, Remote           netip.AddrPort
}
