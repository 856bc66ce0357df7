package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

const keyHex = "00112233445566778899aabbccddeeff"

func sharedBlock(t testing.TB, data string) []byte {
	t.Helper()
	b := make([]byte, SharedBlockHeadLen, SharedBlockHeadLen+len(data))
	h := SharedBlock{Key: testKey, Block: 7, Len: len(data), Sum: sum}
	h.Put(b)
	return append(b, data...)
}

var testKey = Key{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}

func sharedPack(items ...string) []byte {
	b := make([]byte, PackHeadLen)
	PutSharedPackHead(b, len(items))
	for i, s := range items {
		head := make([]byte, SharedItemLen)
		p := SharedItem{Key: Key{15: byte(i)}, Len: len(s), Sum: sum}
		p.Put(head)
		b = append(append(b, head...), s...)
	}
	return b
}

func TestSharedBlock(t *testing.T) {
	b := sharedBlock(t, "data")
	if want := unhex(t, "03 00 00000004"+keyHex+"0000000000000007"+sumHex+"64617461"); !bytes.Equal(b, want) {
		t.Fatalf("put %x, want %x", b, want)
	}
	h, data, err := ParseSharedBlock(b)
	if err != nil || h != (SharedBlock{Key: testKey, Block: 7, Len: 4, Sum: sum}) || string(data) != "data" {
		t.Errorf("parsed %+v %q %v", h, data, err)
	}
	for n := range b {
		if _, _, err := ParseSharedBlock(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"longer":         func(b []byte) []byte { return append(b, 0) },
		"flag":           func(b []byte) []byte { b[1] = 1; return b },
		"kind":           func(b []byte) []byte { b[0] = FrameBlock; return b },
		"negative block": func(b []byte) []byte { b[22] = 0x80; return b },
		"length":         func(b []byte) []byte { binary.BigEndian.PutUint32(b[2:], 1<<32-1); return b },
	} {
		if _, _, err := ParseSharedBlock(change(bytes.Clone(b))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSharedPack(t *testing.T) {
	b := sharedPack("ab", "", "c")
	zeros := strings.Repeat("00", 15)
	if want := unhex(t, "04 00 0003"+zeros+"00 00000002"+sumHex+"6162"+zeros+"01 00000000"+sumHex+zeros+"02 00000001"+sumHex+"63"); !bytes.Equal(b, want) {
		t.Fatalf("put %x, want %x", b, want)
	}
	var got []string
	if err := ParseSharedPack(b, func(p SharedItem, data []byte) error {
		if p.Key != (Key{15: byte(len(got))}) || p.Len != len(data) || p.Sum != sum {
			t.Errorf("item %+v", p)
		}
		got = append(got, string(data))
		return nil
	}); err != nil || strings.Join(got, ",") != "ab,,c" {
		t.Errorf("parsed %q %v", got, err)
	}
	never := func(SharedItem, []byte) error { t.Error("called for a malformed pack"); return nil }
	for n := range b {
		if err := ParseSharedPack(b[:n], never); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"longer":   func(b []byte) []byte { return append(b, 0) },
		"flag":     func(b []byte) []byte { b[1] = 1; return b },
		"kind":     func(b []byte) []byte { b[0] = FramePack; return b },
		"more":     func(b []byte) []byte { b[3]++; return b },
		"fewer":    func(b []byte) []byte { b[3]--; return b },
		"too many": func(b []byte) []byte { b[2] = 0xff; return b },
		"lies":     func(b []byte) []byte { b[PackHeadLen+19]++; return b },
	} {
		if err := ParseSharedPack(change(bytes.Clone(b)), never); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop := errors.New("stop")
	if err := ParseSharedPack(b, func(SharedItem, []byte) error { return stop }); err != stop {
		t.Errorf("the callback's error became %v", err)
	}
}

func TestKeyOf(t *testing.T) {
	e := Entry{Root: 1, Name: "a/b", Kind: 1, Size: 5, ModTime: -7, Ino: 9, Mode: 0o644}
	same := e
	same.Mode, same.UID, same.Attempt = 0o600, 5, 1
	if KeyOf(&e) != KeyOf(&same) {
		t.Error("what says nothing of the content changes the key")
	}
	for i, change := range []func(e *Entry){
		func(e *Entry) { e.Root++ }, func(e *Entry) { e.Name = "a/c" }, func(e *Entry) { e.Size++ }, func(e *Entry) { e.ModTime++ }, func(e *Entry) { e.Ino++ },
	} {
		x := e
		if change(&x); KeyOf(&e) == KeyOf(&x) {
			t.Errorf("%d: another file has the same key", i)
		}
	}
}

func FuzzSharedBlock(f *testing.F) {
	fuzzFrame(f, func(b []byte) ([]byte, error) {
		h, data, err := ParseSharedBlock(b)
		again := make([]byte, SharedBlockHeadLen)
		h.Put(again)
		return append(again, data...), err
	}, sharedBlock(f, "data"), sharedBlock(f, ""))
}

func FuzzSharedPack(f *testing.F) {
	fuzzFrame(f, func(b []byte) ([]byte, error) {
		n, again := 0, make([]byte, PackHeadLen)
		err := ParseSharedPack(b, func(p SharedItem, data []byte) error {
			head := make([]byte, SharedItemLen)
			p.Put(head)
			again = append(append(again, head...), data...)
			n++
			return nil
		})
		PutSharedPackHead(again, n)
		return again, err
	}, sharedPack("ab", "", "c"), sharedPack())
}
