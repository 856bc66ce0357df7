package metalink

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
)

// HashType is the name of a hash function. Source: IANA, Hash Function Textual
// Names, which RFC 5854, section 4.2.5.1, refers to.
type HashType string

// The hash functions that are known, the strongest first.
const (
	SHA512 HashType = "sha-512"
	SHA384 HashType = "sha-384"
	SHA256 HashType = "sha-256"
	SHA224 HashType = "sha-224"
	SHA1   HashType = "sha-1"
	MD5    HashType = "md5"
)

// strength orders the known types; 0 is the strongest. ok is false for others.
func (t HashType) strength() (rank int, ok bool) {
	for i, known := range [...]HashType{SHA512, SHA384, SHA256, SHA224, SHA1, MD5} {
		if t == known {
			return i, true
		}
	}
	return 0, false
}

// Size is the length of a sum in bytes; 0 for a type that is not known.
func (t HashType) Size() int {
	switch t {
	case SHA512:
		return sha512.Size
	case SHA384:
		return sha512.Size384
	case SHA256:
		return sha256.Size
	case SHA224:
		return sha256.Size224
	case SHA1:
		return sha1.Size
	case MD5:
		return md5.Size
	}
	return 0
}

// Weak tells whether different content with the same sum can be made on purpose.
func (t HashType) Weak() bool { return t == SHA1 || t == MD5 }

// New starts a sum; nil for a type that is not known.
func (t HashType) New() hash.Hash {
	switch t {
	case SHA512:
		return sha512.New()
	case SHA384:
		return sha512.New384()
	case SHA256:
		return sha256.New()
	case SHA224:
		return sha256.New224()
	case SHA1:
		return sha1.New()
	case MD5:
		return md5.New()
	}
	return nil
}

// sum reads a sum of a known type.
func (t HashType) sum(text string) ([]byte, error) {
	if len(text) != 2*t.Size() {
		return nil, fmt.Errorf("a %s hash has %d digits", t, len(text))
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("a %s hash is not hexadecimal", t)
	}
	return b, nil
}
