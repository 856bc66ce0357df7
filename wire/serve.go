package wire

import (
	"encoding/binary"
	"fmt"
)

// The kinds of messages between a reader and a server: an agent whose files are
// read in parts, as they are asked for. Each request has a number that its answer
// repeats; the number of Open is that of the file until it is closed.
const (
	KindOpen    Kind = 48 // reader: open a file
	KindOpened  Kind = 49 // server: what it is
	KindRefused Kind = 50 // server: a request cannot be done, and why
	KindClose   Kind = 51 // reader: the file is not needed any more
	KindList    Kind = 52 // reader: list what is below a root
	KindListed  Kind = 53 // server: entries, and whether these were the last ones
	KindSums    Kind = 54 // reader: hash some blocks
	KindSummed  Kind = 55 // server: their sums
)

// MaxSums is how many sums one request can ask for.
const MaxSums = 256

// Open is the body of KindOpen.
//
//	id uint | root uint | name bytes
type Open struct {
	ID   uint32
	Root int
	Name string // below the root, "" for the root itself
}

// Append appends the message.
func (m Open) Append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(KindOpen)), uint64(m.ID))
	b = binary.AppendUvarint(b, uint64(m.Root))
	return appendBytes(b, m.Name)
}

// ParseOpen parses the body of such a message.
func ParseOpen(body []byte) (Open, error) {
	r := reader{b: body}
	m := Open{ID: r.id(), Root: int(r.int("root", MaxRoots-1)), Name: r.string("name", MaxName)}
	return m, r.named("open")
}

// Opened is the body of KindOpened. As long as all but ID are the same, so is the
// content.
//
//	id uint | size uint | mtime sint | inode uint | mode uint
type Opened struct {
	ID      uint32
	Size    int64 // bytes
	ModTime int64 // nanoseconds since 1970
	Ino     uint64
	Mode    uint32
}

// Append appends the message.
func (m Opened) Append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(KindOpened)), uint64(m.ID))
	b = binary.AppendUvarint(b, uint64(m.Size))
	b = appendSint(b, m.ModTime)
	b = binary.AppendUvarint(b, m.Ino)
	return binary.AppendUvarint(b, uint64(m.Mode))
}

// ParseOpened parses the body of such a message.
func ParseOpened(body []byte) (Opened, error) {
	r := reader{b: body}
	m := Opened{ID: r.id(), Size: r.int("size", MaxSize), ModTime: r.sint("time"), Ino: r.uint("inode"), Mode: uint32(r.int("mode", 0o7777))}
	return m, r.named("opened")
}

// Refused is the body of KindRefused, and of a frame with the same meaning.
//
//	id uint | class u8 | text bytes
type Refused struct {
	ID    uint32
	Class Class
	Text  string
}

// Append appends the message. A text that is too long is cut.
func (m Refused) Append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(KindRefused)), uint64(m.ID))
	return appendBytes(append(b, m.Class), cut(m.Text))
}

// ParseRefused parses the body of such a message.
func ParseRefused(body []byte) (Refused, error) {
	r := reader{b: body}
	m := Refused{ID: r.id(), Class: r.byte("class"), Text: r.string("text", MaxText)}
	return m, r.named("refused")
}

// Number is the body of KindClose, with the number of a file, and of KindList.
//
//	id uint | root uint
type Number struct {
	Kind Kind
	ID   uint32
	Root int // of KindList; else 0
}

// Append appends the message.
func (m Number) Append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(m.Kind)), uint64(m.ID))
	return binary.AppendUvarint(b, uint64(m.Root))
}

// ParseNumber parses the body of such a message.
func ParseNumber(k Kind, body []byte) (Number, error) {
	r := reader{b: body}
	m := Number{Kind: k, ID: r.id(), Root: int(r.int("root", MaxRoots-1))}
	return m, r.named("number")
}

// Listed is the body of KindListed.
//
//	id uint | last u8 | body of a manifest
type Listed struct {
	ID      uint32
	Last    bool // no more entries come
	Entries []Entry
}

// Append appends the message.
func (m Listed) Append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(KindListed)), uint64(m.ID))
	last := byte(0)
	if m.Last {
		last = 1
	}
	list := Manifest{Entries: m.Entries}
	return append(append(b, last), list.Append(nil)[1:]...)
}

// ParseListed parses the body of such a message.
func ParseListed(body []byte) (Listed, error) {
	r := reader{b: body}
	m := Listed{ID: r.id()}
	last := r.byte("last")
	if last > 1 {
		r.fail("last")
	}
	m.Last = last == 1
	if r.err != nil {
		return Listed{}, fmt.Errorf("listed: %w", r.err)
	}
	list, err := ParseManifest(r.b)
	if err == nil && list.First != 0 {
		err = fmt.Errorf("listed: %w: entries are not numbered", ErrMalformed)
	}
	if err != nil {
		return Listed{}, err
	}
	m.Entries = list.Entries
	return m, nil
}

// Sums is the body of KindSums.
//
//	id uint | file uint | first uint | count uint | block uint
type Sums struct {
	ID    uint32
	File  uint32
	First int64 // block
	Count int   // 1..MaxSums
	Block int64 // bytes in a block, at most MaxSumBlock
}

// MaxSumBlock is the longest block in bytes of which a sum can be asked for.
const MaxSumBlock = 16 << 20

// Append appends the message.
func (m Sums) Append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(KindSums)), uint64(m.ID))
	b = binary.AppendUvarint(b, uint64(m.File))
	b = binary.AppendUvarint(b, uint64(m.First))
	b = binary.AppendUvarint(b, uint64(m.Count))
	return binary.AppendUvarint(b, uint64(m.Block))
}

// ParseSums parses the body of such a message.
func ParseSums(body []byte) (Sums, error) {
	r := reader{b: body}
	m := Sums{ID: r.id(), File: r.id(), First: r.int("first block", MaxSize), Count: int(r.int("count of blocks", MaxSums)), Block: r.int("block size", MaxSumBlock)}
	if r.err == nil && (m.Count == 0 || m.Block == 0 || m.First > MaxSize/m.Block) {
		r.fail("range of blocks")
	}
	return m, r.named("sums")
}

// Summed is the body of KindSummed.
//
//	id uint | sums
type Summed struct {
	ID   uint32
	Sums [][32]byte
}

// Append appends the message.
func (m Summed) Append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(KindSummed)), uint64(m.ID))
	for i := range m.Sums {
		b = append(b, m.Sums[i][:]...)
	}
	return b
}

// ParseSummed parses the body of such a message.
func ParseSummed(body []byte) (Summed, error) {
	r := reader{b: body}
	m := Summed{ID: r.id()}
	n := len(r.b) / 32
	if r.err == nil && (n > MaxSums || len(r.b)%32 != 0) {
		r.fail("sums")
		n = 0
	}
	m.Sums = make([][32]byte, n)
	for i := range m.Sums {
		m.Sums[i] = [32]byte(r.take("sum", 32))
	}
	return m, r.named("summed")
}

// id takes the number of a request.
func (r *reader) id() uint32 { return uint32(r.int("number", 1<<32-1)) }

// named ends the reading and says what was read.
func (r *reader) named(what string) error {
	if err := r.end(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
