package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// Errors which callers tell apart. Those of a server are [Refused].
var (
	// ErrNoStream means that there is no stream to ask on.
	ErrNoStream = errors.New("no data connection")
	// ErrBreach means that the server broke the protocol. It is not asked again.
	ErrBreach error = breach{}
)

type breach struct{}

// Error is the text.
func (breach) Error() string { return "it broke the protocol" }

// Final tells that asking again is of no use.
func (breach) Final() bool { return true }

// Refused is an error that the server told.
type Refused struct {
	Class wire.Class
	Text  string
}

// Error is what the server said.
func (r *Refused) Error() string { return r.Text }

// Final tells whether asking again is of no use.
func (r *Refused) Final() bool {
	return r.Class == wire.ClassSource || r.Class == wire.ClassChanged || r.Class == wire.ClassProtocol
}

// Times of our choice.
const (
	pingEvery = 5 * time.Second
	deafAfter = 30 * time.Second // nothing was heard for so long: the link is dead
)

// Client asks one server. Its methods may be called by any goroutine.
type Client struct {
	link   Link
	done   chan struct{}    // closed when the link is over
	gauges chan wire.Gauges // the last ones; capacity 1, closed by nobody
	wg     sync.WaitGroup
	// fetches and sums have an element for each of their requests under way.
	fetches, sums chan struct{}

	mu      sync.Mutex // guards what follows
	err     error      // why the link is over
	next    uint32     // number of the next request
	calls   map[uint32]*call
	dialing *call // answer to the only request for streams; nil: there is none
	tuning  *call // answer to the only request about how streams are
	pings   map[uint64]*call
	streams []*stream
	inside  *inside // nil: not used
	quick   *stream // over inside; nil: not used
	heard   time.Time
	held    bool // what came last is not taken by who reads the stream inside the link
}

// answer is a message that answers a request.
type answer struct {
	kind wire.Kind
	body []byte
}

// call is a request that waits for its answer.
type call struct {
	in   chan answer   // has room for the answer unless that has several parts; closed by nobody
	gone chan struct{} // closed when nobody waits any more
}

func newCall(room int) *call { return &call{make(chan answer, room), make(chan struct{})} }

// NewClient makes a client at the end of a link, which it owns from then on. The
// caller calls Close.
func NewClient(l Link) *Client {
	c := &Client{link: l, done: make(chan struct{}), gauges: make(chan wire.Gauges, 1), calls: make(map[uint32]*call), pings: make(map[uint64]*call), heard: time.Now(),
		fetches: make(chan struct{}, mostFetches), sums: make(chan struct{}, mostFetches)}
	c.wg.Go(c.receive)
	c.wg.Go(c.watch)
	c.wg.Go(c.keepAlive)
	return c
}

// Close ends the link and all streams, and waits for what runs.
func (c *Client) Close() {
	c.end(errors.New("closed"))
	c.Drop()
	c.wg.Wait()
}

// Done is closed when the link is over.
func (c *Client) Done() <-chan struct{} { return c.done }

// end ends the link, if it has not ended.
func (c *Client) end(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
		close(c.done)
	}
	c.mu.Unlock()
	c.link.Close()
}

// receive hands out what the server says.
func (c *Client) receive() {
	for {
		msg, err := c.link.Recv()
		if err == nil {
			err = c.take(msg)
		}
		if err != nil {
			c.end(fmt.Errorf("the connection ended: %w", err))
			c.Drop()
			return
		}
	}
}

// take hands out one message. Errors: what the server must not say.
func (c *Client) take(msg []byte) error {
	k, body, err := wire.Split(msg)
	if err != nil {
		return ErrBreach
	}
	c.mu.Lock()
	c.heard = time.Now()
	in := c.inside
	c.mu.Unlock()
	var to *call
	last := true
	switch k {
	case wire.KindData:
		if in == nil {
			return ErrBreach
		}
		c.hold(true)
		in.deliver(body)
		c.hold(false)
		return nil
	case wire.KindFail:
		f := new(wire.Fail)
		if wire.ParseJSON(body, f) != nil {
			return ErrBreach
		}
		return f
	case wire.KindWarn:
		return nil // what concerns the user is told by refusals
	case wire.KindPing:
		return c.link.Send([]byte{byte(wire.KindPong)}, body)
	case wire.KindPong:
		if len(body) != 8 {
			return ErrBreach
		}
		n := binary.BigEndian.Uint64(body)
		c.mu.Lock()
		to = c.pings[n]
		delete(c.pings, n)
		c.mu.Unlock()
	case wire.KindGauges:
		return c.gauged(body)
	case wire.KindTuned:
		c.mu.Lock()
		to, c.tuning = c.tuning, nil
		c.mu.Unlock()
	case wire.KindStreams:
		c.mu.Lock()
		to, c.dialing = c.dialing, nil
		c.mu.Unlock()
	case wire.KindOpened, wire.KindRefused, wire.KindListed, wire.KindSummed:
		id, n := binary.Uvarint(body)
		if n <= 0 || id > 1<<32-1 {
			return ErrBreach
		}
		if k == wire.KindListed {
			last = len(body) > n && body[n] == 1
		}
		c.mu.Lock()
		to = c.calls[uint32(id)]
		if last {
			delete(c.calls, uint32(id))
		}
		c.mu.Unlock()
	default:
		return ErrBreach
	}
	if to == nil {
		return nil // nobody waits for it any more
	}
	select {
	case to.in <- answer{k, body}:
	case <-to.gone:
	case <-c.done:
	}
	return nil
}

// hold notes that nothing more is received since what came is not read, which may
// be held to a rate: then silence is not the server's.
func (c *Client) hold(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held, c.heard = on, time.Now()
}

// watch ends the link when nothing is heard. It sends nothing itself: a server that
// does not read would hold it up.
func (c *Client) watch() {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-t.C:
		}
		c.mu.Lock()
		deaf := !c.held && time.Since(c.heard) > deafAfter
		c.mu.Unlock()
		if deaf {
			c.end(fmt.Errorf("nothing was heard for %v", deafAfter))
			return
		}
	}
}

// keepAlive has the server say something now and then.
func (c *Client) keepAlive() {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for n := uint64(1 << 63); ; n++ {
		select {
		case <-c.done:
			return
		case <-t.C:
		}
		// An answer that nobody waits for is heard, too.
		if err := c.ping(n); err != nil {
			c.end(fmt.Errorf("the connection ended: %w", err))
			return
		}
	}
}

func (c *Client) ping(n uint64) error {
	return c.link.Send(binary.BigEndian.AppendUint64([]byte{byte(wire.KindPing)}, n))
}

// over is why the link is over.
func (c *Client) over() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// await waits for an answer.
func (c *Client) await(ctx context.Context, w *call) (answer, error) {
	select {
	case a := <-w.in:
		return a, nil
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	case <-c.done:
		select {
		case a := <-w.in:
			return a, nil
		default:
			return answer{}, c.over()
		}
	}
}

// Ping tells how long the server takes to answer.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	w := newCall(1)
	c.mu.Lock()
	c.next++
	n := uint64(c.next)
	c.pings[n] = w
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pings, n)
		c.mu.Unlock()
	}()
	began := time.Now()
	if err := c.ping(n); err != nil {
		return 0, err
	}
	_, err := c.await(ctx, w)
	return time.Since(began), err
}

// Dial has the server make n more streams. One asks at a time.
func (c *Client) Dial(ctx context.Context, n int) error {
	var m wire.Streams
	if err := c.alone(ctx, &c.dialing, wire.KindStreams, wire.Streams{Count: n}, &m); err != nil {
		return err
	}
	if m.Error != "" {
		return errors.New(m.Error)
	}
	return nil
}

// alone sends a request of a kind that has no numbers, so that there is one at a time,
// and reads its answer into to. slot is where the answer finds who waits for it.
func (c *Client) alone(ctx context.Context, slot **call, kind wire.Kind, request, to any) error {
	w := newCall(1)
	c.mu.Lock()
	busy := *slot != nil
	if !busy {
		*slot = w
	}
	c.mu.Unlock()
	if busy {
		return errors.New("it is asked already")
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if *slot == w {
			*slot = nil
		}
	}()
	b, err := wire.AppendJSON(nil, kind, request)
	if err == nil {
		err = c.link.Send(b)
	}
	if err != nil {
		return err
	}
	a, err := c.await(ctx, w)
	if err != nil {
		return err
	}
	if wire.ParseJSON(a.body, to) != nil {
		return ErrBreach
	}
	return nil
}

// call sends a request that begin makes with its number. The caller takes the
// answers and calls off.
func (c *Client) call(room int, begin func(id uint32) []byte) (id uint32, w *call, off func(), err error) {
	w = newCall(room)
	c.mu.Lock()
	c.next++
	id = c.next
	c.calls[id] = w
	c.mu.Unlock()
	off = func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
		close(w.gone)
	}
	if err = c.link.Send(begin(id)); err != nil {
		off()
	}
	return id, w, off, err
}

// refusal is the error of an answer; nil if it is of kind k.
func refusal(a answer, k wire.Kind) error {
	if a.kind == k {
		return nil
	}
	m, err := wire.ParseRefused(a.body)
	if a.kind != wire.KindRefused || err != nil {
		return ErrBreach
	}
	return &Refused{m.Class, m.Text}
}

// File is an open file of the server's.
type File struct {
	c  *Client
	id uint32

	Size    int64 // bytes
	ModTime int64 // nanoseconds since 1970
	Ino     uint64
	Mode    uint32 // 12 bits of Unix
}

// Open opens the file called name below a root, "" for the root itself.
//
// Errors: Refused, or those of the link.
func (c *Client) Open(ctx context.Context, root int, name string) (*File, error) {
	id, w, off, err := c.call(1, func(id uint32) []byte { return wire.Open{ID: id, Root: root, Name: name}.Append(nil) })
	if err != nil {
		return nil, err
	}
	defer off()
	a, err := c.await(ctx, w)
	if err != nil {
		_ = c.link.Send(wire.Number{Kind: wire.KindClose, ID: id}.Append(nil)) // it may be open there
		return nil, err
	}
	if err := refusal(a, wire.KindOpened); err != nil {
		return nil, err
	}
	m, err := wire.ParseOpened(a.body)
	if err != nil {
		return nil, ErrBreach
	}
	return &File{c: c, id: id, Size: m.Size, ModTime: m.ModTime, Ino: m.Ino, Mode: m.Mode}, nil
}

// Close lets the server close the file.
func (f *File) Close() {
	_ = f.c.link.Send(wire.Number{Kind: wire.KindClose, ID: f.id}.Append(nil)) // without a link it is closed
}

// List calls fn with everything below a root, the root itself first.
//
// Errors: those of fn, Refused, those of the link.
func (c *Client) List(ctx context.Context, root int, fn func(wire.Entry) error) error {
	_, w, off, err := c.call(0, func(id uint32) []byte {
		return wire.Number{Kind: wire.KindList, ID: id, Root: root}.Append(nil)
	})
	if err != nil {
		return err
	}
	defer off()
	for {
		a, err := c.await(ctx, w)
		if err != nil {
			return err
		}
		if err := refusal(a, wire.KindListed); err != nil {
			return err
		}
		m, err := wire.ParseListed(a.body)
		if err != nil {
			return ErrBreach
		}
		for _, e := range m.Entries {
			if err := fn(e); err != nil {
				return err
			}
		}
		if m.Last {
			return nil
		}
	}
}

// Sums has the server hash count blocks of block bytes, at most [wire.MaxSums].
//
// Errors: Refused, those of the link.
func (f *File) Sums(ctx context.Context, block, first int64, count int) ([]integrity.Sum, error) {
	_, w, off, err := f.c.call(1, func(id uint32) []byte {
		return wire.Sums{ID: id, File: f.id, First: first, Count: count, Block: block}.Append(nil)
	})
	if err != nil {
		return nil, err
	}
	defer off()
	a, err := f.c.await(ctx, w)
	if err != nil {
		return nil, err
	}
	if err := refusal(a, wire.KindSummed); err != nil {
		return nil, err
	}
	m, err := wire.ParseSummed(a.body)
	if err != nil || len(m.Sums) != count {
		return nil, ErrBreach
	}
	sums := make([]integrity.Sum, count)
	for i := range m.Sums {
		sums[i] = m.Sums[i]
	}
	return sums, nil
}

// Add takes a stream to the server into use.
func (c *Client) Add(st transports.Stream) {
	s := newStream(st)
	c.mu.Lock()
	if c.err != nil || len(c.streams) >= maxStreams {
		c.mu.Unlock()
		st.Close()
		return
	}
	c.streams = append(c.streams, s)
	c.mu.Unlock()
	c.wg.Go(func() {
		s.run()
		c.remove(s)
	})
}

// AddInside takes the stream inside the link into use.
func (c *Client) AddInside() {
	s := c.insideStream()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.leaving = false
	if c.err == nil && !slices.Contains(c.streams, s) {
		c.streams = append(c.streams, s)
	}
}

// insideStream is the stream inside the link, whether it is in use for data or not.
func (c *Client) insideStream() *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quick == nil {
		c.inside = newInside(c.link)
		c.quick = newStream(c.inside)
		s, over := c.quick, c.err != nil
		if over {
			c.inside.Close()
		}
		c.wg.Go(func() {
			s.run()
			c.remove(s)
		})
	}
	return c.quick
}

// remove takes a stream out of use.
func (c *Client) remove(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.streams, s); i >= 0 {
		c.streams = slices.Delete(c.streams, i, i+1)
	}
}

// Streams is how many streams there are, and how the first one travels.
func (c *Client) Streams() (n int, transport string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) > 0 {
		transport = c.streams[0].st.Stats().Transport
	}
	return len(c.streams), transport
}

// Drop closes all streams but the one inside the link, unless that is over, too.
func (c *Client) Drop() {
	c.mu.Lock()
	list := append([]*stream(nil), c.streams...)
	over, in := c.err != nil, c.inside
	c.mu.Unlock()
	for _, s := range list {
		if over || in == nil || s.st != transports.Stream(in) {
			s.st.Close()
		}
	}
	if over && in != nil {
		in.Close()
	}
}

// DropStalled closes the streams on which nothing has come for limit though there
// is something to come, and tells how many. The one inside the link stays: there is no
// other one, and it goes on when the server does.
func (c *Client) DropStalled(limit time.Duration) (n int) {
	c.mu.Lock()
	list, quick := append([]*stream(nil), c.streams...), c.quick
	c.mu.Unlock()
	for _, s := range list {
		if s != quick && s.stalled(limit) {
			s.st.Close()
			n++
		}
	}
	return n
}
