// Package forger is an attacker in a multicast group, for tests and measurements of what a
// copy to several destinations withstands. It hears what a sender sends to the group, and
// in the sender's name sends it again, sends it with other bits, and, once it knows the
// group's key, seals bytes of its own. It needs root, and IPv4.
//
// The layout of a datagram is that of docs/tcpxm.md, written down here a second time: an
// attacker who used the program's own code would believe what that believes.
package forger

// Layout of a datagram. Kinds stand beside the version, 1.
const (
	shimLen   = 16
	headerLen = 20 // of a segment
	tagLen    = 16
	secretLen = 32

	kindGroup  = 0x12
	kindRepair = 0x13
)

// What is done with which of the datagrams that are heard: with one of so many.
const (
	repeatEvery = 20
	alterEvery  = 50
	forgeEvery  = 400
)

// What is forged lies ahead of what was heard, else nobody would need it any more.
const (
	forgeAhead  = 64    // segments
	numberAhead = 2_000 // datagrams
)

// Counts are what a forger has heard, and sent: each to the group and to the ports.
type Counts struct {
	Heard    int64
	Repeated int64 // as they were
	Altered  int64 // with a bit that was flipped
	Forged   int64 // sealed with the group's key
}
