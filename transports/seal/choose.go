package seal

import (
	"errors"
	"io"
	"runtime"
	"syscall"

	"golang.org/x/sys/cpu"

	"github.com/gomover/gomover/transports"
)

// hardwareAES says whether the standard library's AES-GCM runs on instructions
// made for it here. Without them it is slow and its timing depends on the key,
// so ChaCha20-Poly1305 is used instead.
func hardwareAES() bool {
	switch runtime.GOARCH {
	case "amd64":
		return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSE41 && cpu.X86.HasSSSE3
	case "arm64":
		return cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || runtime.GOOS == "darwin"
	case "s390x":
		return cpu.S390X.HasAES && cpu.S390X.HasAESGCM
	case "ppc64", "ppc64le":
		return true
	}
	return false
}

// choose picks the cipher for a stream from what both ends do best.
//
// AES with 128-bit keys: every stream has its own fresh keys, so nothing is won
// by longer ones, and they cost a fifth more time per byte. For SealAuth the
// same two, with the body as additional data: GMAC or Poly1305 alone.
func choose(mode transports.Seal, theirs byte) Cipher {
	switch {
	case mode == transports.SealOff:
		return CipherNone
	case theirs&abilityAES != 0 && hardwareAES():
		return CipherAES
	}
	return CipherChaCha
}

// fits says whether c is a cipher for mode.
func fits(mode transports.Seal, c Cipher) bool {
	if mode == transports.SealOff {
		return c == CipherNone
	}
	return c == CipherAES || c == CipherChaCha
}

// closedByPeer says whether err means only that the other end hung up.
func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
