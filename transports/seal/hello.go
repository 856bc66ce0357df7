package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gomover/gomover/transports"
)

// Sizes of the handshake's messages in bytes. They never vary, so that nothing
// has to be believed before its MAC was checked.
const (
	HelloLen   = 76
	ReplyLen   = 68
	ConfirmLen = 32

	nonceLen  = 32
	macLen    = sha256.Size
	helloBody = HelloLen - macLen
	replyBody = ReplyLen - macLen
)

// magic opens a hello: name and version of the data protocol.
const magic = "GMv1"

// Labels which keep the keys made from one secret apart (RFC 5869, info).
const (
	labelHello   = "gomover data 1 hello"
	labelReply   = "gomover data 1 reply"
	labelConfirm = "gomover data 1 confirm"
	labelStream  = "gomover data 1 stream"
)

// Cipher names how the records of a stream are protected; a number on the wire.
type Cipher uint8

// The ciphers. Source: ours; the table of docs/wire-data.md.
const (
	CipherNone   Cipher = 0 // SealOff: lengths only
	CipherAES    Cipher = 1 // AES-128-GCM, NIST SP 800-38D
	CipherChaCha Cipher = 2 // ChaCha20-Poly1305, RFC 8439
)

// String returns the usual name.
func (c Cipher) String() string {
	switch c {
	case CipherNone:
		return "none"
	case CipherAES:
		return "aes128-gcm"
	case CipherChaCha:
		return "chacha20-poly1305"
	}
	return fmt.Sprintf("Cipher(%d)", uint8(c))
}

// abilityAES in a hello's ability byte says: AES-GCM runs in hardware here.
const abilityAES = 1

var (
	errHello   = errors.New("not a greeting of this job")
	errReply   = errors.New("not an answer of this job")
	errConfirm = errors.New("not a confirmation of this job")
)

// hello is the dialler's first message.
//
//	 0  4  magic "GMv1"
//	 4  1  transports.Seal
//	 5  1  abilities: bit 0 AES-GCM in hardware; other bits ignored
//	 6  2  zero
//	 8  4  label of the stream, big-endian
//	12 32  nonce, random
//	44 32  HMAC-SHA256 over bytes 0..43
type hello struct {
	mode      transports.Seal
	abilities byte
	label     uint32
	nonce     [nonceLen]byte
}

// Keys are the handshake keys of a job. They are read only after NewKeys and
// may be used by many goroutines.
type Keys struct {
	secret                [32]byte
	hello, reply, confirm []byte
}

// NewKeys derives the handshake keys from the job's secret, 32 random bytes
// that only the two ends know.
func NewKeys(secret [32]byte) (*Keys, error) {
	k := &Keys{secret: secret}
	for _, d := range []struct {
		to    *[]byte
		label string
	}{{&k.hello, labelHello}, {&k.reply, labelReply}, {&k.confirm, labelConfirm}} {
		b, err := hkdf.Key(sha256.New, secret[:], nil, d.label, macLen)
		if err != nil {
			return nil, fmt.Errorf("deriving keys for data connections: %w", err)
		}
		*d.to = b
	}
	return k, nil
}

// mac returns HMAC-SHA256 over parts.
func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func (k *Keys) appendHello(b []byte, h hello) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, byte(h.mode), h.abilities, 0, 0)
	b = binary.BigEndian.AppendUint32(b, h.label)
	b = append(b, h.nonce[:]...)
	return append(b, mac(k.hello, b[start:])...)
}

// parseHello checks everything that can be checked without state. b is exactly
// HelloLen bytes; the MAC is compared first, so that nothing else of a
// stranger's bytes is looked at.
func (k *Keys) parseHello(b []byte) (hello, error) {
	var h hello
	if len(b) != HelloLen {
		return h, errHello
	}
	if subtle.ConstantTimeCompare(mac(k.hello, b[:helloBody]), b[helloBody:]) != 1 {
		return h, errHello
	}
	if string(b[:4]) != magic || b[6] != 0 || b[7] != 0 || b[4] > byte(transports.SealOff) {
		return h, errHello
	}
	h.mode, h.abilities = transports.Seal(b[4]), b[5]
	h.label = binary.BigEndian.Uint32(b[8:])
	copy(h.nonce[:], b[12:])
	return h, nil
}

// reply is the listener's answer.
//
//	 0 32  nonce, random
//	32  1  Cipher
//	33  3  zero
//	36 32  HMAC-SHA256 over the hello and bytes 0..35
type reply struct {
	nonce  [nonceLen]byte
	cipher Cipher
}

func (k *Keys) appendReply(b, helloBytes []byte, r reply) []byte {
	start := len(b)
	b = append(b, r.nonce[:]...)
	b = append(b, byte(r.cipher), 0, 0, 0)
	return append(b, mac(k.reply, helloBytes, b[start:])...)
}

func (k *Keys) parseReply(b, helloBytes []byte) (reply, error) {
	var r reply
	if len(b) != ReplyLen {
		return r, errReply
	}
	if subtle.ConstantTimeCompare(mac(k.reply, helloBytes, b[:replyBody]), b[replyBody:]) != 1 {
		return r, errReply
	}
	if b[32] > byte(CipherChaCha) || b[33] != 0 || b[34] != 0 || b[35] != 0 {
		return r, errReply
	}
	copy(r.nonce[:], b)
	r.cipher = Cipher(b[32])
	return r, nil
}

// confirmation is the dialler's proof that it is here now and not a recording.
func (k *Keys) confirmation(helloBytes, replyBytes []byte) []byte {
	return mac(k.confirm, helloBytes, replyBytes)
}
