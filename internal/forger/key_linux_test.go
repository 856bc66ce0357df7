package forger

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sealed makes a datagram of the group with a secret.
func sealed(t *testing.T, secret []byte, number uint64, text string) []byte {
	t.Helper()
	head := binary.BigEndian.AppendUint64([]byte{kindGroup, 0, 0, 0, 9, 8, 7, 6}, number)
	k, err := NewKey(secret, append(head, make([]byte, tagLen)...))
	if err != nil {
		t.Fatal(err)
	}
	plain := append(make([]byte, headerLen), text...)
	return k.aead.Seal(bytes.Clone(head), k.nonce(number), plain, head)
}

func TestForge(t *testing.T) {
	secret := bytes.Repeat([]byte{1}, secretLen)
	const number = 5<<keyDatagrams + 41
	d := sealed(t, secret, number, "some bytes")
	k, err := NewKey(secret, d)
	if err != nil {
		t.Fatal(err)
	}
	other := k.forge(d)
	if other == nil {
		t.Fatal("what opens can not be forged")
	}
	got := k.open(other)
	if len(got) != headerLen+10 || string(got[headerLen:]) != "some byter" || binary.BigEndian.Uint32(got[4:]) != forgeAhead*10 || numberOf(other) != number+numberAhead {
		t.Errorf("forged %q with number %d", got, numberOf(other))
	}
	for name, spoil := range map[string]func(d []byte){
		"damaged":                 func(d []byte) { d[len(d)-1] ^= 1 },
		"of another epoch":        func(d []byte) { d[1] = 1 },
		"of a later key":          func(d []byte) { binary.BigEndian.PutUint64(d[8:], 6<<keyDatagrams) },
		"a symbol and no segment": func(d []byte) { d[0] = kindRepair },
	} {
		bad := bytes.Clone(d)
		if spoil(bad); k.forge(bad) != nil {
			t.Errorf("forged from what is %s", name)
		}
	}
	if k.forge(d[:20]) != nil {
		t.Error("forged from a piece")
	}
	if _, err := NewKey(secret[1:], d); err == nil {
		t.Error("a secret of 31 bytes makes a key")
	}
}

// taking is a session as a receiver may keep it.
type taking struct {
	secret [secretLen]byte
	tag    uint32
}

// TestKeyFrom finds the secret of a session in the memory of this process: in pages that
// are a region of their own, since the heap may be larger than what is looked through.
func TestKeyFrom(t *testing.T) {
	page := os.Getpagesize()
	pages, err := unix.Mmap(-1, 0, 3*page, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(pages)
	if err := unix.Mprotect(pages[page:2*page], unix.PROT_READ|unix.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	own := (*taking)(unsafe.Pointer(&pages[page+64]))
	own.tag = 0x09080706
	for i := range own.secret {
		own.secret[i] = byte(3 * i)
	}
	k, err := KeyFrom(os.Getpid(), sealed(t, own.secret[:], 7, "some bytes"))
	if err != nil || k == nil {
		t.Fatalf("%v, %v", k, err)
	}
	if other, err := KeyFrom(os.Getpid(), sealed(t, bytes.Repeat([]byte{99}, secretLen), 7, "some bytes")); err != nil || other != nil {
		t.Errorf("a secret that lies nowhere near its tag is found: %v, %v", other, err)
	}
	if _, err := KeyFrom(1<<30, sealed(t, own.secret[:], 7, "")); err == nil {
		t.Error("there is no such process")
	}
}
