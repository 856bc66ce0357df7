// Package segment is the wire format of TCP-XM: TCP segments and what goes with
// them, as they stand in UDP datagrams. It reads and writes them, and knows no
// keys, no states and no time.
//
//	IP | UDP | shim 16 | sealed: segment, parity or control | tag 16
//
// A datagram begins with a [Shim], which says with which key the rest is sealed
// and what it is:
//
//	Pair     a [Segment], sealed with the key that one receiver and the sender share
//	Group    a [Segment], sealed with the key of the group
//	Repair   a [Parity] symbol, sealed with the key of the group
//	Control  a list of records for one receiver, sealed as Pair is
//
// Segments are those of RFC 9293. The sequence numbers of a session are the same for
// all its receivers: the byte at offset p of the stream has the number iss+1+p, and
// the shim carries the bits 32 to 47 of 1+p, so that numbers do not come again
// within 256 TiB. Parsers keep slices of their input and allocate nothing.
package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strings"
)

// Sizes in bytes.
const (
	ShimLen    = 16 // the shim
	HeaderLen  = 20 // the header of a segment without options
	OptionsMax = 40 // options of a segment: what 4 bits of length leave
	TagLen     = 16 // the tag behind what is sealed
	ParityLen  = 18 // the header of a parity symbol
)

// version is that of the shim.
const version = 1

// ErrMalformed is in the chain of every error of parsing.
var ErrMalformed = errors.New("malformed datagram")

// Kind says what a datagram carries and which key seals it.
type Kind uint8

// The kinds; numbers on the wire.
const (
	Pair Kind = iota + 1
	Group
	Repair
	Control
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Pair:
		return "pair"
	case Group:
		return "group"
	case Repair:
		return "repair"
	case Control:
		return "control"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Shim is the head of every datagram. It is not secret, and authenticated.
//
//	0  1  version 1 in the high half, kind in the low one
//	1  1  epoch of the key
//	2  2  bits 32..47 of the position of the sequence number, or of the
//	      acknowledgement in what a receiver sends; 0 in others than segments
//	4  4  tag of the session, not 0
//	8  8  number of the datagram under its key
type Shim struct {
	Kind   Kind
	Epoch  uint8
	High   uint16
	Tag    uint32
	Number uint64
}

// Append puts the shim behind b.
func (s Shim) Append(b []byte) []byte {
	b = append(b, version<<4|byte(s.Kind), s.Epoch)
	b = binary.BigEndian.AppendUint16(b, s.High)
	b = binary.BigEndian.AppendUint32(b, s.Tag)
	return binary.BigEndian.AppendUint64(b, s.Number)
}

// ParseShim reads the shim of a datagram and gives what follows it.
func ParseShim(b []byte) (Shim, []byte, error) {
	if len(b) < ShimLen+TagLen {
		return Shim{}, nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	s := Shim{
		Kind: Kind(b[0] & 15), Epoch: b[1], High: binary.BigEndian.Uint16(b[2:]),
		Tag: binary.BigEndian.Uint32(b[4:]), Number: binary.BigEndian.Uint64(b[8:]),
	}
	if b[0]>>4 != version || s.Kind < Pair || s.Kind > Control || s.Tag == 0 {
		return Shim{}, nil, fmt.Errorf("%w: begins with %x", ErrMalformed, b[:8])
	}
	return s, b[ShimLen:], nil
}

// Flags of a segment (RFC 9293, section 3.1).
const (
	FIN uint8 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// Segment is a TCP segment.
type Segment struct {
	Src, Dst uint16 // ports
	Seq, Ack uint32
	Flags    uint8
	Window   uint16
	Options  Options
	Payload  []byte // a slice of what was parsed
}

// Append puts the segment behind b. Checksum and urgent pointer are 0: what is
// sealed needs no sum.
func (s *Segment) Append(b []byte) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, s.Src)
	b = binary.BigEndian.AppendUint16(b, s.Dst)
	b = binary.BigEndian.AppendUint32(b, s.Seq)
	b = binary.BigEndian.AppendUint32(b, s.Ack)
	b = append(b, 0, s.Flags)
	b = binary.BigEndian.AppendUint16(b, s.Window)
	b = append(b, 0, 0, 0, 0)
	b = s.Options.append(b, at+HeaderLen)
	b[at+12] = byte((len(b)-at)/4) << 4
	return append(b, s.Payload...)
}

// Parse reads a segment. Options that are unknown, or not as long as they must
// be, are ignored.
func (s *Segment) Parse(b []byte) error {
	if len(b) < HeaderLen {
		return fmt.Errorf("%w: a segment of %d bytes", ErrMalformed, len(b))
	}
	head := int(b[12]>>4) * 4
	if head < HeaderLen || head > len(b) {
		return fmt.Errorf("%w: a header of %d bytes in a segment of %d", ErrMalformed, head, len(b))
	}
	*s = Segment{
		Src: binary.BigEndian.Uint16(b), Dst: binary.BigEndian.Uint16(b[2:]),
		Seq: binary.BigEndian.Uint32(b[4:]), Ack: binary.BigEndian.Uint32(b[8:]),
		Flags: b[13] & 63, Window: binary.BigEndian.Uint16(b[14:]), Payload: b[head:],
	}
	return s.Options.parse(b[HeaderLen:head])
}

// ForGroup tells whether the segment is one that may be sent to a group: what is
// of one receiver only is not.
func (s *Segment) ForGroup() bool { return s.Flags&^PSH == 0 && len(s.Payload) > 0 }

// String gives the segment as one line, as in traces.
func (s *Segment) String() string {
	var b strings.Builder
	for i, name := range [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"} {
		if s.Flags&(1<<i) != 0 {
			b.WriteString(name + " ")
		}
	}
	fmt.Fprintf(&b, "seq %d", s.Seq)
	if s.Flags&ACK != 0 {
		fmt.Fprintf(&b, " ack %d win %d", s.Ack, s.Window)
	}
	if len(s.Payload) > 0 {
		fmt.Fprintf(&b, " len %d", len(s.Payload))
	}
	s.Options.write(&b)
	return b.String()
}

// Block is a range of sequence numbers that has arrived (RFC 2018).
type Block struct{ Left, Right uint32 }

// blocksMax is how many blocks 40 bytes of options hold.
const blocksMax = 4

// blockLen is the length of a block in bytes.
const blockLen = 8

// BlocksMore is how many blocks may follow the header of an acknowledgement, beyond
// those of its options.
const BlocksMore = 32

// Append puts the block behind b, as it stands behind the header of an acknowledgement.
func (k Block) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, k.Left)
	return binary.BigEndian.AppendUint32(b, k.Right)
}

// More yields the blocks behind the header of an acknowledgement, BlocksMore at most;
// what is no whole block is ignored.
func (s *Segment) More() iter.Seq[Block] {
	return func(yield func(Block) bool) {
		b := s.Payload
		for range BlocksMore {
			if len(b) < blockLen || !yield(Block{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}) {
				return
			}
			b = b[blockLen:]
		}
	}
}

// Schedule tells a receiver how often to acknowledge: option 52.
type Schedule struct {
	N, Index uint8  // receivers of the session, and which of them this one is
	Every    uint8  // segments
	Delay    uint16 // ms
}

// Options are those of a segment. What is not there is zero, and Has... is false
// where zero can be there.
type Options struct {
	MSS           uint16
	HasScale      bool
	Scale         uint8 // of the window, 0..14
	SACKPermitted bool
	// Group is the multicast group, option 50; unspecified is the command to leave.
	Group netip.Addr
	// Layer is how many addresses behind that group lies a further one, which the receiver
	// is to hear besides: option 56; 0 is none.
	Layer uint8
	// Feedback is how many of a hundred segments came through the group: option 51.
	HasFeedback bool
	Feedback    uint8
	HasSchedule bool
	Schedule    Schedule
	// Controls is the number of control datagrams received without a gap: option 53.
	HasControls bool
	Controls    uint32
	// Refused is the offset of a block that was not what the sender vouched for:
	// option 54.
	HasRefused bool
	Refused    int64
	// Start is the offset at which the stream begins for a receiver that came late:
	// option 55.
	HasStart bool
	Start    int64
	// SACK are the blocks, Blocks their number. Those that find no room are not sent.
	SACK   [blocksMax]Block
	Blocks int
}

// Numbers of the options. Source: RFC 9293, 7323 and 2018; 50 and 51 those of the
// TCP-XM papers, the others ours: they occur in sealed datagrams only.
const (
	optEnd           = 0
	optNop           = 1
	optMSS           = 2
	optScale         = 3
	optSACKPermitted = 4
	optSACK          = 5
	optGroup         = 50
	optFeedback      = 51
	optSchedule      = 52
	optControls      = 53
	optRefused       = 54
	optStart         = 55
	optLayer         = 56
)

// maxScale is the largest window scale (RFC 7323, section 2.3).
const maxScale = 14

// append puts the options behind b, padded to a multiple of 4 bytes from start on.
func (o *Options) append(b []byte, start int) []byte {
	if o.MSS != 0 {
		b = append(b, optMSS, 4, byte(o.MSS>>8), byte(o.MSS))
	}
	if o.HasScale {
		b = append(b, optScale, 3, min(o.Scale, maxScale))
	}
	if o.SACKPermitted {
		b = append(b, optSACKPermitted, 2)
	}
	if o.Group.IsValid() {
		g := o.Group.AsSlice()
		b = append(append(b, optGroup, byte(2+len(g))), g...)
	}
	if o.Layer > 0 {
		b = append(b, optLayer, 3, o.Layer)
	}
	if o.HasFeedback {
		b = append(b, optFeedback, 3, min(o.Feedback, 100))
	}
	if o.HasSchedule {
		c := o.Schedule
		b = append(b, optSchedule, 7, c.N, c.Index, c.Every, byte(c.Delay>>8), byte(c.Delay))
	}
	if o.HasControls {
		b = binary.BigEndian.AppendUint32(append(b, optControls, 6), o.Controls)
	}
	if o.HasRefused {
		b = append48(append(b, optRefused, 8), o.Refused)
	}
	if o.HasStart {
		b = append48(append(b, optStart, 8), o.Start)
	}
	if n := min(o.Blocks, (OptionsMax-2-(len(b)-start))/8); n > 0 {
		b = append(b, optSACK, byte(2+8*n))
		for _, k := range o.SACK[:n] {
			b = k.Append(b)
		}
	}
	for (len(b)-start)%4 != 0 {
		b = append(b, optNop)
	}
	return b
}

func (o *Options) parse(b []byte) error {
	for len(b) > 0 && b[0] != optEnd {
		if b[0] == optNop {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return fmt.Errorf("%w: option %d does not end", ErrMalformed, b[0])
		}
		o.parseOne(b[0], b[2:b[1]])
		b = b[b[1]:]
	}
	return nil
}

// parseOne reads the value of an option.
func (o *Options) parseOne(kind byte, v []byte) {
	switch {
	case kind == optMSS && len(v) == 2:
		o.MSS = binary.BigEndian.Uint16(v)
	case kind == optScale && len(v) == 1:
		o.HasScale, o.Scale = true, min(v[0], maxScale)
	case kind == optSACKPermitted && len(v) == 0:
		o.SACKPermitted = true
	case kind == optGroup && (len(v) == 4 || len(v) == 16):
		o.Group, _ = netip.AddrFromSlice(v)
	case kind == optLayer && len(v) == 1:
		o.Layer = v[0]
	case kind == optFeedback && len(v) == 1 && v[0] <= 100:
		o.HasFeedback, o.Feedback = true, v[0]
	case kind == optSchedule && len(v) == 5:
		o.HasSchedule = true
		o.Schedule = Schedule{N: v[0], Index: v[1], Every: v[2], Delay: binary.BigEndian.Uint16(v[3:])}
	case kind == optControls && len(v) == 4:
		o.HasControls, o.Controls = true, binary.BigEndian.Uint32(v)
	case kind == optRefused && len(v) == 6:
		o.HasRefused, o.Refused = true, uint48(v)
	case kind == optStart && len(v) == 6:
		o.HasStart, o.Start = true, uint48(v)
	case kind == optSACK && len(v) > 0 && len(v)%8 == 0 && len(v) <= 8*blocksMax:
		o.Blocks = 0
		for ; len(v) > 0; v = v[8:] {
			o.SACK[o.Blocks] = Block{binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])}
			o.Blocks++
		}
	}
}

func (o *Options) write(b *strings.Builder) {
	if o.MSS != 0 {
		fmt.Fprintf(b, " mss %d", o.MSS)
	}
	if o.Group.IsValid() {
		fmt.Fprintf(b, " group %v", o.Group)
	}
	if o.Layer > 0 {
		fmt.Fprintf(b, " and %d behind", o.Layer)
	}
	if o.HasFeedback {
		fmt.Fprintf(b, " heard %d%%", o.Feedback)
	}
	if o.HasSchedule {
		fmt.Fprintf(b, " every %d or %d ms, %d of %d", o.Schedule.Every, o.Schedule.Delay, o.Schedule.Index, o.Schedule.N)
	}
	if o.HasControls {
		fmt.Fprintf(b, " controls %d", o.Controls)
	}
	if o.HasRefused {
		fmt.Fprintf(b, " refused %d", o.Refused)
	}
	if o.HasStart {
		fmt.Fprintf(b, " start %d", o.Start)
	}
	for _, k := range o.SACK[:o.Blocks] {
		fmt.Fprintf(b, " sack %d-%d", k.Left, k.Right)
	}
}

func append48(b []byte, v int64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(v>>32))
	return binary.BigEndian.AppendUint32(b, uint32(v))
}

func uint48(b []byte) int64 {
	return int64(binary.BigEndian.Uint16(b))<<32 | int64(binary.BigEndian.Uint32(b[2:]))
}
