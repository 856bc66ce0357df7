package journal_test

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"testing"

	"github.com/gomover/gomover/journal"
)

// seal builds a journal from the text of docs/journal.md, apart from the code:
// preamble, then for each payload a record with a right sequence number and
// checksum.
func seal(kinds []byte, payloads [][]byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	b := []byte("gomoverj\x00\x01\x00\x00\x00\x00\x00\x00")
	sum := crc32.Checksum(b, table)
	for i, p := range payloads {
		at := len(b)
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, kinds[i], 0, 0, 0)
		b = binary.BigEndian.AppendUint64(b, uint64(i))
		b = append(b, p...)
		sum = crc32.Update(sum, table, b[at:])
		b = binary.BigEndian.AppendUint32(b, sum)
	}
	return b
}

// headerOf is a header's payload for a file of size bytes in blocks of 10.
func headerOf(size int64) []byte {
	p := make([]byte, 16)
	p = binary.BigEndian.AppendUint64(p, uint64(size))
	p = append(p, make([]byte, 16)...)
	p = binary.BigEndian.AppendUint64(p, 10)
	return append(p, 0, 0, 0, 0)
}

func runOf(first uint64, count uint32, hashes int) []byte {
	p := binary.BigEndian.AppendUint64(nil, first)
	p = binary.BigEndian.AppendUint32(p, count)
	return append(p, make([]byte, 32*hashes)...)
}

func through(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// A record with a right checksum that says something impossible ends the journal.
func TestImpossibleRecords(t *testing.T) {
	good := runOf(0, 2, 2)
	for name, tt := range map[string]struct {
		kind    byte
		payload []byte
	}{
		"block behind the end":  {2, runOf(10, 1, 1)},
		"run across the end":    {2, runOf(9, 2, 2)},
		"block of 2^63":         {2, runOf(1<<63, 1, 1)},
		"count wraps":           {2, runOf(1<<64-1, 2, 2)},
		"empty run":             {2, runOf(0, 0, 0)},
		"hashes missing":        {2, runOf(0, 3, 2)},
		"huge count":            {2, runOf(0, 1<<32-1, 1)},
		"half a run":            {2, append(runOf(3, 1, 1), 1, 2, 3)},
		"second header":         {1, headerOf(100)},
		"mark of itself":        {3, through(2)},
		"mark of the future":    {3, through(1 << 40)},
		"short mark":            {3, through(1)[:7]},
		"long mark":             {3, append(through(1), 0)},
		"short clean":           {4, nil},
		"unknown kind":          {5, nil},
		"kind zero":             {0, nil},
		"clean of what follows": {4, through(2)},
	} {
		t.Run(name, func(t *testing.T) {
			data := seal([]byte{1, 2, tt.kind, 3}, [][]byte{headerOf(100), good, tt.payload, through(1)})
			want := len(seal([]byte{1, 2}, [][]byte{headerOf(100), good}))
			f := &memFile{data: data}
			_, s, err := journal.Open(f)
			check(t, err)
			if s.Count() != 2 || s.Synced(0) || s.Clean || len(f.data) != want {
				t.Errorf("%d blocks, synced %v, clean %v, cut to %d bytes; want 2, false, false, %d",
					s.Count(), s.Synced(0), s.Clean, len(f.data), want)
			}
		})
	}
}

func TestMarksGoForward(t *testing.T) {
	one := runOf(0, 1, 1)
	data := seal([]byte{1, 2, 3, 2, 3}, [][]byte{headerOf(100), one, through(1), one, through(0)})
	_, s, err := journal.Open(&memFile{data: data})
	check(t, err)
	if s.Cut == 0 || s.Marked != 1 {
		t.Errorf("a mark that goes back: cut %d, marked %d; want a cut, 1", s.Cut, s.Marked)
	}
	data = seal([]byte{1, 2, 2, 4}, [][]byte{headerOf(100), one, one, through(1)})
	if _, s, err = journal.Open(&memFile{data: data}); err != nil || s.Clean {
		t.Errorf("clean that leaves a record out: clean %v, %v; want false", s.Clean, err)
	}
	data = seal([]byte{1, 2, 2, 4}, [][]byte{headerOf(100), one, one, through(2)})
	if _, s, err = journal.Open(&memFile{data: data}); err != nil || !s.Clean {
		t.Errorf("clean that covers all: clean %v, %v; want true", s.Clean, err)
	}
}

// example is the dump in docs/journal.md.
const example = "" +
	"676f6d6f7665726a0001000000000000" +
	"00000034010000000000000000000000" +
	"00000000000000000000000000000000" +
	"00000000000000640000000000000000" +
	"0000000000000000000000000000000a" +
	"0000000089d0c8a50000002c02000000" +
	"00000000000000010000000000000003" +
	"00000001000000000000000000000000" +
	"00000000000000000000000000000000" +
	"000000006a5bdb390000000804000000" +
	"00000000000000020000000000000001" +
	"98761000"

// The document's text, its example and the code say the same.
func TestExample(t *testing.T) {
	f := &memFile{}
	j, err := journal.Create(f, journal.Header{Size: 100, BlockSize: 10})
	check(t, err)
	j.Add(3, [32]byte{})
	check(t, j.CloseClean(nil))
	want := seal([]byte{1, 2, 4}, [][]byte{headerOf(100), runOf(3, 1, 1), through(1)})
	if got := hex.EncodeToString(want); got != example {
		t.Errorf("by the document's text:\n%s", hex.Dump(want))
	}
	if got := string(f.data); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", hex.Dump(f.data), hex.Dump(want))
	}
}

// FuzzRecords gives records with right checksums, which FuzzOpen hardly finds.
func FuzzRecords(f *testing.F) {
	f.Add(int64(100), []byte{2}, runOf(0, 2, 2), through(1))
	f.Add(int64(1<<62), []byte{2, 3, 4}, runOf(1<<20, 1, 1), through(1))
	f.Add(int64(100), []byte{4, 3}, []byte{}, through(0))
	f.Fuzz(func(t *testing.T, size int64, kinds, blocks, mark []byte) {
		all, payloads := []byte{1}, [][]byte{headerOf(size)}
		for _, k := range kinds[:min(len(kinds), 50)] {
			p := blocks
			if k == 3 || k == 4 {
				p = mark
			}
			all, payloads = append(all, k), append(payloads, p)
		}
		file := &memFile{data: seal(all, payloads)}
		_, s, err := journal.Open(file)
		if err != nil {
			return
		}
		n := int64(0)
		for b := range s.Recorded() {
			if b < 0 || b >= s.Header.Blocks() {
				t.Fatalf("block %d of %d", b, s.Header.Blocks())
			}
			n++
		}
		if n != s.Count() || n*32 > int64(len(file.data)) {
			t.Fatalf("%d blocks, counted %d, in %d bytes", n, s.Count(), len(file.data))
		}
		if s.Clean && n > 0 {
			for b := range s.Recorded() {
				if !s.Synced(b) {
					t.Fatalf("clean, but block %d is not synced", b)
				}
			}
		}
	})
}

// BenchmarkReplay is the cost of a block when a journal of a million is read:
// the size of a State's pages rests on it.
func BenchmarkReplay(b *testing.B) {
	const blocks = 1 << 20
	f := &memFile{}
	j, err := journal.Create(f, journal.Header{Size: blocks, BlockSize: 1})
	if err != nil {
		b.Fatal(err)
	}
	for i := range int64(blocks) {
		j.Add(i*7919%blocks, sum(i, 1)) // in no order
		if i%64 == 63 {
			if err := j.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		_, s, err := journal.Open(f)
		if err != nil || s.Count() != blocks {
			b.Fatal(s, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/blocks, "ns/block")
}
