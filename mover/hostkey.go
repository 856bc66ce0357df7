package mover

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"

	"github.com/gomover/gomover/sshboot"
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

// sameHost tells whether the far host is this machine: its address is one of
// ours and its host key one that this machine's sshd has. Machine identifiers
// and inodes say nothing: containers and cloned hosts share them.
func sameHost(sh sshboot.Shell) bool {
	if !ownAddress(sh.Remote().Addr()) {
		return false
	}
	key := sh.HostKey()
	files, _ := filepath.Glob("/etc/ssh/ssh_host_*_key.pub") // none: not known, and the address decides
	if len(files) == 0 || len(key) == 0 {
		return true
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && keyIn(b, key) {
			return true
		}
	}
	return sh.Remote().Addr().IsLoopback()
}
