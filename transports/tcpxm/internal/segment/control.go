package segment

import (
	"encoding/binary"
	"fmt"
)

// DigestLen is the length of a digest in bytes: SHA-256, cut.
const DigestLen = 20

// KeyLen is the length of a group's secret in bytes.
const KeyLen = 32

// Parity is one symbol of coded repair: of a block of K symbols of the stream it
// can stand for any one of them.
//
//	0   6  offset of the block's first byte
//	6   6  end of the stream as far as the symbol knows it: bytes behind it are 0
//	12  1  symbols of the block
//	13  1  index of the parity symbol, from 0
//	14  2  bytes of a symbol
//	16  2  0
//	18     the symbol
type Parity struct {
	Start, End int64
	K, Index   uint8
	Symbol     []byte // a slice of what was parsed
}

// Append puts the symbol with its head behind b.
func (p *Parity) Append(b []byte) []byte {
	b = append48(append48(b, p.Start), p.End)
	b = append(b, p.K, p.Index, byte(len(p.Symbol)>>8), byte(len(p.Symbol)), 0, 0)
	return append(b, p.Symbol...)
}

// Parse reads a symbol.
func (p *Parity) Parse(b []byte) error {
	if len(b) < ParityLen {
		return fmt.Errorf("%w: a parity symbol of %d bytes", ErrMalformed, len(b))
	}
	*p = Parity{Start: uint48(b), End: uint48(b[6:]), K: b[12], Index: b[13], Symbol: b[ParityLen:]}
	if n := int(binary.BigEndian.Uint16(b[14:])); n != len(p.Symbol) || n == 0 || p.K == 0 || p.End < p.Start || b[16] != 0 || b[17] != 0 {
		return fmt.Errorf("%w: a parity symbol of %d bytes of %d, block of %d", ErrMalformed, n, len(p.Symbol), p.K)
	}
	return nil
}

// Digest vouches for what a block holds.
//
//	0   1  1
//	1   6  offset of the block's first byte
//	7   4  bytes it speaks for
//	11 20  their SHA-256, cut
type Digest struct {
	Start int64
	Len   uint32
	Sum   [DigestLen]byte
}

// GroupKey is a secret from which the keys of a group follow, and its epoch.
//
//	0   1  2
//	1   1  epoch
//	2  32  secret
type GroupKey struct {
	Epoch  uint8
	Secret [KeyLen]byte
}

// Numbers and sizes of records.
const (
	recordDigest    = 1
	recordDigestLen = 1 + 6 + 4 + DigestLen
	recordKey       = 2
	recordKeyLen    = 1 + 1 + KeyLen
)

// AppendControl begins a control datagram, the number is that among those for one
// receiver, from 0; records follow.
func AppendControl(b []byte, number uint32) []byte {
	return binary.BigEndian.AppendUint32(b, number)
}

// Append puts the record behind b.
func (d *Digest) Append(b []byte) []byte {
	b = append48(append(b, recordDigest), d.Start)
	b = binary.BigEndian.AppendUint32(b, d.Len)
	return append(b, d.Sum[:]...)
}

// Append puts the record behind b.
func (k *GroupKey) Append(b []byte) []byte {
	b = append(b, recordKey, k.Epoch)
	return append(b, k.Secret[:]...)
}

// RecordMax is the length of the longest record in bytes.
const RecordMax = max(recordDigestLen, recordKeyLen)

// ParseControl reads a control datagram and gives its number. digest and key are
// called for its records in order, but not before all of them were read.
func ParseControl(b []byte, digest func(Digest), key func(GroupKey)) (uint32, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("%w: %d bytes of control", ErrMalformed, len(b))
	}
	number, records := binary.BigEndian.Uint32(b), b[4:]
	for _, tell := range [...]bool{false, true} {
		for l := records; len(l) > 0; {
			switch {
			case l[0] == recordDigest && len(l) >= recordDigestLen:
				if tell {
					digest(Digest{uint48(l[1:]), binary.BigEndian.Uint32(l[7:]), [DigestLen]byte(l[11:])})
				}
				l = l[recordDigestLen:]
			case l[0] == recordKey && len(l) >= recordKeyLen:
				if tell {
					key(GroupKey{l[1], [KeyLen]byte(l[2:])})
				}
				l = l[recordKeyLen:]
			default:
				return 0, fmt.Errorf("%w: record %d of %d bytes", ErrMalformed, l[0], len(l))
			}
		}
	}
	return number, nil
}
