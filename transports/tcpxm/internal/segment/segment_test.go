package segment

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
)

func TestOptionBytes(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"group", Options{Group: netip.MustParseAddr("239.192.18.52")}, "3206efc01234" + "0101"},
		{"leave", Options{Group: netip.IPv4Unspecified()}, "320600000000" + "0101"},
		{"group6", Options{Group: netip.MustParseAddr("ff35::1:2")}, "3212ff35000000000000000000000001" + "0002" + "0101"},
		{"layer", Options{Group: netip.MustParseAddr("232.1.2.3"), Layer: 2}, "3206e8010203" + "380302" + "010101"},
		{"feedback", Options{HasFeedback: true, Feedback: 98}, "33036201"},
		{"schedule", Options{HasSchedule: true, Schedule: Schedule{10, 3, 8, 25}}, "34070a03080019" + "01"},
		{"controls", Options{HasControls: true, Controls: 0x01020304}, "350601020304" + "0101"},
		{"refused", Options{HasRefused: true, Refused: 0x010203040506}, "3608010203040506"},
		{"start", Options{HasStart: true, Start: 0x010203040506}, "3708010203040506"},
		{"syn", Options{MSS: 1420, HasScale: true, Scale: 9, SACKPermitted: true}, "0204058c" + "030309" + "0402" + "010101"},
		{"sack", Options{Blocks: 1, SACK: [4]Block{{1, 2}}}, "050a" + "0000000100000002" + "0101"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Segment{Options: tt.o}
			b := s.Append(nil)
			if got := hex.EncodeToString(b[HeaderLen:]); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			var back Segment
			if err := back.Parse(b); err != nil || !reflect.DeepEqual(back.Options, tt.o) {
				t.Errorf("read back as %+v, %v, want %+v", back.Options, err, tt.o)
			}
		})
	}
}

func TestOptionsOfWrongLengthAreIgnored(t *testing.T) {
	for _, text := range []string{"3205efc01201", "33046201", "340600000000", "350500000001", "36070102030405" + "01", "050301" + "01", "63020101", "38020101", "38040102"} {
		o, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for len(o)%4 != 0 {
			o = append(o, optNop)
		}
		s := Segment{}
		b := append(s.Append(nil), o...)
		b[12] = byte(len(b)/4) << 4
		if err := s.Parse(b); err != nil || s.Options != (Options{}) {
			t.Errorf("%s: %+v, %v", text, s.Options, err)
		}
	}
}

func TestBlocksFindTheRoomThatIsLeft(t *testing.T) {
	s := Segment{Options: Options{HasFeedback: true, HasControls: true, HasRefused: true, Blocks: 4}}
	for i := range s.Options.SACK {
		s.Options.SACK[i] = Block{uint32(2 * i), uint32(2*i + 1)}
	}
	b := s.Append(nil)
	if len(b) > HeaderLen+OptionsMax {
		t.Fatalf("%d bytes", len(b))
	}
	var back Segment
	if err := back.Parse(b); err != nil || back.Options.Blocks != 2 || back.Options.SACK[1] != (Block{2, 3}) {
		t.Errorf("%+v, %v", back.Options, err)
	}
}

func TestSegmentBytes(t *testing.T) {
	s := Segment{Src: 0x0102, Dst: 0x0304, Seq: 5, Ack: 6, Flags: ACK | PSH, Window: 7, Payload: []byte("abc")}
	want := "0102" + "0304" + "00000005" + "00000006" + "5018" + "0007" + "0000" + "0000" + "616263"
	b := s.Append(nil)
	if got := hex.EncodeToString(b); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	for n := range len(b) {
		var p Segment
		if err := p.Parse(b[:n]); (err == nil) != (n >= HeaderLen) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	if got, want := s.String(), "PSH ACK seq 5 ack 6 win 7 len 3"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestBlocksBehindTheHeader(t *testing.T) {
	var payload []byte
	for i := range uint32(BlocksMore + 2) {
		payload = Block{Left: 10 * i, Right: 10*i + 5}.Append(payload)
	}
	for _, tt := range []struct{ bytes, want int }{
		{0, 0}, {7, 0}, {8, 1}, {23, 2}, {8 * BlocksMore, BlocksMore}, {len(payload), BlocksMore},
	} {
		var s Segment
		out := Segment{Flags: ACK, Payload: payload[:tt.bytes]}
		if err := s.Parse(out.Append(nil)); err != nil {
			t.Fatal(err)
		}
		n := 0
		for k := range s.More() {
			if want := (Block{Left: uint32(10 * n), Right: uint32(10*n + 5)}); k != want {
				t.Errorf("block %d is %v, want %v", n, k, want)
			}
			n++
		}
		if n != tt.want {
			t.Errorf("%d bytes are %d blocks, want %d", tt.bytes, n, tt.want)
		}
		for range s.More() {
			break // may be left early
		}
	}
}

func TestForGroup(t *testing.T) {
	for flags := uint8(0); flags < 64; flags++ {
		s := Segment{Flags: flags, Payload: []byte{1}}
		if got, want := s.ForGroup(), flags == 0 || flags == PSH; got != want {
			t.Errorf("flags %06b: %v, want %v", flags, got, want)
		}
	}
	if (&Segment{}).ForGroup() {
		t.Error("an empty segment is not for a group")
	}
}

func TestPositions(t *testing.T) {
	for _, iss := range []uint32{0, 1, 1 << 31, 1<<32 - 1} {
		for _, off := range []int64{-1, 0, 1, 1<<32 - 2, 1<<32 - 1, 1 << 32, 1<<40 + 12345, MaxOffset} {
			seq, high := Number(iss, off)
			if got := Offset(iss, seq, high); got != off {
				t.Errorf("iss %d, offset %d: got %d", iss, off, got)
			}
			for _, d := range []int64{0, 1, -1, 1<<31 - 1, 1 - 1<<31} {
				if off+d < 0 {
					continue
				}
				if got := Near(iss, seq, off+d); got != off {
					t.Errorf("iss %d, offset %d near %d: got %d", iss, off, off+d, got)
				}
			}
		}
	}
	// A position and its alias 4 GiB further are told apart.
	seq, high := Number(7, 100)
	alias, aliasHigh := Number(7, 100+1<<32)
	if seq != alias || high == aliasHigh {
		t.Errorf("%d/%d and %d/%d", seq, high, alias, aliasHigh)
	}
}

func TestShimBytes(t *testing.T) {
	s := Shim{Kind: Group, Epoch: 3, High: 0x0405, Tag: 0x06070809, Number: 0x0a0b0c0d0e0f1011}
	b := s.Append(nil)
	if got, want := hex.EncodeToString(b), "120304050607"+"08090a0b0c0d0e0f1011"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	full := append(b, make([]byte, TagLen)...)
	got, rest, err := ParseShim(full)
	if err != nil || got != s || len(rest) != TagLen {
		t.Errorf("%+v, %d, %v", got, len(rest), err)
	}
	for n := range len(full) {
		if _, _, err := ParseShim(full[:n]); err == nil {
			t.Errorf("cut to %d is taken", n)
		}
	}
	for _, c := range []struct{ at, to int }{{0, 0x22}, {0, 0x10}, {0, 0x15}} {
		bad := bytes.Clone(full)
		bad[c.at] = byte(c.to)
		if _, _, err := ParseShim(bad); err == nil {
			t.Errorf("byte %d as %x is taken", c.at, c.to)
		}
	}
}

func TestControlRecords(t *testing.T) {
	d := Digest{Start: 1 << 40, Len: 77, Sum: [DigestLen]byte{1, 2, 3}}
	k := GroupKey{Epoch: 9, Secret: [KeyLen]byte{4, 5}}
	b := k.Append(d.Append(AppendControl(nil, 5)))
	var ds []Digest
	var ks []GroupKey
	n, err := ParseControl(b, func(d Digest) { ds = append(ds, d) }, func(k GroupKey) { ks = append(ks, k) })
	if err != nil || n != 5 || len(ds) != 1 || ds[0] != d || len(ks) != 1 || ks[0] != k {
		t.Errorf("%d, %v: %+v, %+v", n, err, ds, ks)
	}
	for cut := range len(b) {
		told := false
		_, err := ParseControl(b[:cut], func(Digest) { told = true }, func(GroupKey) { told = true })
		if whole := cut == 4 || cut == 4+recordDigestLen; (err == nil) != whole || err != nil && told {
			t.Errorf("cut to %d: %v, told %v", cut, err, told)
		}
	}
}

func TestParityBytes(t *testing.T) {
	p := Parity{Start: 1 << 33, End: 1<<33 + 5, K: 128, Index: 3, Symbol: []byte{7, 8}}
	b := p.Append(nil)
	if got, want := hex.EncodeToString(b), "000200000000"+"000200000005"+"8003"+"0002"+"0000"+"0708"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	var back Parity
	if err := back.Parse(b); err != nil || !reflect.DeepEqual(back, p) {
		t.Errorf("%+v, %v", back, err)
	}
	for n := range len(b) {
		if err := back.Parse(b[:n]); err == nil {
			t.Errorf("cut to %d is taken", n)
		}
	}
}

// FuzzDatagram reads anything; what can be read is written as it was understood.
func FuzzDatagram(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		s := Segment{Seq: r.Uint32(), Flags: ACK, Options: Options{HasFeedback: true, Feedback: 5, Blocks: 2, Group: netip.MustParseAddr("232.1.2.3")}, Payload: []byte("x")}
		f.Add(s.Append(nil))
	}
	f.Add((&Parity{K: 3, Symbol: []byte("abc")}).Append(nil))
	f.Add((&Digest{Len: 5}).Append(AppendControl(nil, 1)))
	f.Add(append(Shim{Kind: Pair, Tag: 1}.Append(nil), make([]byte, TagLen)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again Segment
		if err := s.Parse(b); err == nil {
			if err := again.Parse(s.Append(nil)); err != nil || !reflect.DeepEqual(s.reduced(), again.reduced()) {
				t.Errorf("%+v, written and read again: %+v, %v", s, again, err)
			}
			if s.String() == "" {
				t.Error("prints as nothing")
			}
		}
		var p, q Parity
		if err := p.Parse(b); err == nil {
			if err := q.Parse(p.Append(nil)); err != nil || !reflect.DeepEqual(p, q) {
				t.Errorf("%+v, written and read again: %+v, %v", p, q, err)
			}
		}
		if h, _, err := ParseShim(b); err == nil && !bytes.Equal(h.Append(nil), b[:ShimLen]) {
			t.Errorf("%+v is not written as it was read", h)
		}
		var back []byte
		n, err := ParseControl(b, func(d Digest) { back = d.Append(back) }, func(k GroupKey) { back = k.Append(back) })
		if err == nil && !bytes.Equal(append(AppendControl(nil, n), back...), b) {
			t.Errorf("control %x is written as %x", b, back)
		}
	})
}

// reduced leaves out the blocks that other options left no room for.
func (s *Segment) reduced() Segment {
	var back Segment
	if back.Parse(s.Append(nil)) != nil {
		return *s
	}
	if len(back.Payload) == 0 {
		back.Payload = nil
	}
	return back
}
