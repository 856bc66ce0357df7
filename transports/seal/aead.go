package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeyLen is the length of the cipher's key in bytes; 0 for CipherNone.
func (c Cipher) KeyLen() int {
	switch c {
	case CipherAES:
		return 16
	case CipherChaCha:
		return chacha20poly1305.KeySize
	}
	return 0
}

// New makes the cipher for a key of KeyLen bytes. Tags have TagLen bytes, nonces 12.
// Errors: a key of another length; CipherNone and what is no cipher.
func (c Cipher) New(key []byte) (cipher.AEAD, error) {
	switch c {
	case CipherAES:
		b, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(b)
	case CipherChaCha:
		return chacha20poly1305.New(key)
	}
	return nil, fmt.Errorf("making a cipher: %v protects nothing", c)
}
