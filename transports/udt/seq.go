package udt

// seq is a packet sequence number: 31 bits, 0 follows 2^31-1.
type seq uint32

const seqMask seq = 1<<31 - 1

// add gives the number n packets later, or earlier if n is negative.
func (a seq) add(n int64) seq { return seq(int64(a)+n) & seqMask }

// to gives the distance from a to b, positive if b is later. It is exact for
// distances below 2^30-1; larger ones do not occur, since windows are smaller.
func (a seq) to(b seq) int64 { return int64(int32((b-a)<<1) >> 1) }

// less tells whether a is before b.
func (a seq) less(b seq) bool { return a.to(b) > 0 }

// count gives how many numbers there are from a to b, both included.
func (a seq) count(b seq) int64 { return int64((b-a)&seqMask) + 1 }

// near gives the position of b on a line without end, given that of a number
// close to it.
func (a seq) near(position int64, b seq) int64 { return position + a.to(b) }

// msgNo is a message number: 29 bits, from 1 to maxMsgNo, then 1 again.
type msgNo uint32

const maxMsgNo msgNo = 0x1ffffffe

// next gives the number of the next message.
func (m msgNo) next() msgNo {
	if m >= maxMsgNo {
		return 1
	}
	return m + 1
}

// to gives the distance from m to o in messages, positive if o is later.
func (m msgNo) to(o msgNo) int64 {
	d := int64(o) - int64(m)
	switch {
	case d > int64(maxMsgNo)/2:
		return d - int64(maxMsgNo)
	case d < -int64(maxMsgNo)/2:
		return d + int64(maxMsgNo)
	}
	return d
}

// msgWord is the second word of a data packet's header.
//
//	31 30 | 29 | 28 ... 0
//	 part | O  | message number
type msgWord uint32

// Which part of its message a packet is, and whether the message is to be
// delivered in order.
const (
	partFirst  msgWord = 1 << 31
	partLast   msgWord = 1 << 30
	partOnly           = partFirst | partLast
	msgInOrder msgWord = 1 << 29
	msgNoMask  msgWord = 1<<29 - 1
)

func (w msgWord) number() msgNo { return msgNo(w & msgNoMask) }
func (w msgWord) first() bool   { return w&partFirst != 0 }
func (w msgWord) last() bool    { return w&partLast != 0 }
func (w msgWord) inOrder() bool { return w&msgInOrder != 0 }
