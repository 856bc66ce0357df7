package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func blockFrame(h BlockHead, data string) []byte {
	h.Len = len(data)
	b := make([]byte, BlockHeadLen, BlockHeadLen+len(data))
	h.Put(b)
	return append(b, data...)
}

func packFrame(items ...string) []byte {
	b := make([]byte, PackHeadLen)
	PutPackHead(b, len(items))
	for i, s := range items {
		p := PackItem{File: uint64(i), Len: len(s), Sum: sum}
		head := make([]byte, PackItemLen)
		p.Put(head)
		b = append(append(b, head...), s...)
	}
	return b
}

func TestBlock(t *testing.T) {
	h := BlockHead{File: 0x0102030405060708, Block: 9, Sum: sum, Unchanged: true}
	b := blockFrame(h, "data")
	want := unhex(t, "01 01 00000004 0102030405060708 0000000000000009 "+sumHex+" 64617461")
	if !bytes.Equal(b, want) {
		t.Fatalf("put %x, want %x", b, want)
	}
	h.Len = 4
	got, data, err := ParseBlock(b)
	if err != nil || got != h || string(data) != "data" {
		t.Errorf("parsed %+v %q %v", got, data, err)
	}
	for n := range b {
		if _, _, err := ParseBlock(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"longer":         func(b []byte) []byte { return append(b, 0) },
		"flag":           func(b []byte) []byte { b[1] |= 2; return b },
		"kind":           func(b []byte) []byte { b[0] = FramePack; return b },
		"negative block": func(b []byte) []byte { b[14] = 0x80; return b },
		"huge block":     func(b []byte) []byte { b[14] = 0x7f; return b },
		"length":         func(b []byte) []byte { binary.BigEndian.PutUint32(b[2:], 1<<32-1); return b },
	} {
		if _, _, err := ParseBlock(change(bytes.Clone(b))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPack(t *testing.T) {
	b := packFrame("ab", "", "c")
	want := unhex(t, "02 00 0003"+
		"0000000000000000 00000002"+sumHex+"6162"+
		"0000000000000001 00000000"+sumHex+
		"0000000000000002 00000001"+sumHex+"63")
	if !bytes.Equal(b, want) {
		t.Fatalf("put %x, want %x", b, want)
	}
	var got []string
	if err := ParsePack(b, func(p PackItem, data []byte) error {
		if p.File != uint64(len(got)) || p.Len != len(data) || p.Sum != sum {
			t.Errorf("item %+v", p)
		}
		got = append(got, string(data))
		return nil
	}); err != nil || strings.Join(got, ",") != "ab,,c" {
		t.Errorf("parsed %q %v", got, err)
	}
	never := func(PackItem, []byte) error { t.Error("called for a malformed pack"); return nil }
	for n := range b {
		if err := ParsePack(b[:n], never); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"longer":    func(b []byte) []byte { return append(b, 0) },
		"flag":      func(b []byte) []byte { b[1] = 1; return b },
		"kind":      func(b []byte) []byte { b[0] = FrameBlock; return b },
		"more":      func(b []byte) []byte { b[3]++; return b },
		"fewer":     func(b []byte) []byte { b[3]--; return b },
		"too many":  func(b []byte) []byte { b[2] = 0xff; return b },
		"lies":      func(b []byte) []byte { b[PackHeadLen+11]++; return b },
		"lies more": func(b []byte) []byte { b[PackHeadLen+8] = 0xff; return b },
	} {
		if err := ParsePack(change(bytes.Clone(b)), never); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop := errors.New("stop")
	if err := ParsePack(b, func(PackItem, []byte) error { return stop }); err != stop {
		t.Errorf("the callback's error became %v", err)
	}
}
