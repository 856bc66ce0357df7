package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Verdict is what the sink says of one entry.
type Verdict byte

// The verdicts.
const (
	Want    Verdict = 1 // send all of it
	Part    Verdict = 2 // send the blocks in Extents
	Same    Verdict = 3 // it is here already
	Made    Verdict = 4 // made from the entry alone: directory, link, empty file
	Failed  Verdict = 5 // it can't be written; Text says why
	SendSum Verdict = 6 // send the file's hash, then the verdict follows
	Ignored Verdict = 7 // not copied: a device, pipe or socket, or kept as it is
)

// EntryVerdict is the verdict on one entry.
type EntryVerdict struct {
	ID      uint64 // number of the entry
	Verdict Verdict
	Have    int64      // Part: bytes that are here and were checked
	Extents [][2]int64 // Part: half-open ranges of block numbers, ascending
	Class   byte       // Failed: class of the error, see Fail
	Text    string     // Failed, Ignored
	Replace bool       // Want: something stands at the final name
}

// Verdicts is a batch of verdicts.
//
//	count uint | { id uint | verdict u8 | ... }
type Verdicts []EntryVerdict

// Append appends the message.
func (m Verdicts) Append(b []byte) []byte {
	b = append(b, byte(KindVerdicts))
	b = binary.AppendUvarint(b, uint64(len(m)))
	for i := range m {
		v := &m[i]
		b = binary.AppendUvarint(b, v.ID)
		code := byte(v.Verdict)
		if v.Replace {
			code |= 0x80
		}
		b = append(b, code)
		switch v.Verdict {
		case Part:
			b = binary.AppendUvarint(b, uint64(v.Have))
			b = binary.AppendUvarint(b, uint64(len(v.Extents)))
			last := int64(0)
			for _, e := range v.Extents {
				b = binary.AppendUvarint(b, uint64(e[0]-last))
				b = binary.AppendUvarint(b, uint64(e[1]-e[0]))
				last = e[1]
			}
		case Failed, Ignored:
			b = append(b, v.Class)
			b = appendBytes(b, cut(v.Text))
		}
	}
	return b
}

func cut(s string) string { return s[:min(len(s), MaxText)] }

// ParseVerdicts parses the body of a KindVerdicts message.
func ParseVerdicts(body []byte) (Verdicts, error) {
	r := reader{b: body}
	n := r.int("count of verdicts", MaxManifest)
	if 2*n > int64(len(r.b)) {
		r.fail("count of verdicts")
		n = 0
	}
	m := make(Verdicts, 0, n)
	extents := int64(0)
	for range n {
		v := EntryVerdict{ID: r.uint("number")}
		code := r.byte("verdict")
		v.Verdict, v.Replace = Verdict(code&0x7f), code&0x80 != 0
		switch v.Verdict {
		case Part:
			v.Have = r.int("bytes here", MaxSize)
			k := r.int("count of extents", MaxExtents)
			if extents += k; 2*k > int64(len(r.b)) || extents > 2*MaxExtents {
				r.fail("count of extents")
				break
			}
			v.Extents = make([][2]int64, 0, k)
			last := int64(0)
			for range k {
				lo := last + r.int("extent", MaxSize-last)
				hi := lo + r.int("extent", MaxSize-lo)
				if hi <= lo {
					r.fail("empty extent")
				}
				v.Extents = append(v.Extents, [2]int64{lo, hi})
				last = hi
			}
		case Failed, Ignored:
			v.Class = r.byte("class")
			v.Text = r.string("text", MaxText)
		case Want, Same, Made, SendSum:
		default:
			r.fail("verdict")
		}
		if r.err != nil {
			break
		}
		m = append(m, v)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("verdicts: %w", err)
	}
	return m, nil
}

// Stored says how many frames of each stream, counted from the stream's start,
// the sink has dealt with: written, hashed and noted in its journal, or
// reported missed. Frames of a stream are dealt with in order.
//
//	{ stream uint | frames uint } to the end
type Stored []StreamCount

// StreamCount is one stream's part of Stored.
type StreamCount struct {
	Stream uint32
	Frames uint64
}

// Append appends the message.
func (m Stored) Append(b []byte) []byte {
	b = append(b, byte(KindStored))
	for _, c := range m {
		b = binary.AppendUvarint(b, uint64(c.Stream))
		b = binary.AppendUvarint(b, c.Frames)
	}
	return b
}

// ParseStored parses the body of a KindStored message.
func ParseStored(body []byte) (Stored, error) {
	r := reader{b: body}
	m := make(Stored, 0, min(len(body)/2, 256))
	for len(r.b) > 0 {
		if len(m) == MaxStored {
			r.fail("count of streams")
			break
		}
		m = append(m, StreamCount{uint32(r.int("stream", 1<<32-1)), r.uint("frames")})
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("stored: %w", err)
	}
	return m, nil
}

// Missed names a part of a frame whose content did not fit its hash.
//
//	stream uint | file uint | block uint
type Missed struct {
	Stream uint32
	File   uint64
	Block  int64
}

// Append appends the message.
func (m Missed) Append(b []byte) []byte {
	b = append(b, byte(KindMissed))
	b = binary.AppendUvarint(b, uint64(m.Stream))
	b = binary.AppendUvarint(b, m.File)
	return binary.AppendUvarint(b, uint64(m.Block))
}

// ParseMissed parses the body of a KindMissed message.
func ParseMissed(body []byte) (Missed, error) {
	r := reader{b: body}
	m := Missed{uint32(r.int("stream", 1<<32-1)), r.uint("file"), r.int("block", MaxSize)}
	if err := r.end(); err != nil {
		return Missed{}, fmt.Errorf("missed: %w", err)
	}
	return m, nil
}

// FileDone is the end of one file at the sink.
type FileDone struct {
	ID    uint64
	Class byte     // 0: it has its final name; else the class of the error
	Sum   [32]byte // hash of the whole file; zero when not known
	Text  string   // of the error
}

// Done is a batch of ended files.
//
//	count uint | { id uint | class u8 | sum 32 | text bytes }
type Done []FileDone

// Append appends the message.
func (m Done) Append(b []byte) []byte {
	b = append(b, byte(KindDone))
	b = binary.AppendUvarint(b, uint64(len(m)))
	for i := range m {
		b = binary.AppendUvarint(b, m[i].ID)
		b = append(b, m[i].Class)
		b = append(b, m[i].Sum[:]...)
		b = appendBytes(b, cut(m[i].Text))
	}
	return b
}

// ParseDone parses the body of a KindDone message.
func ParseDone(body []byte) (Done, error) {
	r := reader{b: body}
	n := r.int("count of files", MaxManifest)
	if n*35 > int64(len(r.b)) {
		r.fail("count of files")
		n = 0
	}
	m := make(Done, 0, n)
	for range n {
		d := FileDone{ID: r.uint("number"), Class: r.byte("class")}
		copy(d.Sum[:], r.take("sum", 32))
		d.Text = r.string("text", MaxText)
		if r.err != nil {
			break
		}
		m = append(m, d)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("done: %w", err)
	}
	return m, nil
}

// Gone says that a wanted file can't be sent: it vanished, can't be read, or
// changed while it was read.
//
// Retry promises that the file will be listed once more, as it is by then.
//
//	id uint | class u8, with 128 for retry | text bytes
type Gone struct {
	ID    uint64
	Class byte
	Retry bool
	Text  string
}

// Append appends the message.
func (m Gone) Append(b []byte) []byte {
	b = append(b, byte(KindGone))
	b = binary.AppendUvarint(b, m.ID)
	class := m.Class
	if m.Retry {
		class |= 0x80
	}
	b = append(b, class)
	return appendBytes(b, cut(m.Text))
}

// ParseGone parses the body of a KindGone message.
func ParseGone(body []byte) (Gone, error) {
	r := reader{b: body}
	m := Gone{ID: r.uint("number")}
	class := r.byte("class")
	m.Class, m.Retry = class&0x7f, class&0x80 != 0
	m.Text = r.string("text", MaxText)
	if err := r.end(); err != nil {
		return Gone{}, fmt.Errorf("gone: %w", err)
	}
	return m, nil
}

// FileSum is the hash of a whole source file.
//
//	id uint | sum 32
type FileSum struct {
	ID  uint64
	Sum [32]byte
}

// Append appends the message.
func (m FileSum) Append(b []byte) []byte {
	b = append(b, byte(KindFileSum))
	b = binary.AppendUvarint(b, m.ID)
	return append(b, m.Sum[:]...)
}

// ParseFileSum parses the body of a KindFileSum message.
func ParseFileSum(body []byte) (FileSum, error) {
	r := reader{b: body}
	m := FileSum{ID: r.uint("number")}
	copy(m.Sum[:], r.take("sum", 32))
	if err := r.end(); err != nil {
		return FileSum{}, fmt.Errorf("file sum: %w", err)
	}
	return m, nil
}

// Counts is the body of KindEnd, KindScan (source) and KindFinished (sink): up
// to six numbers whose meaning the kind gives.
//
//	End, Scan: entries, files, directories, bytes, failed entries, last
//	Finished:  files made, bytes stored, files failed, 0, 0, 0
type Counts [6]int64

// Append appends a message of kind k.
func (m Counts) Append(b []byte, k Kind) []byte {
	b = append(b, byte(k))
	for _, v := range m {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

// ParseCounts parses the body of such a message.
func ParseCounts(body []byte) (m Counts, err error) {
	r := reader{b: body}
	for i := range m {
		m[i] = r.int("count", MaxSize)
	}
	if err := r.end(); err != nil {
		return Counts{}, fmt.Errorf("counts: %w", err)
	}
	return m, nil
}

// AppendJSON appends a message whose body is v as JSON.
func AppendJSON(b []byte, k Kind, v any) ([]byte, error) {
	j, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(append(b, byte(k)), j...), nil
}

// ParseJSON parses such a body into v.
func ParseJSON(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return nil
}

// Split returns a message's kind and body. Only frames of data may be longer
// than [MaxMessage].
func Split(msg []byte) (Kind, []byte, error) {
	if len(msg) == 0 {
		return 0, nil, fmt.Errorf("%w: empty", ErrMalformed)
	}
	if len(msg) > MaxMessage && Kind(msg[0]) != KindData {
		return 0, nil, fmt.Errorf("%w: message of %d bytes", ErrMalformed, len(msg))
	}
	return Kind(msg[0]), msg[1:], nil
}
