package netx

import (
	"net"
	"net/netip"
	"time"
)

// Datagram is one entry of a batch that a [BatchConn] sends or receives.
type Datagram struct {
	B    []byte         // sending: what is sent; receiving: room for it
	N    int            // receiving: bytes that came; what did not fit into B is gone
	Peer netip.AddrPort // sending: to whom, zero on a connected socket; receiving: from whom
	// Segment, when sending, cuts B, which may be of any length, into datagrams
	// of so many bytes each, the last may be shorter; 0 sends B as one. When
	// receiving, it tells that B holds several such datagrams of one peer.
	Segment int
	At      time.Time // receiving: when it came, or zero where that is not known
}

// BatchConn is a datagram socket that moves many datagrams in one call.
type BatchConn interface {
	net.PacketConn
	// ReadBatch waits for a datagram and takes those that are there, at most
	// len(ds). It returns how many entries it filled, at least 1 without an error.
	ReadBatch(ds []Datagram) (int, error)
	// WriteBatch sends ds in order. It returns how many entries it has sent;
	// these are all unless there is an error, and then some datagrams of the
	// next one may have been sent, too. ds is not kept.
	WriteBatch(ds []Datagram) (int, error)
}

// GroupConn is a datagram socket that sends to and receives from multicast
// groups. A socket receives from the groups that it has joined itself.
type GroupConn interface {
	net.PacketConn
	// JoinGroup begins to receive what is sent to a group: by anybody, or only
	// by source if that is valid.
	JoinGroup(group, source netip.Addr) error
	// LeaveGroup takes back JoinGroup with the same arguments.
	LeaveGroup(group, source netip.Addr) error
	// SetMulticastTTL sets the time to live of what is sent to groups, 0..255;
	// it is 1 at first.
	SetMulticastTTL(ttl int) error
}
