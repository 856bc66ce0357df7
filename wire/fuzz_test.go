package wire

import (
	"bytes"
	"errors"
	"testing"
)

// fuzzParser checks that a parser neither panics nor accepts what it would
// write otherwise.
func fuzzParser(f *testing.F, kind Kind, parse func([]byte) (any, []byte, error)) {
	for _, m := range messages() {
		if b := m.bytes(); Kind(b[0]) == kind {
			f.Add(b[1:])
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, again, err := parse(body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v", err)
			}
			return
		}
		if !bytes.Equal(again[1:], body) {
			t.Errorf("%x was accepted as %+v, which is %x", body, v, again[1:])
		}
	})
}

func FuzzManifest(f *testing.F) { fuzzParser(f, KindManifest, manifestParser) }
func FuzzVerdicts(f *testing.F) { fuzzParser(f, KindVerdicts, verdictsParser) }
func FuzzStored(f *testing.F)   { fuzzParser(f, KindStored, storedParser) }
func FuzzVouched(f *testing.F)  { fuzzParser(f, KindVouched, vouchedParser) }
func FuzzMissed(f *testing.F)   { fuzzParser(f, KindMissed, missedParser) }
func FuzzDone(f *testing.F)     { fuzzParser(f, KindDone, doneParser) }
func FuzzGone(f *testing.F)     { fuzzParser(f, KindGone, goneParser) }
func FuzzFileSum(f *testing.F)  { fuzzParser(f, KindFileSum, fileSumParser) }
func FuzzCounts(f *testing.F)   { fuzzParser(f, KindEnd, countsParser) }

func FuzzBlock(f *testing.F) {
	f.Add(blockFrame(BlockHead{File: 3, Block: 7, Sum: sum, Unchanged: true}, "data"))
	f.Add(blockFrame(BlockHead{}, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, data, err := ParseBlock(b)
		if err != nil {
			return
		}
		again := make([]byte, BlockHeadLen)
		h.Put(again)
		if again = append(again, data...); !bytes.Equal(again, b) {
			t.Errorf("%x was accepted as %x", b, again)
		}
	})
}

func FuzzPack(f *testing.F) {
	f.Add(packFrame("ab", "", "c"))
	f.Add(packFrame())
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		again := make([]byte, PackHeadLen)
		err := ParsePack(b, func(p PackItem, data []byte) error {
			head := make([]byte, PackItemLen)
			p.Put(head)
			again = append(append(again, head...), data...)
			n++
			return nil
		})
		if err != nil {
			return
		}
		if PutPackHead(again, n); !bytes.Equal(again, b) {
			t.Errorf("%x was accepted as %x", b, again)
		}
	})
}
