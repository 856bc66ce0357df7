package engine

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// Constants of our choice.
const (
	// castLook is how often a cast looks for something to send while there is nothing.
	castLook = 5 * time.Millisecond
	// castGrace is how long a file waits for the verdicts of other sinks: their lists
	// come at about the same time, but for what they have to read again.
	castGrace = 250 * time.Millisecond
	// aloneBlocks and aloneFiles bound what waits for a source's own streams because
	// no other source wants it.
	aloneBlocks = 64
	aloneFiles  = 4096
	// castStuck is how long a cast waits before it believes that nothing is left.
	castStuck = 4 * castLook
)

// Cast is what several sources of one process send together: blocks that at least two
// of their sinks lack are read and hashed once, and put one behind the other into a
// log of frames, each with its length in four bytes in front. Something else brings
// the log to the sinks, which drop what they do not lack ([Sink.Take]); it may read
// any part of it as often as it needs. What one sink alone lacks goes by its source's
// own streams, as it does for all when the cast has ended.
//
//	sched 1 --.
//	sched 2 --+-- Next: claim, read, hash --> log --ReadAt--> ...
//	sched 3 --'
//
// Frames are confirmed by each sink as those of a stream are. One goroutine calls
// Next; the other methods may be called by any.
type Cast struct {
	id    uint32
	roots []SourceRoot
	files openFiles // Next's
	log   castLog

	mu      sync.Mutex    // guards what follows; held while a frame is claimed and put into the log
	members []*castMember // in the order of joining; only added to
	over    bool          // Next has found nothing left

	paid int64             // Next's: bytes that Pay knows of
	bad  map[wire.Key]bool // Next's: files that cannot be read as they were listed
	idle time.Time         // Next's: since when nothing is left; zero: something is
	wg   sync.WaitGroup
}

// castMember is one source of a cast.
type castMember struct {
	src   *Source
	first uint64 // number of its first frame
	late  bool   // it has joined while others were at work

	mu    sync.Mutex // guards what follows
	todo  []func()   // to be said to the sink, in order
	wake  chan struct{}
	ended bool
}

// NewCast makes a cast for sources that run and were made with Options.Shared. id is
// the number of its stream, which no other stream of theirs has. roots are those of
// all the sources, open for as long as the cast is used.
func NewCast(id uint32, roots []SourceRoot, sources []*Source) *Cast {
	c := &Cast{id: id, roots: roots, bad: make(map[wire.Key]bool)}
	c.files.roots, c.log.files.roots, c.log.most = roots, roots, castHeads
	c.files.strict = len(sources) > 0 && sources[0].opts.OnChange != "ignore"
	for _, s := range sources {
		c.enter(&castMember{src: s})
	}
	return c
}

// enter makes a source a member.
func (c *Cast) enter(m *castMember) {
	m.wake = make(chan struct{}, 1)
	m.src.sched.joinCast(c.id)
	c.members = append(c.members, m)
	c.wg.Go(m.speak)
}

// Join adds a source that was late: the frames from now on are its, too, the first of
// which begins at an offset of the log. What it lacks of what was sent before goes to
// it by its own streams when the others have all; or together, if more are late. place
// is behind all others. ok is false when the cast is at its end: nothing has changed
// then. A source joins once.
func (c *Cast) Join(src *Source) (place int, start int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0, 0, false
	}
	m := &castMember{src: src, late: true}
	m.first, start = c.log.end()
	c.enter(m)
	return len(c.members) - 1, start, true
}

// all gives the members by now.
func (c *Cast) all() []*castMember {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members
}

// finish notes that nothing is left, if nobody has joined since members were counted.
func (c *Cast) finish(members int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.members) != members {
		return false
	}
	c.over = true
	for _, m := range c.members {
		m.src.sched.endCast(c.id)
	}
	return true
}

// Wants is how many bytes at least two of the sources are still to send, as far as
// they know by now; listed tells that they know all.
func Wants(sources []*Source) (bytes int64, listed bool) {
	most, listed := int64(0), len(sources) > 0
	for _, s := range sources {
		w, _ := s.sched.load()
		most, bytes = max(most, w), max(bytes, min(most, w))
		listed = listed && s.settled()
	}
	return bytes, listed
}

// settled tells that the source has listed all and has the verdicts on it.
func (s *Source) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed && len(s.pending)+len(s.retries) == 0
}

// Next puts one more frame into the log and returns by how many bytes the log has
// grown. It waits while there is nothing to be sent together. Errors: io.EOF when
// nothing is left, the context's end.
func (c *Cast) Next(ctx context.Context) (n int64, err error) {
	for {
		members := c.all()
		file, m, more := head(c.id, members)
		switch {
		case file != nil:
			c.idle = time.Time{}
			if n := c.take(file, m); n > 0 {
				return n, nil
			}
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			if !c.undecided(members, file) {
				continue
			}
		case more:
			c.idle = time.Time{}
		case c.idle.IsZero():
			c.idle = time.Now()
		case time.Since(c.idle) > castStuck:
			// Between a verdict and its file's place in the queue nothing seems left.
			if c.finish(len(members)) {
				c.files.close()
				return 0, io.EOF
			}
		}
		select {
		case <-time.After(castLook):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// head gives the file to go on with, and whose it is: the first in the list that a
// member has to send; those that were late go on with the others, who are not to wait
// for what they have. more tells that there may be some later.
func head(id uint32, members []*castMember) (file *srcFile, of *castMember, more bool) {
	for _, m := range members {
		f, live := m.src.sched.castHead(id)
		if !live {
			continue
		}
		more = more || f != nil || !m.src.settled() || m.src.sched.aloneFull()
		if f != nil && (file == nil || of.late == m.late && before(&f.entry, f.id, &file.entry, file.id)) {
			file, of = f, m
		}
	}
	return file, of, more
}

// before orders files as they are listed.
func before(a *wire.Entry, ai uint64, b *wire.Entry, bi uint64) bool {
	if a.Root != b.Root {
		return a.Root < b.Root
	}
	return ai < bi
}

// undecided tells that a file may yet be wanted by a member that has not said so.
func (c *Cast) undecided(members []*castMember, f *srcFile) bool {
	if time.Since(f.began) > castGrace {
		return false
	}
	for _, m := range members {
		if known, live := m.src.sched.knows(c.id, f.key); live && !known && !m.src.settled() {
			return true
		}
	}
	return false
}

// take puts the next block of m's file into the log, or a pack of small files. 0: it
// was handed to m's own streams, or waits.
func (c *Cast) take(f *srcFile, m *castMember) int64 {
	if f.entry.Size <= smallFile {
		return c.takePack(m)
	}
	block, ok := m.src.sched.firstOf(f)
	if !ok {
		return 0
	}
	if c.bad[f.key] || c.wanting(f.key, block) < 2 {
		if c.bad[f.key] || !c.undecided(c.all(), f) {
			m.src.sched.leaveAlone(c.id, f, block)
		}
		return 0
	}
	e := f.entry
	off := block * f.blockSize
	length := min(f.blockSize, e.Size-off)
	body := make([]byte, lengthLen+wire.SharedBlockHeadLen+length)
	data := body[lengthLen+wire.SharedBlockHeadLen:]
	r, err := c.files.read(&e, off, data)
	if err != nil {
		c.bad[f.key] = true // its own source says what is wrong
		return 0
	}
	h := wire.SharedBlock{Key: f.key, Block: block, Len: int(length), Sum: blockSum(data, off, e.Size)}
	h.Put(body[lengthLen:])
	putLength(body)
	var last []claim
	head := lengthLen + wire.SharedBlockHeadLen
	c.mu.Lock()
	for _, m := range c.members {
		if x, ok := m.src.sched.claim(c.id, f.key, block); ok && x.last {
			x.by = m
			last = append(last, x)
		}
	}
	c.log.add(body, []piece{{lit: body[:head:head]}, {entry: &e, off: off, n: length}})
	c.mu.Unlock()
	if len(last) > 0 {
		c.vouch(r, &e, last)
	}
	return int64(len(body))
}

// claim is what a member has handed over.
type claim struct {
	by   *castMember
	file *srcFile
	last bool // all of it has been read
}

// wanting counts the members that lack a block.
func (c *Cast) wanting(k wire.Key, block int64) (n int) {
	for _, m := range c.all() {
		if m.src.sched.lacks(c.id, k, block) {
			n++
		}
	}
	return n
}

// vouch looks whether a file is still as it was listed, when all of it was read, and
// tells the sinks.
func (c *Cast) vouch(r store.ReadFile, e *wire.Entry, of []claim) {
	now, err := r.Stat()
	for _, x := range of {
		s := x.by.src
		if what := difference(e, &now); err == nil && what != "" && s.opts.OnChange != "ignore" {
			x.by.say(func() { s.changed(x.file, what) })
			continue
		}
		x.by.say(func() {
			if err != nil {
				s.unreadable(x.file, err)
				return
			}
			if err := s.link.Send(wire.Vouched{x.file.id}.Append(nil)); err != nil {
				s.fail(lost(err))
			}
		})
	}
}

// takePack puts small files into the log that come one behind the other in m's list.
func (c *Cast) takePack(m *castMember) int64 {
	body := make([]byte, lengthLen+wire.PackHeadLen, lengthLen+wire.PackHeadLen+DefaultBlock)
	pieces := []piece{{}} // the first is the head
	var keys []wire.Key
	for i, f := range m.src.sched.smallOnes(c.id, packFiles) {
		if c.bad[f.key] || c.wanting(f.key, 0) < 2 {
			if i == 0 && (c.bad[f.key] || !c.undecided(c.all(), f)) {
				m.src.sched.leaveAlone(c.id, f, 0)
			}
			break
		}
		e := f.entry
		at := len(body)
		if at+wire.SharedItemLen+int(e.Size) > cap(body) {
			break
		}
		body = body[:at+wire.SharedItemLen+int(e.Size)]
		data := body[at+wire.SharedItemLen:]
		if err := readWhole(c.roots[e.Root].Store, &e, data, m.src.opts.OnChange); err != nil {
			c.bad[f.key] = true
			body = body[:at]
			break
		}
		h := wire.SharedItem{Key: f.key, Len: len(data), Sum: wholeSum(data)}
		h.Put(body[at:])
		pieces = append(pieces, piece{lit: append([]byte(nil), body[at:at+wire.SharedItemLen]...)}, piece{entry: &e, n: e.Size})
		keys = append(keys, f.key)
	}
	if len(keys) == 0 {
		return 0
	}
	wire.PutSharedPackHead(body[lengthLen:], len(keys))
	putLength(body)
	pieces[0].lit = append([]byte(nil), body[:lengthLen+wire.PackHeadLen]...)
	c.mu.Lock()
	for _, m := range c.members {
		m.src.sched.claimPack(c.id, keys)
	}
	c.log.add(body, pieces)
	c.mu.Unlock()
	return int64(len(body))
}

// readWhole reads a small file that must be as it was listed.
func readWhole(src store.Source, e *wire.Entry, data []byte, onChange string) error {
	r, err := src.Open(e.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	if n, err := r.ReadAt(data, 0); n < len(data) {
		return err
	}
	if onChange == "ignore" {
		return nil
	}
	return listed(r, e)
}

// Pay waits until the limit of all sources together lets go what has been sent since
// the last call, and that of each lets got more bytes go. sent is all by now, as an
// interface counts it. Without a limit it notes what has been sent, so that none that
// comes later counts that. Who calls Next calls it.
func (c *Cast) Pay(ctx context.Context, sent, got int64) error {
	fresh := sent - c.paid
	c.paid = sent
	if !c.Limited() {
		return ctx.Err()
	}
	common := (*limiter)(nil)
	for _, m := range c.all() {
		s := m.src
		if s.over() || !s.sched.inCast(c.id) {
			continue
		}
		if s.common.Limit != nil {
			common = s.common.Limit.l
		}
		if s.limit.on.Load() {
			if err := s.limit.wait(ctx, onWire(got), s.limit.over); err != nil && ctx.Err() != nil {
				return err // else this one has ended
			}
		}
	}
	if common == nil {
		return ctx.Err()
	}
	return common.wait(ctx, fresh, ctx.Done())
}

// Limited tells that a limit holds the sources.
func (c *Cast) Limited() bool {
	for _, m := range c.all() {
		if m.src.limited() {
			return true
		}
	}
	return false
}

// Confirmed is how many of its frames member i has dealt with, and how many there are
// for it. live tells that it is one still.
func (c *Cast) Confirmed(i int) (n, of uint64, live bool) {
	return c.all()[i].src.sched.castAt(c.id)
}

// Release forgets the frames that all members have dealt with. Who reads them all the
// same gets zeros. A member that is so far behind the others that the log takes too much
// memory is given up, as Drop does.
func (c *Cast) Release() {
	for {
		least, most, last := ^uint64(0), uint64(0), -1
		for i, m := range c.all() {
			n, _, live := m.src.sched.castAt(c.id)
			if !live {
				continue
			}
			most = max(most, m.first+n)
			if m.first+n < least {
				least, last = m.first+n, i
			}
		}
		if last < 0 {
			return
		}
		if c.log.release(least); !c.log.full() || least == most {
			return
		}
		c.Drop(last)
	}
}

// Suspend lets every source send by itself, until Resume. What is in the log is still
// confirmed. Who calls Next calls them.
func (c *Cast) Suspend() {
	for _, m := range c.all() {
		m.src.sched.endCast(c.id)
	}
}

// Resume is the end of Suspend.
func (c *Cast) Resume() {
	for _, m := range c.all() {
		m.src.sched.resumeCast(c.id)
	}
}

// Drop gives member i up: what it has not confirmed, and all the rest, goes by its own
// streams.
func (c *Cast) Drop(i int) {
	m := c.all()[i]
	m.src.sched.leaveCast(c.id)
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.poke()
}

// Close gives all members up and ends what the cast has begun. Nobody may be in Next.
func (c *Cast) Close() {
	for i := range c.all() {
		c.Drop(i)
	}
	c.wg.Wait()
	c.files.close()
	c.log.close()
}

// ReadAt implements io.ReaderAt for what Next has put into the log. What cannot be
// read any more, or is not what it was, comes as it may: the sinks compare it with
// its hash, and their sources send it again.
func (c *Cast) ReadAt(b []byte, off int64) (int, error) { return c.log.ReadAt(b, off) }

// say has something said to the sink. The cast does not wait for it: a sink that is
// slow to listen holds nobody back.
func (m *castMember) say(f func()) {
	m.mu.Lock()
	m.todo = append(m.todo, f)
	m.mu.Unlock()
	m.poke()
}

func (m *castMember) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// speak says what is to be said until the member is given up.
func (m *castMember) speak() {
	for {
		m.mu.Lock()
		todo, ended := m.todo, m.ended
		m.todo = nil
		m.mu.Unlock()
		for _, f := range todo {
			f()
		}
		if len(todo) == 0 {
			if ended {
				return
			}
			<-m.wake
		}
	}
}
