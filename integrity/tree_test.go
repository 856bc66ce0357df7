package integrity

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"lukechampine.com/blake3"
)

func data(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// The reference is the library's own whole-file hash.
func TestTreeGivesTheOrdinaryHash(t *testing.T) {
	for _, bs := range []int64{MinBlock, 32 << 10, 256 << 10} {
		for _, n := range []int{0, 1, 64, 1023, 1024, 1025, 5000, 16383, 16384, 16385, 32768, 49152, 65536, 100000, 262144, 262145, 524288, 786432, 1<<20 + 17, 1 << 20} {
			t.Run(fmt.Sprintf("%d/%d", bs, n), func(t *testing.T) {
				b := data(n)
				want := Sum(blake3.Sum256(b))
				tr := NewTree(int64(n), bs)
				blocks := (int64(n) + bs - 1) / bs
				if n == 0 {
					blocks = 1
				}
				for _, i := range rand.New(rand.NewPCG(uint64(n), uint64(bs))).Perm(int(blocks)) {
					if _, ok := tr.Root(); ok {
						t.Fatal("a root before all blocks were added")
					}
					lo := int64(i) * bs
					tr.Add(int64(i), Block(b[lo:min(lo+bs, int64(n))], lo, int64(n)))
				}
				got, ok := tr.Root()
				if !ok || got != want {
					t.Fatalf("root %v %v, want %v", got, ok, want)
				}
			})
		}
	}
}

func TestInOrderNeedsLittleMemory(t *testing.T) {
	const blocks = 100000
	tr := NewTree(blocks*MinBlock, MinBlock)
	for i := range int64(blocks) {
		tr.Add(i, Sum{byte(i)})
		if len(tr.nodes) > 40 {
			t.Fatalf("%d sums kept after block %d", len(tr.nodes), i)
		}
	}
	if _, ok := tr.Root(); !ok {
		t.Fatal("no root")
	}
}

// BenchmarkBlock supports the choice of hash and of block size.
func BenchmarkBlock(b *testing.B) {
	for _, n := range []int{4 << 10, 64 << 10, 256 << 10, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := data(n)
			b.SetBytes(int64(n))
			for b.Loop() {
				Block(d, int64(n), int64(4*n))
			}
		})
	}
}

// BenchmarkWhole is the same library used as a whole, for comparison.
func BenchmarkWhole(b *testing.B) {
	d := data(256 << 10)
	b.SetBytes(256 << 10)
	h := blake3.New(32, nil)
	for b.Loop() {
		h.Reset()
		h.Write(d)
		h.Sum(nil)
	}
}
