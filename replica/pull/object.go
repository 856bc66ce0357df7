package pull

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/journal"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/store"
)

// object is the unfinished file and what is known of it.
//
// Concurrency: write by several goroutines; note by who holds the conductor's
// mutex; the rest while no conductor runs.
type object struct {
	p        *Pull
	e        store.Entry
	block    int64 // bytes
	w        store.WriteFile
	journal  *journal.Journal
	header   journal.Header
	done     rangeset.Set
	tree     *integrity.Tree // nil when blocks are no parts of the hash tree, or when they may be wrong
	trial    *trial          // nil when it is known what blocks must be, or when one place gives all
	writing  map[int64]bool  // blocks that a worker writes
	had      int64
	fetched  int64
	finished bool // has its name
	useless  bool // holds nothing that another run could use
}

// partHash is the journal's name for hashes of blocks that are no parts of a tree.
const partHash = "blake3-part"

// openObject opens what an earlier run left, or begins.
func openObject(p *Pull, e store.Entry, a replica.Agreement) (*object, error) {
	o := &object{p: p, e: e, block: blockSize(&p.job.Check, e.Size), writing: make(map[int64]bool)}
	o.header = journal.Header{JobID: p.job.JobID, Size: e.Size, ModTime: e.ModTime, Ino: p.identity(a), BlockSize: o.block, Hash: integrity.Name, Name: p.job.Name}
	if !integrity.ValidBlockSize(o.block) {
		o.header.Hash = partHash
	}
	if o.header.Blocks() > journal.MaxBlocks {
		return nil, fmt.Errorf("has more than %d pieces", journal.MaxBlocks)
	}
	if p.job.Check.pieces() || len(p.voters) > 0 {
		o.header.ModTime = 0 // what verifies each block names the content better than the date of a mirror
	}
	w, found, err := p.job.Dest.OpenPartial(p.job.Name)
	if err != nil {
		return nil, err
	}
	o.w = w
	// What follows takes memory for each block of the size that somebody said.
	if err := p.room(w, e.Size); err != nil {
		w.Close()
		o.leave(found)
		return nil, err
	}
	if len(p.voters) > 0 {
		o.trial = newTrial(o.header.Blocks(), p.voters)
	}
	f, err := p.job.Dest.OpenJournal(p.job.Name)
	if err != nil {
		w.Close()
		o.leave(found)
		return nil, err
	}
	o.newTree()
	if found && !p.job.Restart && p.nameable(a) {
		if j, st, err := journal.Open(f); err == nil && st.Header == o.header {
			o.journal = j
			if err := o.resume(st); err != nil {
				o.close()
				return nil, err
			}
			return o, nil
		}
	}
	if o.journal, err = journal.Create(f, o.header); err != nil {
		f.Close()
		w.Close()
		o.leave(found)
		return nil, err
	}
	if err := w.Truncate(0); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// leave removes what could not be begun, unless an earlier run has left it.
func (o *object) leave(found bool) {
	if !found {
		_ = o.p.job.Dest.Discard(o.p.job.Name) // why it could not be begun counts
	}
}

// room tells whether an object of so many bytes can become of an unfinished file.
func (p *Pull) room(w store.WriteFile, size int64) error {
	there, err := w.Size()
	if err != nil {
		return err
	}
	free, _, err := p.job.Dest.Free()
	if err != nil || free >= size-there || p.job.NoSpaceCheck {
		return nil // what is not known a write will tell
	}
	return fmt.Errorf("%s: needs %d bytes more, %d are free: %w", p.job.Name, size-there, free, store.ErrNoSpace)
}

func (o *object) newTree() {
	o.tree = nil
	if o.header.Hash == integrity.Name && o.trial == nil {
		o.tree = integrity.NewTree(o.e.Size, o.block)
	}
}

// identity is what tells this content from another of the same size and date.
func (p *Pull) identity(a replica.Agreement) uint64 {
	id := p.job.Check.ID
	if id == "" && len(p.voters) > 0 {
		id = "any" // what an earlier run left is compared, block by block
	}
	if id == "" && len(a.Use) > 0 {
		if f := p.place[a.Use[0]].facts; f != nil {
			id = p.job.Places[a.Use[0]].Name + " " + f.Version
		}
	}
	sum := integrity.Whole([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

// nameable tells whether what an earlier run left can be known to be of this
// content: a place that gives neither tag nor date may have another one by now.
func (p *Pull) nameable(a replica.Agreement) bool {
	if p.job.Check.known() || len(p.voters) > 0 {
		return true
	}
	f := p.place[a.Use[0]].facts
	return f != nil && f.Version != ""
}

// blockSize is how long blocks are.
func blockSize(c *Check, size int64) int64 {
	if c.pieces() {
		return c.PieceLen
	}
	n := int64(defaultBlock)
	for size/n > mostBlocks && n < longestBlock {
		n *= 2
	}
	return n
}

// resume takes the blocks that a journal speaks of. What may not have reached
// the disk, or can be verified, is read again.
func (o *object) resume(st *journal.State) error {
	size, err := o.w.Size()
	if err != nil {
		return err
	}
	buf := make([]byte, o.block)
	for b, sum := range st.Recorded() {
		off := b * o.block
		n := min(o.block, o.e.Size-off)
		if off+n > size {
			continue
		}
		if !st.Synced(b) {
			if k, _ := o.w.ReadAt(buf[:n], off); int64(k) < n || o.sum(b, buf[:n]) != integrity.Sum(sum) {
				continue
			}
		}
		o.done.Add(b, b+1)
		if o.tree != nil {
			o.tree.Add(b, sum)
		}
		if o.trial != nil {
			o.trial.came[b] = arrival{sum, before}
			o.trial.doubt.Add(b, b+1)
		}
		o.had += n
	}
	return nil
}

// sum is the hash of a block as the journal keeps it.
func (o *object) sum(b int64, data []byte) integrity.Sum {
	if o.header.Hash == partHash {
		return integrity.Whole(data)
	}
	return integrity.Block(data, b*o.block, o.e.Size)
}

// length is how many bytes a block has.
func (o *object) length(b int64) int64 { return min(o.block, o.e.Size-b*o.block) }

// span is where some blocks begin and how many bytes they have.
func (o *object) span(e rangeset.Extent) (offset, n int64) {
	offset = e.Lo * o.block
	return offset, min(e.Hi*o.block, o.e.Size) - offset
}

// write puts a block that was verified into the file.
func (o *object) write(b int64, data []byte) error {
	_, err := o.w.WriteAt(data, b*o.block)
	if err == nil {
		o.w.WriteBack(b*o.block, int64(len(data)))
	}
	return err
}

// note takes down that a block was written. Each block is noted once.
func (o *object) note(b int64, sum integrity.Sum) {
	o.done.Add(b, b+1)
	o.journal.Add(b, sum)
	if o.tree != nil {
		o.tree.Add(b, sum)
	}
	o.fetched += o.length(b)
}

// forget takes back that a block is here. The journal still speaks of it, which the
// next run compares.
func (o *object) forget(b int64) {
	o.done.Remove(b, b+1)
	if o.trial.came[b].place == before {
		o.had -= o.length(b)
	} else {
		o.fetched -= o.length(b)
	}
}

// empty begins anew.
func (o *object) empty() error {
	o.done.Clear()
	o.trial = nil // from now on it is one place alone
	o.newTree()
	o.had, o.fetched = 0, 0
	if err := o.journal.Close(); err != nil {
		return err
	}
	f, err := o.p.job.Dest.OpenJournal(o.p.job.Name)
	if err != nil {
		return err
	}
	if o.journal, err = journal.Create(f, o.header); err != nil {
		f.Close()
		return err
	}
	return o.w.Truncate(0)
}

// finish verifies the whole and gives it its name.
func (o *object) finish(ctx context.Context, r *Result) error {
	if n, err := o.w.Size(); err != nil {
		return err
	} else if n != o.e.Size {
		if err := o.w.Truncate(o.e.Size); err != nil {
			return err
		}
	}
	if err := o.verify(ctx, r); err != nil {
		return err
	}
	d, name := o.p.job.Dest, o.p.job.Name
	attrs := o.p.job.Attrs
	attrs.Times = attrs.Times && o.e.ModTime != 0
	attrs.Perms = false // a web server knows none
	if err := o.w.SetAttrs(o.e, attrs); err != nil {
		return err
	}
	if !o.p.job.NoSync && !d.Volatile() {
		if err := d.Sync([]string{name}); err != nil {
			return err
		}
	}
	if err := d.Commit(name); err != nil {
		return err
	}
	o.finished = true
	if err := d.RemoveJournal(name); err != nil {
		o.p.job.Warn("dest.journal", err.Error())
	}
	return nil
}

// verify compares the whole with what is known of it, and gives its hash.
func (o *object) verify(ctx context.Context, r *Result) error {
	c := &o.p.job.Check
	right := func() bool { return true }
	again := io.Writer(nil)
	if c.Whole != nil {
		again, right = c.Whole()
	}
	sum, ok := integrity.Sum{}, false
	switch {
	case o.trial != nil:
		sum, ok = o.trial.root(o.e.Size, o.block)
	case o.tree != nil:
		sum, ok = o.tree.Root()
	}
	if again != nil || !ok {
		var err error
		if sum, err = o.reread(ctx, o.w, again); err != nil {
			return err
		}
	}
	if c.Root != "" && sum.String() != c.Root {
		return fmt.Errorf("%s is %s but %s was expected: %w", integrity.Name, sum, c.Root, ErrWrong)
	}
	if !right() {
		return ErrWrong
	}
	r.Hash = sum
	return nil
}

// same tells whether a file that has the final name has the content that is
// asked for.
func (p *Pull) same(ctx context.Context, size int64) bool {
	c := &p.job.Check
	f, err := p.job.Dest.Open(p.job.Name)
	if err != nil {
		return false
	}
	defer f.Close()
	o := &object{p: p, e: store.Entry{Size: size}}
	right := func() bool { return true }
	also := io.Writer(nil)
	switch {
	case c.pieces():
		pw := &pieceWriter{check: c, right: true}
		also, right = pw, pw.end
	case c.Whole != nil:
		also, right = c.Whole()
	}
	sum, err := o.reread(ctx, f, also)
	return err == nil && right() && (c.Root == "" || c.Root == sum.String())
}

// pieceWriter verifies pieces one after the other.
type pieceWriter struct {
	check *Check
	piece []byte
	at    int64
	right bool
}

// Write takes the next bytes.
func (w *pieceWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), int(w.check.PieceLen)-len(w.piece))
		w.piece, rest = append(w.piece, rest[:n]...), rest[n:]
		if int64(len(w.piece)) == w.check.PieceLen {
			w.end()
		}
	}
	return len(p), nil
}

// end takes what there is as the end of a piece.
func (w *pieceWriter) end() bool {
	if len(w.piece) > 0 {
		w.right = w.right && w.check.Piece(w.at, w.piece)
		w.at++
		w.piece = w.piece[:0]
	}
	return w.right
}

// reread reads all of a file, for its hash and for another writer if not nil.
func (o *object) reread(ctx context.Context, from io.ReaderAt, also io.Writer) (integrity.Sum, error) {
	t := integrity.NewTree(o.e.Size, defaultBlock)
	buf := make([]byte, defaultBlock)
	for off := int64(0); off < o.e.Size || off == 0; off += defaultBlock {
		if ctx.Err() != nil {
			return integrity.Sum{}, context.Cause(ctx)
		}
		part := buf[:min(defaultBlock, o.e.Size-off)]
		if _, err := from.ReadAt(part, off); err != nil && len(part) > 0 && err != io.EOF {
			return integrity.Sum{}, err
		}
		t.Add(off/defaultBlock, integrity.Block(part, off, o.e.Size))
		if also != nil {
			if _, err := also.Write(part); err != nil {
				return integrity.Sum{}, err
			}
		}
	}
	sum, _ := t.Root() // all blocks were added
	return sum, nil
}

// close closes what is open; the journal knows what is on the disk.
func (o *object) close() {
	end := o.journal.Close
	if !o.finished {
		end = func() error { return o.journal.CloseClean(o.w.Sync) }
	}
	if err := end(); err != nil {
		o.p.job.Warn("dest.journal", err.Error())
	}
	o.w.Close()
	if o.useless {
		if err := o.p.job.Dest.Discard(o.p.job.Name); err != nil {
			o.p.job.Warn("dest.journal", err.Error())
		}
	}
}
