package coding

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// block makes symbols; those from n on are zeros, given as nil.
func block(r *rand.Rand, k, n, size int) [][]byte {
	data := make([][]byte, k)
	for i := range n {
		data[i] = make([]byte, size)
		for j := range data[i] {
			data[i][j] = byte(r.Uint32())
		}
	}
	return data
}

func TestAnySymbolsMendAnyLosses(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, tt := range []struct{ k, n, lost, parity int }{{1, 1, 1, 1}, {4, 4, 2, 3}, {K, K, 8, 20}, {K, 5, 5, 6}, {K, K, MaxParity, MaxParity}} {
		const size = 100
		data := block(r, tt.k, tt.n, size)
		c, err := New(tt.k)
		if err != nil {
			t.Fatal(err)
		}
		// Made in two goes, as repair goes on in rounds.
		half := tt.parity/2 + 1
		parity, err := c.Encode(data, 0, half)
		if err != nil {
			t.Fatal(err)
		}
		if half < tt.parity {
			more, err := c.Encode(data, half, tt.parity)
			if err != nil {
				t.Fatal(err)
			}
			parity = append(parity, more...)
		}
		got := make([][]byte, tt.k)
		for i := range got {
			if got[i] = data[i]; got[i] == nil {
				got[i] = make([]byte, size)
			}
		}
		for _, i := range r.Perm(tt.n)[:tt.lost] {
			got[i] = nil
		}
		for _, i := range r.Perm(len(parity))[:len(parity)-tt.lost] {
			parity[i] = nil
		}
		if err := c.Decode(got, parity); err != nil {
			t.Fatalf("%+v: %v", tt, err)
		}
		for i := range tt.n {
			if !bytes.Equal(got[i], data[i]) {
				t.Fatalf("%+v: symbol %d differs", tt, i)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	if _, err := New(K + 1); err == nil {
		t.Error("a block beyond the bound")
	}
	c, err := New(2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Encode([][]byte{{1}, {2}}, 0, MaxParity+1); err == nil {
		t.Error("too many parity symbols")
	}
	if err := c.Decode([][]byte{nil, nil}, [][]byte{{1}}); err == nil {
		t.Error("solved with too few symbols")
	}
	if err := c.Decode([][]byte{nil}, [][]byte{{1}}); err == nil {
		t.Error("solved with a block that is too short")
	}
}

// BenchmarkDecode solves a block with four symbols missing.
func BenchmarkDecode(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	const size = 1420
	data := block(r, K, K, size)
	c, err := New(K)
	if err != nil {
		b.Fatal(err)
	}
	parity, err := c.Encode(data, 0, 4)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(K * size)
	for b.Loop() {
		got := append([][]byte(nil), data...)
		got[3], got[50], got[51], got[100] = nil, nil, nil, nil
		if err := c.Decode(got, parity); err != nil {
			b.Fatal(err)
		}
	}
}
