package mover

import (
	"bytes"
	"encoding/base64"
)

// keyIn tells whether the public key file b, as sshd keeps it, holds key.
func keyIn(b, key []byte) bool {
	for field := range bytes.FieldsSeq(b) {
		if k, err := base64.StdEncoding.DecodeString(string(field)); err == nil && bytes.Equal(k, key) {
			return true
		}
	}
	return false
}
