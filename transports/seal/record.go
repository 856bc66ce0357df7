package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/gomover/gomover/transports"
)

// Sizes of a record's parts in bytes.
const (
	PrefixLen = 4  // length of the body, big-endian, before the body
	TagLen    = 16 // behind the body; nothing with SealOff
)

// Limits of one key; the ends change to the next key together before one is
// passed, without a message.
//
// Source: ours. GCM with a 96-bit counter nonce loses confidentiality with
// about blocks^2 / 2^129 (NIST SP 800-38D; RFC 8446 section 5.5 argues alike):
// 2^36 bytes are 2^32 blocks, 2^-65. The number of records keeps the chance of
// a forgery and the counter far from their ends.
const (
	keyBytes   = 1 << 36
	keyRecords = 1 << 26
)

// direction makes the keys of one direction of one stream, one after another,
// and counts what each protects. One goroutine.
type direction struct {
	mode    transports.Seal
	kind    Cipher
	secret  []byte // makes the next key and the next secret
	aead    cipher.AEAD
	nonce   [12]byte // zero, then the number of the record under this key
	prefix  [PrefixLen]byte
	records uint64
	bytes   int64
	maxRecs uint64
	maxByte int64
}

// protection derives both directions' keys from the secret and the transcript.
func (g *Guard) protection(label uint32, c Cipher, transcript []byte, dialler bool) (*Protection, error) {
	th := sha256.Sum256(transcript)
	prk, err := hkdf.Extract(sha256.New, g.keys.secret[:], th[:])
	if err != nil {
		return nil, fmt.Errorf("deriving the keys of stream %d: %w", label, err)
	}
	var dirs [2]*direction // of the dialler's frames, of the listener's
	for i, who := range []string{"dialler", "listener"} {
		d := &direction{mode: g.mode, kind: c, maxRecs: keyRecords, maxByte: keyBytes}
		info := labelStream + " " + g.mode.String() + " " + who
		if d.secret, err = hkdf.Expand(sha256.New, prk, info, sha256.Size); err == nil {
			err = d.rekey()
		}
		if err != nil {
			return nil, fmt.Errorf("deriving the keys of stream %d: %w", label, err)
		}
		dirs[i] = d
	}
	if !dialler {
		dirs[0], dirs[1] = dirs[1], dirs[0]
	}
	return &Protection{
		Label: label, Cipher: c,
		Sealer: &Sealer{d: dirs[0]},
		Opener: &Opener{d: dirs[1]},
	}, nil
}

// rekey makes the first or next key. The secret it came from is replaced by one
// from which it cannot be found again.
func (d *direction) rekey() error {
	if d.kind == CipherNone {
		return nil
	}
	key, err := hkdf.Expand(sha256.New, d.secret, "key", d.kind.KeyLen())
	if err != nil {
		return err
	}
	if d.secret, err = hkdf.Expand(sha256.New, d.secret, "next", sha256.Size); err != nil {
		return err
	}
	d.aead, err = d.kind.New(key)
	d.records, d.bytes = 0, 0
	return err
}

// step readies prefix and nonce for the next record of n body bytes.
func (d *direction) step(n int) error {
	if d.records >= d.maxRecs || d.bytes > d.maxByte-int64(n) {
		if err := d.rekey(); err != nil {
			return fmt.Errorf("changing the key of a stream: %w", err)
		}
	}
	binary.BigEndian.PutUint32(d.prefix[:], uint32(n))
	binary.BigEndian.PutUint64(d.nonce[4:], d.records)
	d.records++
	d.bytes += int64(n)
	return nil
}

// A Sealer protects the frames of one direction of one stream. One goroutine
// at a time.
type Sealer struct{ d *direction }

// Overhead is how many bytes a record has beyond its body.
func (s *Sealer) Overhead() int { return PrefixLen + s.d.tagLen() }

func (d *direction) tagLen() int {
	if d.mode == transports.SealOff {
		return 0
	}
	return TagLen
}

// Seal protects f in place and returns the record to write, memory of f. The
// body must not be used afterwards.
func (s *Sealer) Seal(f *transports.Frame) ([]byte, error) {
	d, body := s.d, f.Body()
	if err := d.step(len(body)); err != nil {
		return nil, err
	}
	rec := f.Wire(PrefixLen, d.tagLen())
	copy(rec, d.prefix[:])
	end := PrefixLen + len(body)
	switch d.mode {
	case transports.SealOn:
		d.aead.Seal(rec[PrefixLen:PrefixLen], d.nonce[:], rec[PrefixLen:end], d.prefix[:])
	case transports.SealAuth:
		d.aead.Seal(rec[end:end], d.nonce[:], nil, rec[:end])
	}
	return rec, nil
}

// An Opener checks and opens the records of one direction of one stream. One
// goroutine at a time.
type Opener struct{ d *direction }

// TagLen is how many bytes follow a body on the wire.
func (o *Opener) TagLen() int { return o.d.tagLen() }

// BodyLen reads a record's prefix; prefix is PrefixLen bytes. A length beyond
// max is transports.ErrDamaged: nothing is to be read or kept for it.
func (o *Opener) BodyLen(prefix []byte, max int) (int, error) {
	n := binary.BigEndian.Uint32(prefix)
	if uint64(n) > uint64(max) {
		return 0, fmt.Errorf("%w: a frame of %d bytes, at most %d are allowed", transports.ErrDamaged, n, max)
	}
	return int(n), nil
}

// Open checks the record whose body is f's and whose tag stands behind it in
// f's tailroom, and opens it in place. Errors: transports.ErrDamaged; the body
// is worthless then and the stream must end.
func (o *Opener) Open(f *transports.Frame) error {
	d, body := o.d, f.Body()
	if err := d.step(len(body)); err != nil {
		return err
	}
	var err error
	switch d.mode {
	case transports.SealOn:
		rec := f.Wire(0, TagLen)
		_, err = d.aead.Open(rec[:0], d.nonce[:], rec, d.prefix[:])
	case transports.SealAuth:
		rec := f.Wire(PrefixLen, TagLen)
		copy(rec, d.prefix[:])
		end := PrefixLen + len(body)
		_, err = d.aead.Open(nil, d.nonce[:], rec[end:], rec[:end])
	}
	if err != nil {
		return fmt.Errorf("%w: record %d does not match its tag", transports.ErrDamaged, d.records-1)
	}
	return nil
}
