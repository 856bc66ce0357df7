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

// fuzzFrame checks that what accepts a frame neither panics nor accepts what it would
// write otherwise; parse gives what it would write.
func fuzzFrame(f *testing.F, parse func(b []byte) (again []byte, err error), seeds ...[]byte) {
	for _, b := range seeds {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v", err)
			}
			return
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x was accepted as %x", b, again)
		}
	})
}

func FuzzBlock(f *testing.F) {
	fuzzFrame(f, func(b []byte) ([]byte, error) {
		h, data, err := ParseBlock(b)
		again := make([]byte, BlockHeadLen)
		h.Put(again)
		return append(again, data...), err
	}, blockFrame(BlockHead{File: 3, Block: 7, Sum: sum, Unchanged: true}, "data"), blockFrame(BlockHead{}, ""))
}

func FuzzPack(f *testing.F) {
	fuzzFrame(f, func(b []byte) ([]byte, error) {
		n, again := 0, make([]byte, PackHeadLen)
		err := ParsePack(b, func(p PackItem, data []byte) error {
			head := make([]byte, PackItemLen)
			p.Put(head)
			again = append(append(again, head...), data...)
			n++
			return nil
		})
		PutPackHead(again, n)
		return again, err
	}, packFrame("ab", "", "c"), packFrame())
}
