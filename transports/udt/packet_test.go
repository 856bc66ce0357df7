package udt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(strings.ReplaceAll(s, "|", "")), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// vectors were captured from the library.
var vectors = []struct{ name, text string }{
	{"client request", `80000000 00000000 00000000 00000000
		00000004 00000001 164f21f5 000005dc 00002000 00000001 3c05481f 00000000
		0100007f 00000000 00000000 00000000`},
	{"challenge", `80000000 00000000 00000000 3c05481f
		00000004 00000001 164f21f5 000005dc 00002000 00000001 3c05481f 8c595ef5
		0100007f 00000000 00000000 00000000`},
	{"conclusion", `80000000 00000000 00000000 00000000
		00000004 00000001 164f21f5 000005dc 00002000 ffffffff 3c05481f 8c595ef5
		0100007f 00000000 00000000 00000000`},
	{"accept", `80000000 00000000 00000000 3c05481f
		00000004 00000001 164f21f5 000005dc 00002000 ffffffff 206ec0ff 8c595ef5
		0100007f 00000000 00000000 00000000`},
	{"first data", `164f21f5 c0000001 000004dc 206ec0ff | 07000000`},
	{"full ACK", `80020000 00000001 00000000 3c05481f
		164f21f6 000186a0 0000c350 00001ffe 00000001 000003e8`},
	{"medium ACK", `80020000 00000002 00000000 3c05481f | 164f21f7 000186a0 0000c350 00001ffd`},
	{"light ACK", `80020000 00000000 00000000 175a65d1 | 240925e4`},
	{"ACK2", `80060000 00000002 00000000 206ec0ff | 00000000`},
	{"NAK single", `80030000 00000000 00000000 175a65d1 | 240cfb29`},
	{"NAK range", `80030000 00000000 00000000 175a65d1 | a40ecf0d 240ede80`},
	{"shutdown", `80050000 00000000 00000000 206ec0ff | 00000000`},
	{"keep-alive", `80010000 00000000 00000000 206ec0ff | 00000000`},
	{"drop", `80070000 00000005 00000000 206ec0ff | 00000007 00000009`},
	{"NAK list", `80030000 00000000 00000000 00000001 | 00000002 80000006 0000000b 0000000e`},
	{"NAK over the end", `80030000 00000000 00000000 00000001 | fffffff9 00000004`},
	{"user", `ffff0000 00000000 00000000 00000001 | 01020304 05`},
}

// again builds a packet anew from what was read of it.
func again(b []byte) ([]byte, error) {
	h, body, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	if !h.control() {
		return append(dataHeader(h.seq(), h.msg(), h.time, h.id).append(nil), body...), nil
	}
	switch h.kind() {
	case kindHandshake:
		hs, err := parseHandshake(body)
		return hs.append(nil, h.id), err
	case kindAck:
		a, err := parseAck(h, body)
		if err != nil {
			return nil, err
		}
		return a.append(nil, h.id), nil
	case kindNak:
		l, err := parseNak(nil, body)
		out := controlHeader(kindNak, 0, h.id).append(nil)
		for _, r := range l {
			out = appendRange(out, r)
		}
		return out, err
	case kindDrop:
		d, err := parseDrop(h, body)
		return d.append(nil, h.id), err
	case kindUser:
		return appendUser(nil, h.id, body), nil
	default:
		return appendEmpty(nil, h.kind(), h.w1, h.id), nil
	}
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.text)
			got, err := again(want)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v\ngot  %x\nwant %x", err, got, want)
			}
			// Every truncation is refused or understood as what it is.
			for n := range want {
				if out, err := again(want[:n]); n < headerLen && err == nil {
					t.Errorf("%d bytes became %x", n, out)
				}
			}
		})
	}
}

func TestFields(t *testing.T) {
	h, body, _ := parseHeader(unhex(t, vectors[3].text))
	hs, err := parseHandshake(body)
	want := handshake{
		version: 4, kind: typeStream, isn: 0x164f21f5, mss: 1500, window: 8192, req: reqConclude,
		id: 0x206ec0ff, cookie: 0x8c595ef5, addr: wireAddr(netip.MustParseAddr("127.0.0.1")),
	}
	if err != nil || hs != want || h.id != 0x3c05481f || h.kind() != kindHandshake {
		t.Errorf("got %+v for %#x, want %+v", hs, h.id, want)
	}
	if got, want := wireAddr(netip.MustParseAddr("::1")), [16]byte{12: 1}; got != want {
		t.Errorf("::1 became %x, want %x", got, want)
	}
	h, _, _ = parseHeader(unhex(t, vectors[4].text))
	if h.control() || h.seq() != 0x164f21f5 || h.msg() != partOnly|1 || h.time != 1244 || h.id != 0x206ec0ff {
		t.Errorf("data header %+v", h)
	}
	h, body, _ = parseHeader(unhex(t, vectors[5].text))
	a, err := parseAck(h, body)
	if want := (ack{1, ackFull, 0x164f21f6, 100000, 50000, 8190, 1, 1000}); a != want || err != nil {
		t.Errorf("got %+v, want %+v; %v", a, want, err)
	}
	l, err := parseNak(nil, unhex(t, vectors[14].text)[headerLen:])
	if want := []seqRange{{2, 2}, {6, 11}, {14, 14}}; !slices.Equal(l, want) || err != nil {
		t.Errorf("got %v, want %v; %v", l, want, err)
	}
	// The numbers at their ends; the top bit of a number never gets through.
	b := dataHeader(1<<32-1, 1<<32-1, 0, 0).append(nil)
	h, _, _ = parseHeader(b)
	if h.control() || h.seq() != seqMask || h.msg().number() != 0x1fffffff || !h.msg().first() || !h.msg().last() || !h.msg().inOrder() {
		t.Errorf("%x became %+v", b, h)
	}
}

func TestRefusedBodies(t *testing.T) {
	tests := []struct {
		name  string
		parse func(b []byte) error
		body  string
	}{
		{"NAK empty", nakError, ""},
		{"NAK odd tail", nakError, "00000002 0000"},
		{"NAK half a range", nakError, "00000002 80000006"},
		{"NAK reversed", nakError, "80000006 00000005"},
		{"NAK two firsts", nakError, "80000006 80000007"},
		{"ACK of 8", ackError, "00000001 00000002"},
		{"ACK of 20", ackError, "00000001 00000002 00000003 00000004 00000005"},
		{"ACK number", ackError, "80000001"},
		{"drop short", dropError, "00000001 000000"},
		{"drop reversed", dropError, "00000002 00000001"},
		{"drop number", dropError, "80000002 80000003"},
		{"handshake short", handshakeError, strings.Repeat("00000001", 11)},
		{"handshake number", handshakeError, "00000004 00000001 80000000" + strings.Repeat("00000001", 9)},
	}
	for _, tt := range tests {
		if err := tt.parse(unhex(t, tt.body)); !errors.Is(err, errPacket) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func nakError(b []byte) error       { _, err := parseNak(nil, b); return err }
func ackError(b []byte) error       { _, err := parseAck(header{}, b); return err }
func dropError(b []byte) error      { _, err := parseDrop(header{}, b); return err }
func handshakeError(b []byte) error { _, err := parseHandshake(b); return err }

func FuzzPacket(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := again(b)
		if err != nil {
			return
		}
		second, err := again(first)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%x became %x, then %x: %v", b, first, second, err)
		}
	})
}
