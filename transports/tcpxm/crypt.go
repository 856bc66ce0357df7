package tcpxm

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gomover/gomover/transports/seal"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// SecretLen is the length of a secret in bytes.
const SecretLen = segment.KeyLen

// Secret is what the keys of a session follow from: one for each receiver, which it
// and the sender know, and one for all of them. It is random and used once.
type Secret [SecretLen]byte

// Constants of sealing. Ours.
const (
	// keyDatagrams is how many datagrams one key seals, as a power of 2: 4 million
	// of a full size are 2^33 bytes, below what seal allows a key of AES-GCM.
	keyDatagrams = 22
	// keysAhead bounds how many keys a receiver may have missed: 400 GB of data.
	keysAhead = 64
	// replayWindow is how many numbers are remembered, in words of 64: a datagram may
	// be late by all of them but one word, which may be half new.
	replayWindow = 4096
)

// errSealed means that a datagram was not sealed by who it seems to come from, or
// comes again.
var errSealed = errors.New("not sealed with the session's key, or repeated")

// role is whose datagrams a key seals; it keeps keys of one secret apart.
type role string

const (
	fromSender   role = "s2r"
	fromReceiver role = "r2s"
	toGroup      role = "grp"
)

// keys makes the ciphers of one direction.
type keys struct {
	secret Secret
	role   role
	tag    uint32
	epoch  uint8
	cipher seal.Cipher
}

// sealing is a cipher with what its nonces begin from.
type sealing struct {
	number uint64 // of the key
	aead   cipher.AEAD
	iv     [12]byte
}

// make gives the cipher of a key's number. Source: RFC 5869; the secret is uniform,
// so it is expanded without extracting.
func (k *keys) make(number uint64) (*sealing, error) {
	info := binary.BigEndian.AppendUint32([]byte("gomover xm 1 "+string(k.role)+" "), k.tag)
	info = binary.BigEndian.AppendUint64(append(info, k.epoch), number)
	n := k.cipher.KeyLen()
	out, err := hkdf.Expand(sha256.New, k.secret[:], string(info), n+12)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	s := &sealing{number: number}
	copy(s.iv[:], out[n:])
	if s.aead, err = k.cipher.New(out[:n]); err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	return s, nil
}

// nonce gives that of a datagram; no two have the same under one key, as numbers
// never come again.
func (s *sealing) nonce(number uint64) [12]byte {
	n := s.iv
	for i := range 8 {
		n[4+i] ^= byte(number >> (56 - 8*i))
	}
	return n
}

// sealer seals the datagrams of one direction, and numbers them.
type sealer struct {
	keys keys
	cur  *sealing
	next uint64

	nonce [12]byte // scratch: else each datagram would need memory for one
}

// seal makes a datagram of a shim and what b holds behind ShimLen bytes that are
// free; b has room for the tag. The shim's number and epoch are filled in.
func (s *sealer) seal(shim segment.Shim, b []byte) ([]byte, error) {
	if number := s.next >> keyDatagrams; s.cur == nil || s.cur.number != number {
		var err error
		if s.cur, err = s.keys.make(number); err != nil {
			return nil, err
		}
	}
	shim.Number, shim.Epoch, shim.Tag = s.next, s.keys.epoch, s.keys.tag
	s.next++
	head := shim.Append(b[:0])
	s.nonce = s.cur.nonce(shim.Number)
	return s.cur.aead.Seal(head, s.nonce[:], b[segment.ShimLen:], head), nil
}

// opener opens the datagrams of one direction, each number once.
type opener struct {
	keys      keys
	cur, prev *sealing
	top       uint64 // beyond the highest number
	seen      [replayWindow / 64]uint64
	nonce     [12]byte // scratch
}

// open checks a datagram and opens it in place. Errors: errSealed.
func (o *opener) open(shim segment.Shim, datagram []byte) ([]byte, error) {
	n := shim.Number
	if n+replayWindow-64 < o.top || n < o.top && o.seen[n/64%(replayWindow/64)]&(1<<(n%64)) != 0 {
		return nil, errSealed
	}
	s, fresh, err := o.find(n >> keyDatagrams)
	if err != nil {
		return nil, err
	}
	o.nonce = s.nonce(n)
	body := datagram[segment.ShimLen:]
	plain, err := s.aead.Open(body[:0], o.nonce[:], body, datagram[:segment.ShimLen])
	if err != nil {
		return nil, errSealed
	}
	if fresh {
		o.prev, o.cur = o.cur, s
	}
	o.note(n)
	return plain, nil
}

// find gives the cipher for a key's number; fresh if it is newer than the present
// one, which stays until a datagram has proved the new one.
func (o *opener) find(number uint64) (s *sealing, fresh bool, err error) {
	switch {
	case o.cur != nil && o.cur.number == number:
		return o.cur, false, nil
	case o.prev != nil && o.prev.number == number:
		return o.prev, false, nil
	case o.cur != nil && (number < o.cur.number || number > o.cur.number+keysAhead), o.cur == nil && number > keysAhead:
		return nil, false, errSealed
	}
	s, err = o.keys.make(number)
	return s, true, err
}

// note marks a number as seen.
func (o *opener) note(n uint64) {
	const words = replayWindow / 64
	if n >= o.top {
		from := o.top / 64
		if o.top%64 != 0 {
			from++
		}
		for w, k := from, 0; w <= n/64 && k < words; w, k = w+1, k+1 {
			o.seen[w%words] = 0
		}
		o.top = n + 1
	}
	o.seen[n/64%words] |= 1 << (n % 64)
}
