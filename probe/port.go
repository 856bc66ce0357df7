package probe

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/probe/estimate"
)

// Constants of our choice.
const (
	// largest is the longest datagram that is sent and received, in bytes: what
	// jumbo frames carry.
	largest = 9216
	// shortest is an echo that only asks for the time, in bytes.
	shortest = 64
	// readBatch is how many datagrams are read at once.
	readBatch = 32
	// readBuffer is what a train may fill while its receiver does something else,
	// and writeBuffer what may wait to leave, in bytes.
	readBuffer, writeBuffer = 16 << 20, 4 << 20
	// maxTokens bounds the addresses that get a token.
	maxTokens = 16
	// late is how long after its last packet a train's others may come.
	late = 20 * time.Millisecond
	// clockSlack is by how much the kernel's stamp of an arrival may be earlier
	// than the program's, so that it is believed: more is a clock that was set. Busy
	// hosts read tens of milliseconds late.
	clockSlack = 500 * time.Millisecond
)

// port is an end's UDP socket: it answers echoes or takes their answers, and notes
// the arrivals of trains.
type port struct {
	conn    netx.BatchConn
	theirs  *sealer // of the reading goroutine
	answers bool    // echoes are answered
	done    chan struct{}

	mu       sync.Mutex // guards what follows
	mine     *sealer
	nextEcho uint32
	pending  map[uint32]pending
	order    []uint32 // numbers of the echoes in the order of their answers
	answered answered
	tokens   map[netip.AddrPort]uint64
	knocked  bool
	trains   []*trainLog // the latest ones, by their numbers
}

// pending is an echo without its answer.
type pending struct {
	sent time.Time
	got  chan echoed // has room for it
}

// echoed is the answer to an echo.
type echoed struct {
	rtt    time.Duration // without what the other end took
	offset time.Duration // of the other end's clock to this one's, as if both ways took as long
	from   netip.AddrPort
	token  uint64
}

// trainLog is what has come of a train.
type trainLog struct {
	number uint16
	list   []estimate.Arrival
	seen   [maxArrivals / 64]uint64
	unique int
	began  time.Time     // of the first arrival
	last   time.Time     // by this program's clock
	full   chan struct{} // closed when want packets are there; nil: nobody waits
	want   int
}

// maxLogs bounds the trains that are remembered; a step of a planner has fewer.
const maxLogs = 8

// newPort takes over a socket. run must be called once.
func newPort(conn netx.BatchConn, secret []byte, own, other string) *port {
	// The stamps of kernels and larger buffers make figures better; nothing depends
	// on them.
	if s, ok := conn.(interface{ SetTimestamps(bool) error }); ok {
		_ = s.SetTimestamps(true)
	}
	if s, ok := conn.(interface{ SetReadBuffer(int) error }); ok {
		_ = s.SetReadBuffer(readBuffer)
	}
	if s, ok := conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = s.SetWriteBuffer(writeBuffer)
	}
	return &port{conn: conn, mine: newSealer(secret, own), theirs: newSealer(secret, other), answers: own == answering,
		done: make(chan struct{}), pending: make(map[uint32]pending), tokens: make(map[netip.AddrPort]uint64)}
}

// fragment sets what becomes of long datagrams, where the socket can.
func (p *port) fragment(f netx.Fragmentation) bool {
	s, ok := p.conn.(interface {
		SetFragmentation(netx.Fragmentation) error
	})
	return ok && s.SetFragmentation(f) == nil
}

// close ends the port and waits for its goroutine.
func (p *port) close() {
	p.conn.Close()
	<-p.done
}

// run reads until the socket is closed.
func (p *port) run() {
	defer close(p.done)
	room := make([]byte, readBatch*largest)
	ds := make([]netx.Datagram, readBatch)
	for i := range ds {
		ds[i].B = room[i*largest : (i+1)*largest]
	}
	for {
		n, err := p.conn.ReadBatch(ds)
		now := time.Now()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Some systems report here what a datagram met that was sent before. What
			// is wrong with the socket itself comes at once again, so it is not asked
			// in a tight loop.
			time.Sleep(time.Millisecond)
			continue
		}
		for i := range n {
			p.take(&ds[i], now)
		}
	}
}

// take handles one datagram.
func (p *port) take(d *netx.Datagram, now time.Time) {
	b := d.B[:min(d.N, len(d.B))]
	h, ok := p.theirs.read(b)
	if !ok {
		return
	}
	at := now
	// The kernel saw it first, if its clock was not set meanwhile.
	if early := now.Round(0).Sub(d.At); !d.At.IsZero() && early >= 0 && early < clockSlack {
		at = now.Add(-early)
	}
	p.mu.Lock()
	reply := false
	switch {
	case h.kind == kindEcho && p.answers:
		reply = p.answerLocked(b, h, d.Peer, at)
	case h.kind == kindAnswer && !p.answers:
		p.answeredLocked(h, d.Peer, at)
	case h.kind == kindTrain:
		if l := p.logLocked(h.train); l != nil {
			l.add(h, at, now)
		}
	case h.kind == kindKnock:
		p.knocked = true
	}
	p.mu.Unlock()
	if reply {
		// What cannot be sent is lost, as on the way.
		_, _ = p.conn.WriteBatch([]netx.Datagram{{B: b, Peer: d.Peer}})
	}
}

// answerLocked makes the answer to an echo in its place, with as many bytes; false
// if it gets none.
func (p *port) answerLocked(b []byte, h head, to netip.AddrPort, at time.Time) bool {
	token, known := p.tokens[to]
	if !known && len(p.tokens) >= maxTokens || !p.answered.first(h.seq) {
		return false
	}
	if !known {
		token = randomToken()
		p.tokens[to] = token
	}
	now := time.Now()
	p.mine.write(b, head{kind: kindAnswer, seq: h.seq, a: token, b: uint64(max(0, now.Sub(at))), c: uint64(now.UnixNano())})
	return true
}

func randomToken() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint64(b[:])
}

// address gives the address that has a token.
func (p *port) address(token uint64) (netip.AddrPort, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, t := range p.tokens {
		if t == token {
			return a, true
		}
	}
	return netip.AddrPort{}, false
}

// answeredLocked gives an answer to who waits for it.
func (p *port) answeredLocked(h head, from netip.AddrPort, at time.Time) {
	w, ok := p.pending[h.seq]
	if !ok {
		return
	}
	delete(p.pending, h.seq)
	p.order = append(p.order, h.seq)
	whole := at.Sub(w.sent)
	held := time.Duration(min(h.b, uint64(maxSpan)))
	if held > whole {
		return // no clock runs so
	}
	e := echoed{rtt: whole - held, from: from, token: h.a}
	// Half of the way there, the other end's clock showed c less what it held.
	e.offset = time.Unix(0, int64(h.c)).Add(-held).Sub(w.sent.Round(0).Add(e.rtt / 2))
	w.got <- e
}

// echo sends an echo of so many bytes, and gives its number. The answer, if any,
// comes from the channel. Errors: of the socket, such as EMSGSIZE.
func (p *port) echo(to netip.AddrPort, size int) (number uint32, answer <-chan echoed, err error) {
	b := make([]byte, max(size, headLen))
	got := make(chan echoed, 1)
	p.mu.Lock()
	seq := p.nextEcho
	if seq >= maxEchoes {
		p.mu.Unlock()
		return 0, nil, errSpent
	}
	p.nextEcho++
	p.mine.write(b, head{kind: kindEcho, seq: seq})
	p.pending[seq] = pending{sent: time.Now(), got: got}
	p.mu.Unlock()
	if _, err := p.conn.WriteBatch([]netx.Datagram{{B: b, Peer: to}}); err != nil {
		p.mu.Lock()
		delete(p.pending, seq)
		p.mu.Unlock()
		return seq, nil, err
	}
	return seq, got, nil
}

// errSpent means that a probe may send no more.
var errSpent = errors.New("the budget of the probe is spent")

// answersSince gives the numbers of answered echoes from first on, in the order
// of their answers.
func (p *port) answersSince(first, end uint32) (list []uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.order {
		if n >= first && n < end {
			list = append(list, n)
		}
	}
	return list
}

// logLocked gives what has come of a train; nil if it is older than those that are
// remembered. A new one takes the oldest one's place.
func (p *port) logLocked(number uint16) *trainLog {
	i, known := slices.BinarySearchFunc(p.trains, number, func(l *trainLog, n uint16) int { return cmp.Compare(l.number, n) })
	switch {
	case known:
		return p.trains[i]
	case i == 0 && len(p.trains) == maxLogs:
		return nil
	}
	l := &trainLog{number: number}
	p.trains = slices.Insert(p.trains, i, l)
	if len(p.trains) > maxLogs {
		p.trains = slices.Delete(p.trains, 0, 1)
	}
	return l
}

// add notes a packet of a train.
func (l *trainLog) add(h head, at, now time.Time) {
	if len(l.list) == 0 {
		l.began = at
	}
	l.last = now
	if h.seq >= maxArrivals || l.has(int(h.seq)) {
		return
	}
	l.seen[h.seq/64] |= 1 << (h.seq % 64)
	l.list = append(l.list, estimate.Arrival{Seq: h.seq, At: at.Sub(l.began)})
	l.unique++
	if l.full != nil && l.unique >= l.want {
		close(l.full)
		l.full = nil
	}
}

// has tells whether a packet of the train has come.
func (l *trainLog) has(seq int) bool {
	return seq >= 0 && seq < maxArrivals && l.seen[seq/64]&(1<<(seq%64)) != 0
}

// collect waits until all packets of a train have come, or none for a while, and
// gives their arrivals. One goroutine at a time may call it for a train.
func (p *port) collect(ctx context.Context, number uint16, packets int, quiet time.Duration) []estimate.Arrival {
	full := make(chan struct{})
	asked := time.Now()
	p.mu.Lock()
	l := p.logLocked(number)
	if l == nil {
		p.mu.Unlock()
		return nil
	}
	l.full, l.want = full, packets
	if l.unique >= packets {
		l.full = nil
		close(full)
	}
	p.mu.Unlock()
	for waiting := true; waiting; {
		p.mu.Lock()
		last, wait := asked, quiet
		if l.last.After(asked) {
			last = l.last
		}
		if l.has(packets - 1) {
			wait = min(quiet, late) // what is missing now is lost, or not much behind
		}
		p.mu.Unlock()
		rest := wait - time.Since(last)
		if rest <= 0 {
			break
		}
		timer := time.NewTimer(min(rest, late))
		select {
		case <-full:
			waiting = false
		case <-ctx.Done():
			waiting = false
		case <-timer.C:
		}
		timer.Stop()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.full = nil
	return append([]estimate.Arrival(nil), l.list...)
}

// reached tells whether a knock came.
func (p *port) reached() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.knocked
}
