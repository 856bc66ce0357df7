package segment

// positionBits are those of a position: what a shim and a sequence number carry.
const positionBits = 48

// MaxOffset is beyond the last offset of a stream: 256 TiB less what the SYN and
// the FIN take.
const MaxOffset = 1<<positionBits - 2

// Number gives the sequence number and the shim's high bits of the byte at an
// offset of the stream that begins at iss. Offset -1 is that of the SYN, and the
// FIN's is the length of the stream.
func Number(iss uint32, offset int64) (seq uint32, high uint16) {
	p := uint64(offset + 1)
	return iss + uint32(p), uint16(p >> 32)
}

// Offset is the inverse of Number.
func Offset(iss, seq uint32, high uint16) int64 {
	return int64(high)<<32 | int64(seq-iss) - 1
}

// Near gives the offset with a sequence number that is nearest to another offset,
// as for the edges of a SACK block, which have no high bits. It may be negative.
func Near(iss, seq uint32, offset int64) int64 {
	low := int64(seq-iss) - 1
	return offset + int64(int32(uint32(low)-uint32(offset)))
}
