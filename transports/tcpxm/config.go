package tcpxm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/gomover/gomover/transports/internal/cc"
	"github.com/gomover/gomover/transports/seal"
	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// Slow says what becomes of receivers that would hold others back.
type Slow uint8

// What can be done about them.
const (
	// SlowSplit gives those that are slow a group of their own if there are several
	// that are alike, else a flow of their own. It is the default.
	SlowSplit Slow = iota
	// SlowDrop gives each a flow of its own.
	SlowDrop
	// SlowWait goes at the pace of the slowest.
	SlowWait
)

// Config is how a session is made. Tag and the secrets are told to the receivers some
// other way before it begins, such as by their ssh sessions; they are of this
// session alone.
type Config struct {
	Tag uint32 // of the session, the same for all receivers; not 0
	// Secret of the group. Zero: the session makes one, and tells it each receiver that
	// has answered, sealed for that alone.
	Secret Secret
	// Cipher seals datagrams; zero: AES-128-GCM.
	Cipher seal.Cipher
	// Group is the multicast group and its port; groups for slower receivers are
	// the addresses behind it. Zero: unicast only.
	Group netip.AddrPort
	// Payload is how many bytes of the stream a segment carries: 512 to 8192, 0 for
	// what fits 1500 bytes over IPv4.
	Payload int
	// Control is the congestion control by its name, as for UDT; "": bbr.
	Control string
	Slow    Slow
	// Source, if not nil, is what is sent, of Size bytes: any part of it is read
	// again when a receiver needs it, so that a slow one holds nobody back. It must not
	// change. Without it, what Write takes is kept until all receivers have it, Retain
	// bytes at most; 0: 64 MiB. With Growing the source becomes longer by Extend, until
	// CloseWrite.
	Source  io.ReaderAt
	Size    int64
	Growing bool
	Retain  int64
	// Connect is how long a receiver may take to answer, 0: 15 s; Dead how long it
	// may be silent before it is given up, 0: 60 s.
	Connect, Dead time.Duration
	// TTL of what is sent to groups, 0: 32. Interface for it by name, "": by routes.
	TTL       int
	Interface string
	// NoRepair mends losses by unicast only.
	NoRepair bool
	// Bind is the local address; zero: any. For Dial.
	Bind netip.Addr
}

// Destination is a receiver as its sender knows it.
type Destination struct {
	Addr   netip.AddrPort
	Secret Secret
}

// ReceiverConfig is how a receiver is made.
type ReceiverConfig struct {
	Tag    uint32
	Secret Secret // of this receiver
	Group  Secret // of the group; zero: the sender will tell it
	Cipher seal.Cipher
	// GroupPort is the port of the groups. 0: no multicast.
	GroupPort uint16
	// Window is how many bytes are kept for a reader, and until they are whole; 0:
	// 16 MiB.
	Window int64
	// Dead is how long the sender may be silent; 0: 60 s.
	Dead time.Duration
	// Interface is where groups are joined, by name; "": by routes.
	Interface string
}

// Errors which callers tell apart.
var (
	// ErrTimeout means that nothing was heard of the other end in time. It is a
	// timeout in the sense of net.Error.
	ErrTimeout error = timeoutError{}
	// ErrAborted means that the other end has given up.
	ErrAborted = errors.New("given up by the other end")
	// ErrRefused means that a receiver does not want the connection.
	ErrRefused = errors.New("connection refused")
	// ErrIncomplete means that a receiver had not confirmed the end.
	ErrIncomplete = errors.New("the end was not confirmed")
)

type timeoutError struct{}

func (timeoutError) Error() string   { return "nothing was heard of the other end" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

var _ net.Error = timeoutError{}

// Constants of our choice, but where a source is named.
const (
	defaultPayload = 1500 - 20 - 8 - segment.ShimLen - segment.HeaderLen - segment.TagLen
	minPayload     = 512
	maxPayload     = 8192
	defaultRetain  = 64 << 20
	defaultWindow  = 16 << 20
	minWindow      = 2 << 20 // two blocks of the longest segments
	maxWindow      = 1 << 30 // what a scaled window can say
	maxReceivers   = 255     // what a schedule can number
	defaultConnect = 15 * time.Second
	defaultDead    = 60 * time.Second
	defaultTTL     = 32

	// probeBytes is what each receiver gets by unicast while it is found out whether
	// it hears the group. Source: the slides, "typically after 75K unicast data".
	// With many receivers it is less, since all of it passes the sender's link: their
	// part of probeTotal, at least probeLeast segments, which feedback needs (ours).
	probeBytes = int64(75_000)
	probeTotal = 500_000
	probeLeast = 18
	// initialRTO and minRTO bound the retransmission timeout (RFC 6298, but for the
	// shorter minimum that everybody uses).
	initialRTO = time.Second
	minRTO     = 200 * time.Millisecond
	maxRTO     = 10 * time.Second

	never time.Duration = 1<<63 - 1
)

// validate fills in what is zero and checks the rest.
func (c Config) validate() (Config, error) {
	fill(&c.Cipher, seal.CipherAES)
	fill(&c.Payload, defaultPayload)
	fill(&c.Control, "bbr")
	fill(&c.Retain, defaultRetain)
	fill(&c.Connect, defaultConnect)
	fill(&c.Dead, defaultDead)
	fill(&c.TTL, defaultTTL)
	_, err := cc.NewGroup(c.Control)
	switch {
	case err != nil:
	case c.Tag == 0:
		err = errors.New("a tag of 0")
	case c.Cipher.KeyLen() == 0:
		err = fmt.Errorf("cipher %v protects nothing", c.Cipher)
	case c.Payload < minPayload || c.Payload > maxPayload:
		err = fmt.Errorf("segments of %d bytes, not %d to %d", c.Payload, minPayload, maxPayload)
	case c.Group.IsValid() && (!c.Group.Addr().IsMulticast() || c.Group.Port() == 0):
		err = fmt.Errorf("%v is no multicast group with a port", c.Group)
	case c.Retain < int64(2*coding.K*c.Payload):
		err = fmt.Errorf("keeping %d bytes, at least %d are needed", c.Retain, 2*coding.K*c.Payload)
	case c.Source != nil && (c.Size < 0 || c.Size > segment.MaxOffset):
		err = fmt.Errorf("%d bytes to send", c.Size)
	case c.Growing && c.Source == nil:
		err = errors.New("no source that grows")
	case c.Connect < 0 || c.Dead < 0 || c.TTL < 0 || c.TTL > 255:
		err = fmt.Errorf("times of %v and %v, a TTL of %d", c.Connect, c.Dead, c.TTL)
	}
	if err != nil {
		return c, fmt.Errorf("preparing to send: %w", err)
	}
	return c, nil
}

// validate fills in what is zero and checks the rest.
func (c ReceiverConfig) validate() (ReceiverConfig, error) {
	fill(&c.Cipher, seal.CipherAES)
	fill(&c.Window, defaultWindow)
	fill(&c.Dead, defaultDead)
	var err error
	switch {
	case c.Tag == 0:
		err = errors.New("a tag of 0")
	case c.Cipher.KeyLen() == 0:
		err = fmt.Errorf("cipher %v protects nothing", c.Cipher)
	case c.Window < minWindow || c.Window > maxWindow:
		err = fmt.Errorf("a window of %d bytes, not %d to %d", c.Window, minWindow, maxWindow)
	case c.Dead < 0:
		err = fmt.Errorf("a time of %v", c.Dead)
	}
	if err != nil {
		return c, fmt.Errorf("preparing to receive: %w", err)
	}
	return c, nil
}

// fill sets what is zero.
func fill[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
