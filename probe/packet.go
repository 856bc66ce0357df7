package probe

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"slices"
)

// A datagram of a probe. Integers are big-endian.
//
//	offset  bytes
//	0       16     tag: HMAC-SHA-256 of bytes 16..55 by the sender's key, its first 16 bytes
//	16      1      kind
//	17      1      0
//	18      2      train: its number; 0 in echoes
//	20      4      seq: of a train's or a group's packet, from 0; of echoes, never twice
//	24      4      size of the datagram
//	28      4      0
//	32      8      a: echo: 0; answer: the token of the asking address
//	40      8      b: answer: time between the echo's arrival and the answer, ns
//	48      8      c: answer: the answering clock, ns since 1970
//	56      ..     0, up to size
const (
	headLen = 56
	tagLen  = 16
)

// kind says what a datagram is.
type kind uint8

const (
	kindEcho   kind = iota + 1 // asks for an answer of the same size
	kindAnswer                 // answers
	kindTrain                  // belongs to a train
	kindKnock                  // shows that a port is reached
	kindGroup                  // goes to a multicast group
)

// head is what a datagram says.
type head struct {
	kind    kind
	train   uint16
	seq     uint32
	a, b, c uint64
}

// The ends, for their keys.
const (
	asking    = "gomover probe 1: asking end"
	answering = "gomover probe 1: answering end"
)

// sealer makes and checks tags of one direction. Not for several goroutines at
// once.
type sealer struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

// newSealer derives the key of an end from the secret of the probe.
func newSealer(secret []byte, end string) *sealer {
	kdf := hmac.New(sha256.New, secret)
	kdf.Write([]byte(end))
	return &sealer{mac: hmac.New(sha256.New, kdf.Sum(nil))}
}

// tag computes the tag of bytes; it is valid until the next call.
func (s *sealer) tag(b []byte) []byte {
	s.mac.Reset()
	s.mac.Write(b)
	return s.mac.Sum(s.sum[:0])[:tagLen]
}

// write puts h into the front of b, which is the whole datagram, at least headLen
// and at most 65535 bytes.
func (s *sealer) write(b []byte, h head) {
	clear(b[:headLen])
	b[16] = byte(h.kind)
	binary.BigEndian.PutUint16(b[18:], h.train)
	binary.BigEndian.PutUint32(b[20:], h.seq)
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
	binary.BigEndian.PutUint64(b[32:], h.a)
	binary.BigEndian.PutUint64(b[40:], h.b)
	binary.BigEndian.PutUint64(b[48:], h.c)
	copy(b, s.tag(b[tagLen:headLen]))
}

// read gives the head of a datagram; false for one that the other end has not
// sent, or not so.
func (s *sealer) read(b []byte) (h head, ok bool) {
	if len(b) < headLen || binary.BigEndian.Uint32(b[24:]) != uint32(len(b)) {
		return h, false
	}
	if subtle.ConstantTimeCompare(b[:tagLen], s.tag(b[tagLen:headLen])) != 1 {
		return h, false
	}
	h = head{kind: kind(b[16]), train: binary.BigEndian.Uint16(b[18:]), seq: binary.BigEndian.Uint32(b[20:]),
		a: binary.BigEndian.Uint64(b[32:]), b: binary.BigEndian.Uint64(b[40:]), c: binary.BigEndian.Uint64(b[48:])}
	return h, h.kind >= kindEcho && h.kind <= kindGroup
}

// answered remembers which numbers of echoes were answered. The zero value has
// answered none.
type answered struct {
	bits [maxEchoes / 64]uint64
}

// maxEchoes bounds the echoes of a probe, and so what is answered.
const maxEchoes = 4096

// first tells whether n is answered for the first time.
func (a *answered) first(n uint32) bool {
	if n >= maxEchoes {
		return false
	}
	bit := uint64(1) << (n % 64)
	if a.bits[n/64]&bit != 0 {
		return false
	}
	a.bits[n/64] |= bit
	return true
}

// greet is what a TCP connection of a probe begins with, by the one that dials:
// 16 random bytes and their tag; the other one answers with its own tag of them.
func (s *sealer) greet(nonce []byte) []byte {
	return append(slices.Clone(nonce), s.tag(nonce)...)
}
