package forger

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// keyDatagrams is how many datagrams one key seals, as a power of 2.
const keyDatagrams = 22

// Key is a key of a group. One goroutine at a time.
type Key struct {
	epoch  byte
	number uint64
	aead   cipher.AEAD
	iv     [12]byte
}

// NewKey derives the key that sealed a datagram from the group's secret of 32 bytes.
// Errors: a datagram that is too short, a secret of another length.
func NewKey(secret, datagram []byte) (*Key, error) {
	if len(datagram) < shimLen+tagLen || len(secret) != secretLen {
		return nil, fmt.Errorf("deriving a group's key: a datagram of %d bytes, a secret of %d", len(datagram), len(secret))
	}
	k := &Key{epoch: datagram[1], number: numberOf(datagram) >> keyDatagrams}
	info := append([]byte("gomover xm 1 grp "), datagram[4:8]...) // the session's tag
	info = binary.BigEndian.AppendUint64(append(info, k.epoch), k.number)
	out, err := hkdf.Expand(sha256.New, secret, string(info), 16+12)
	if err != nil {
		return nil, fmt.Errorf("deriving a group's key: %w", err)
	}
	block, err := aes.NewCipher(out[:16])
	if err != nil {
		return nil, fmt.Errorf("deriving a group's key: %w", err)
	}
	copy(k.iv[:], out[16:])
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("deriving a group's key: %w", err)
	}
	return k, nil
}

// numberOf is a datagram's number.
func numberOf(d []byte) uint64 { return binary.BigEndian.Uint64(d[8:]) }

// nonce is that of a datagram's number.
func (k *Key) nonce(number uint64) []byte {
	n := k.iv
	for i := range 8 {
		n[4+i] ^= byte(number >> (56 - 8*i))
	}
	return n[:]
}

// open gives what a datagram holds, nil if this key has not sealed it.
func (k *Key) open(d []byte) []byte {
	if len(d) < shimLen+tagLen || d[1] != k.epoch || numberOf(d)>>keyDatagrams != k.number {
		return nil
	}
	plain, err := k.aead.Open(nil, k.nonce(numberOf(d)), d[shimLen:], d[:shimLen])
	if err != nil {
		return nil
	}
	return plain
}

// forge makes another datagram of one that holds a segment: for a later part of the
// stream, with another byte. It is nil if the datagram does not open.
func (k *Key) forge(d []byte) []byte {
	plain := k.open(d)
	if len(plain) <= headerLen || d[0] != kindGroup {
		return nil
	}
	head := append([]byte(nil), d[:shimLen]...)
	seq := binary.BigEndian.Uint32(plain[4:])
	binary.BigEndian.PutUint32(plain[4:], seq+uint32(forgeAhead*(len(plain)-headerLen)))
	plain[len(plain)-1] ^= 1
	number := numberOf(d) + numberAhead
	binary.BigEndian.PutUint64(head[8:], number)
	return k.aead.Seal(head, k.nonce(number), plain, head)
}
