package wire

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func openParser(b []byte) (any, []byte, error) {
	m, err := ParseOpen(b)
	return m, m.Append(nil), err
}

func openedParser(b []byte) (any, []byte, error) {
	m, err := ParseOpened(b)
	return m, m.Append(nil), err
}

func refusedParser(b []byte) (any, []byte, error) {
	m, err := ParseRefused(b)
	return m, m.Append(nil), err
}

func listParser(b []byte) (any, []byte, error) {
	m, err := ParseNumber(KindList, b)
	return m, m.Append(nil), err
}

func listedParser(b []byte) (any, []byte, error) {
	m, err := ParseListed(b)
	return m, m.Append(nil), err
}

func sumsParser(b []byte) (any, []byte, error) {
	m, err := ParseSums(b)
	return m, m.Append(nil), err
}

func summedParser(b []byte) (any, []byte, error) {
	m, err := ParseSummed(b)
	return m, m.Append(nil), err
}

func readParser(b []byte) (any, []byte, error) {
	m, err := ParseRead(b)
	return m, m.Append(nil), err
}

func fetchParser(b []byte) (any, []byte, error) {
	m, err := ParseFetch(b)
	return m, m.Append(nil), err
}

func batchParser(b []byte) (any, []byte, error) {
	m, err := ParseBatch(b)
	return m, m.Append(nil), err
}

// appendGiven appends the frame as a server puts it together.
func appendGiven(m *Given) []byte {
	b := make([]byte, GivenHead)
	PutGivenHead(b, m.ID, m.First, m.Last)
	for _, f := range m.Files {
		if f.Class != ClassNone {
			b = AppendNotGiven(b, f.Class, f.Text)
			continue
		}
		at := len(b)
		b = append(b, make([]byte, GivenFileHead)...)
		PutGivenFile(b[at:], f.Sum, len(f.Data))
		b = append(b, f.Data...)
	}
	return b
}

func givenParser(b []byte) (any, []byte, error) {
	m, err := ParseGiven(b)
	return m, appendGiven(&m), err
}

func refusedFrameParser(b []byte) (any, []byte, error) {
	m, err := ParseRefusedFrame(b)
	return m, m.AppendFrame(nil), err
}

func pieceParser(b []byte) (any, []byte, error) {
	m, err := ParsePiece(b)
	again := make([]byte, m.HeadLen())
	m.Put(again)
	return m, append(again, m.Data...), err
}

// serveMessages are those between a reader and a server.
func serveMessages() []message {
	open := Open{ID: 300, Root: 1, Name: "a/b"}
	opened := Opened{ID: 1, Size: 1000, ModTime: -1, Ino: 7, Mode: 0o644}
	refused := Refused{ID: 5, Class: ClassSource, Text: "no"}
	list := Number{Kind: KindList, ID: 3, Root: 2}
	listed := Listed{ID: 3, Last: true, Entries: []Entry{{Name: "a", Kind: 1, Mode: 0o600, Size: 5, ModTime: 1}}}
	sums := Sums{ID: 1, File: 2, First: 300, Count: 256, Block: 1 << 20}
	summed := Summed{ID: 1, Sums: [][32]byte{sum, sum}}
	return []message{
		{"open", `30 ac02 01 03612f62`, open, func() []byte { return open.Append(nil) }, openParser},
		{"opened", `31 01 e807 01 07 a403`, opened, func() []byte { return opened.Append(nil) }, openedParser},
		{"refused", `32 05 02 026e6f`, refused, func() []byte { return refused.Append(nil) }, refusedParser},
		{"list", `34 03 02`, list, func() []byte { return list.Append(nil) }, listParser},
		{"listed", `35 03 01 00 01 00 01 00 0161 8003 05 02 00`, listed, func() []byte { return listed.Append(nil) }, listedParser},
		{"sums", `36 01 02 ac02 8002 808040`, sums, func() []byte { return sums.Append(nil) }, sumsParser},
		{"summed", `37 01 ` + sumHex + sumHex, summed, func() []byte { return summed.Append(nil) }, summedParser},
	}
}

// serveFrames are frames, whose first byte is parsed, too.
func serveFrames() []message {
	read := Read{ID: 1, File: 2, Offset: 1 << 20, Length: 3, Block: 1 << 16}
	fetch := Fetch{ID: 9, Root: 2, Name: "a/b", Size: 1 << 21, ModTime: -1, Ino: 7, Offset: 1 << 20, Length: 1 << 20, SumOnly: true}
	refused := Refused{ID: 1, Class: ClassChanged, Text: "it changed"}
	plain := Piece{ID: 7, Last: true, Offset: 256, Data: []byte("data")}
	summed := Piece{ID: 7, Offset: MaxSize, Summed: true, Sum: sum, Data: []byte{}}
	batch := Batch{ID: 9, Root: 2, SumOnly: true, Files: []BatchFile{{Name: "a/b", Size: 5, ModTime: -1, Ino: 7}, {Name: "c", Size: MaxBatchFile}}}
	given := Given{ID: 9, First: 1, Last: true, Files: []GivenFile{{Sum: sum, Data: []byte("data")}, {Class: ClassChanged, Text: "no"}, {Sum: sum, Data: []byte{}}}}
	frame := func(m *Piece) func() []byte {
		return func() []byte {
			b := make([]byte, m.HeadLen())
			m.Put(b)
			return append(b, m.Data...)
		}
	}
	return []message{
		{"read", `03 00 00000001 00000002 0000000000100000 0000000000000003 00010000`, read, func() []byte { return read.Append(nil) }, readParser},
		{"fetch", `07 01 00000009 00000002 0000000000100000 00100000 0000000000200000 ffffffffffffffff 0000000000000007 612f62`, fetch, func() []byte { return fetch.Append(nil) }, fetchParser},
		{"batch", `08 01 00000009 00000002 00000005 ffffffffffffffff 0000000000000007 0003 612f62 00010000 0000000000000000 0000000000000000 0001 63`, batch, func() []byte { return batch.Append(nil) }, batchParser},
		{"given", `09 02 00000009 00000001 00 ` + sumHex + ` 00000004 64617461 06 0002 6e6f 00 ` + sumHex + ` 00000000`, given, func() []byte { return appendGiven(&given) }, givenParser},
		{"refusal", `06 06 00000001 6974206368616e676564`, refused, func() []byte { return refused.AppendFrame(nil) }, refusedFrameParser},
		{"piece", `05 02 00000007 0000000000000100 64617461`, plain, frame(&plain), pieceParser},
		{"piece with a sum", `05 01 00000007 3fffffffffffffff ` + sumHex, summed, frame(&summed), pieceParser},
	}
}

func TestServeMessages(t *testing.T) {
	for i, m := range append(serveMessages(), serveFrames()...) {
		skip := 1 // the kind
		if i >= len(serveMessages()) {
			skip = 0
		}
		t.Run(m.name, func(t *testing.T) {
			want := unhex(t, m.hex)
			if got := m.bytes(); !bytes.Equal(got, want) {
				t.Fatalf("appended\n%x, want\n%x", got, want)
			}
			v, again, err := m.parse(want[skip:])
			if err != nil || !reflect.DeepEqual(v, m.value) || !bytes.Equal(again, want) {
				t.Errorf("parsed %+v, %v, want %+v; appended again %x", v, err, m.value, again)
			}
			for n := range want[skip:] {
				cut := want[skip : skip+n]
				v, again, err := m.parse(cut)
				// What ends with bytes of any number is whole when cut among these.
				if err == nil && !bytes.Equal(again[skip:], cut) || err != nil && !errors.Is(err, ErrMalformed) {
					t.Errorf("cut after %d bytes: %+v, %v", n, v, err)
				}
			}
		})
	}
}

func TestServeBounds(t *testing.T) {
	read := func(off, n uint64, block uint32) []byte {
		return Read{Offset: int64(off), Length: int64(n), Block: int64(block)}.Append(nil)
	}
	files := func(n int, size int64) []byte {
		m := Batch{}
		for range n {
			m.Files = append(m.Files, BatchFile{Size: size})
		}
		return m.Append(nil)
	}
	given := func(first int, n uint32, more ...byte) []byte {
		b := make([]byte, GivenHead+GivenFileHead)
		PutGivenHead(b, 1, first, true)
		PutGivenFile(b[GivenHead:], sum, int(n))
		return append(b, more...)
	}
	cases := map[string]struct {
		parse func([]byte) (any, []byte, error)
		body  []byte
	}{
		"nothing to fetch":       {fetchParser, (&Fetch{Size: 5}).Append(nil)},
		"fetched beyond it":      {fetchParser, (&Fetch{Size: 5, Offset: 4, Length: 2}).Append(nil)},
		"too much to fetch":      {fetchParser, (&Fetch{Size: MaxSize, Length: MaxSumBlock + 1}).Append(nil)},
		"a root beyond":          {fetchParser, (&Fetch{Root: MaxRoots, Size: 5, Length: 1}).Append(nil)},
		"a longer name":          {fetchParser, (&Fetch{Name: strings.Repeat("a", MaxName+1), Size: 5, Length: 1}).Append(nil)},
		"a batch of nothing":     {batchParser, files(0, 0)},
		"a batch of no bytes":    {batchParser, files(1, 0)},
		"a large file":           {batchParser, files(1, MaxBatchFile+1)},
		"too many bytes":         {batchParser, files(MaxBatchBytes/MaxBatchFile+1, MaxBatchFile)},
		"too many files":         {batchParser, files(MaxBatch+1, 1)},
		"a batch beyond":         {batchParser, (&Batch{Root: MaxRoots, Files: []BatchFile{{Size: 1}}}).Append(nil)},
		"flags of a batch":       {batchParser, append([]byte{FrameBatch, 2}, files(1, 1)[2:]...)},
		"a name cut":             {batchParser, append(files(1, 1)[:BatchHead+20], 0, 2, 'a')},
		"a batch too long":       {batchParser, append(files(1, 1), (&Batch{Files: []BatchFile{{Name: strings.Repeat("a", MaxServeRequest), Size: 1}}}).Append(nil)[BatchHead:]...)},
		"given beyond":           {givenParser, given(MaxBatch, 0)},
		"given less":             {givenParser, given(0, 3, 'a', 'b')},
		"given more":             {givenParser, given(0, 1, 'a', 0)},
		"given too much":         {givenParser, given(0, MaxBatchFile+1, make([]byte, MaxBatchFile+1)...)},
		"flags of what is given": {givenParser, append([]byte{FrameGiven, 1}, given(0, 0)[2:]...)},
		"no reason":              {givenParser, given(0, 0, ClassSource, 0)},
		"a long reason":          {givenParser, append(given(0, 0, ClassSource, 4, 1), make([]byte, 1025)...)},
		"nothing to read":        {readParser, read(0, 0, 0)},
		"beyond any file":        {readParser, read(MaxSize, 1, 0)},
		"wraps":                  {readParser, read(math.MaxUint64, 2, 0)},
		"long blocks":            {readParser, read(0, 1, MaxSumBlock+1)},
		"far piece":              {pieceParser, append([]byte{FramePiece, 0, 0, 0, 0, 1, 255}, make([]byte, 7)...)},
		"long piece":             {pieceParser, append([]byte{FramePiece, 0}, make([]byte, 12+MaxPiece+1)...)},
		"flags of a piece":       {pieceParser, append([]byte{FramePiece, 4}, make([]byte, 12)...)},
		"long refusal":           {refusedFrameParser, append([]byte{FrameRefused}, make([]byte, 6+MaxText)...)},
		"no sums":                {sumsParser, Sums{Block: 1 << 20}.Append(nil)[1:]},
		"too many sums":          {sumsParser, Sums{Count: MaxSums + 1, Block: 1 << 20}.Append(nil)[1:]},
		"sums of no blocks":      {sumsParser, Sums{Count: 1}.Append(nil)[1:]},
		"sums beyond any file":   {sumsParser, Sums{First: MaxSize, Count: 1, Block: 1 << 20}.Append(nil)[1:]},
		"more sums than asked":   {summedParser, Summed{Sums: make([][32]byte, MaxSums+1)}.Append(nil)[1:]},
		"half a sum":             {summedParser, append([]byte{1}, make([]byte, 48)...)},
		"numbers of 33 bits":     {openParser, []byte{0x80, 0x80, 0x80, 0x80, 0x10, 0, 0}},
		"a long name":            {openParser, Open{Name: strings.Repeat("a", MaxName+1)}.Append(nil)[1:]},
		"a numbered list":        {listedParser, []byte{1, 1, 5, 0}},
		"neither last nor not":   {listedParser, []byte{1, 2, 0, 0}},
		"an unknown permission":  {openedParser, []byte{1, 0, 0, 0, 0x80, 0x40}},
	}
	for name, c := range cases {
		if v, _, err := c.parse(c.body); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

func FuzzServe(f *testing.F) {
	parsers := []func([]byte) (any, []byte, error){openParser, openedParser, refusedParser, listParser, listedParser, sumsParser, summedParser}
	for i, m := range serveMessages() {
		f.Add(byte(i), m.bytes()[1:])
	}
	f.Fuzz(func(t *testing.T, i byte, body []byte) {
		v, again, err := parsers[int(i)%len(parsers)](body)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("error %v", err)
		}
		if err == nil && !bytes.Equal(again[1:], body) {
			t.Errorf("%x was accepted as %+v, which is %x", body, v, again[1:])
		}
	})
}

func FuzzServeFrame(f *testing.F) {
	parsers := []func([]byte) (any, []byte, error){readParser, refusedFrameParser, pieceParser, fetchParser, batchParser, givenParser,
		func(b []byte) (any, []byte, error) {
			id, err := ParseCancel(b)
			return id, AppendCancel(nil, id), err
		}}
	for i, m := range serveFrames() {
		f.Add(byte(i), m.bytes())
	}
	f.Add(byte(6), AppendCancel(nil, 7))
	f.Fuzz(func(t *testing.T, i byte, b []byte) {
		v, again, err := parsers[int(i)%len(parsers)](b)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("error %v", err)
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x was accepted as %+v, which is %x", b, v, again)
		}
	})
}
