package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/topology"
	"golang.org/x/sys/unix"
)

// emulator moves packets between hosts. One goroutine owns all of it, that of
// run; others have it do things by post.
//
// A packet is stamped when it is read, goes through the models of its links, and
// is on the line of one of them in between. All further times are computed from
// the stamp, so looking late at a line does not make packets later. Only reading
// and writing happen when they happen.
type emulator struct {
	topo  *topology.Topology
	start time.Time
	hosts []*host
	paths map[[2]int]*link // by source and destination; none is perfect
	links []*link          // all of them, in order of making

	byAddr  map[netip.Addr]int
	members members
	changed chan struct{} // of one: a host has said something about its groups

	pool   pool
	agenda agenda
	ready  time.Duration // when packets between links are looked after again
	io     batches
	late   lateness

	tasks chan func() // see post
	bell  int         // eventfd that wakes run up for tasks
	polls []unix.PollFd
}

// batches are the buffers that packets are read into and written from.
type batches struct {
	in     [readBatch]*packet
	bufs   [readBatch][]byte
	sizes  [readBatch]int
	out    [writeBatch][]byte
	bundle [writeBatch][]byte // buffers that the kernel's bundles grow in
}

// lateness is by how much packets were written after their time.
type lateness struct {
	n        int64
	sum, max time.Duration
}

func (l *lateness) add(d time.Duration) {
	l.n++
	l.sum += d
	l.max = max(l.max, d)
}

// newEmulator makes the hosts and links of a topology; interfaces come later.
func newEmulator(t *topology.Topology) (*emulator, error) {
	e := &emulator{
		topo: t, start: time.Now(), paths: map[[2]int]*link{}, byAddr: map[netip.Addr]int{},
		members: members{}, changed: make(chan struct{}, 1), tasks: make(chan func(), 16),
		pool: pool{size: headroom + t.MTU},
	}
	for i := range e.io.bundle {
		e.io.bundle[i] = make([]byte, headroom+bundleSize)
	}
	for i := range e.io.in {
		e.io.in[i] = e.pool.get()
		e.io.bufs[i] = e.io.in[i].buf
	}
	for i := range t.Hosts {
		h := &host{index: i, name: t.Hosts[i].Name, multicast: t.Hosts[i].Multicast}
		e.hosts = append(e.hosts, h)
		e.byAddr[topology.Address(i, false)] = i
		e.byAddr[topology.Address(i, true)] = i
	}
	for _, id := range t.Links() {
		if err := e.addLink(id); err != nil {
			return nil, err
		}
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("making an eventfd: %w", err)
	}
	e.bell = bell
	return e, nil
}

func (e *emulator) addLink(id topology.LinkID) error {
	l, err := newLink(e.topo, id, len(e.links))
	if err != nil {
		return err
	}
	e.links = append(e.links, l)
	switch id.Kind {
	case topology.Up:
		e.hosts[id.Host].up = l
	case topology.Down:
		e.hosts[id.Host].down = l
	case topology.Pair:
		e.paths[[2]int{id.Host, id.To}] = l
	}
	return nil
}

// post has run call f soon, unless ctx ends first. It may be called by any
// goroutine but that of run.
func (e *emulator) post(ctx context.Context, f func()) {
	select {
	case e.tasks <- f:
		e.ring()
	case <-ctx.Done():
	}
}

// ring wakes run up.
func (e *emulator) ring() {
	// The counter cannot overflow by what is rung here.
	unix.Write(e.bell, binary.NativeEndian.AppendUint64(nil, 1))
}

// now is the emulator's clock.
func (e *emulator) now() time.Duration { return time.Since(e.start) }

// tick is when something that has just been done may be done again: at the next
// multiple of the quantum. Under load everything happens at ticks, so one waking
// up serves all hosts and links; without, nothing waits for a tick.
func (e *emulator) tick(now time.Duration) time.Duration {
	if e.topo.Quantum <= 0 {
		return now
	}
	return now - now%e.topo.Quantum + e.topo.Quantum
}

// idleWait is the longest time that run waits without anything to do.
const idleWait = time.Second

// run is the emulator's work. It ends when ended says so, which is asked after
// each ring.
func (e *emulator) run(ended func() bool) error {
	e.polls = append(e.polls[:0], unix.PollFd{Fd: int32(e.bell), Events: unix.POLLIN})
	for _, h := range e.hosts {
		e.polls = append(e.polls, unix.PollFd{Fd: int32(h.dev.fd), Events: unix.POLLIN})
	}
	for !ended() {
		now := e.now()
		e.forward(now)
		e.deliver(now)
		if err := e.wait(e.next(now)); err != nil {
			return err
		}
		if e.polls[0].Revents != 0 {
			e.answerBell()
		}
		for i, h := range e.hosts {
			switch {
			case e.polls[i+1].Revents&^unix.POLLIN != 0:
				return fmt.Errorf("the interface of %s is gone", h.name)
			case e.polls[i+1].Revents != 0:
				if err := e.read(h); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// answerBell runs what was posted.
func (e *emulator) answerBell() {
	var count [8]byte
	unix.Read(e.bell, count[:]) // resets it; that there is nothing to read is fine
	for {
		select {
		case f := <-e.tasks:
			f()
		default:
			return
		}
	}
}

// wait waits until a packet can be read, the bell rings, or it is time for
// something.
func (e *emulator) wait(until time.Duration) error {
	timeout := unix.NsecToTimespec(int64(max(0, until-e.now())))
	// The raw call does not tell Go's scheduler that this thread waits. Told so
	// ten thousand times per second, its monitor never rests and takes a tenth of
	// what the emulator needs. What else wants to run here gets in by a signal
	// within 10 ms, which ends the call with EINTR.
	_, _, err := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&e.polls[0])), uintptr(len(e.polls)),
		uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
	switch err {
	case 0:
		return nil
	case unix.EINTR:
		for i := range e.polls {
			e.polls[i].Revents = 0
		}
		return nil
	}
	return fmt.Errorf("waiting for packets: %w", err)
}

// next says when there is something to do again: a packet comes out of a line, or
// a host that had to wait may be written to.
func (e *emulator) next(now time.Duration) time.Duration {
	next := now + idleWait
	if !e.agenda.empty() {
		l := e.agenda.next()
		ready := e.ready
		if l.id.Kind == topology.Down {
			ready = e.hosts[l.id.Host].ready
		}
		next = min(next, max(l.line.first(), ready))
	}
	for _, h := range e.hosts {
		if len(h.pending) > 0 {
			next = min(next, h.ready)
		}
	}
	return next
}

// read takes one bundle of packets from a host.
func (e *emulator) read(h *host) error {
	n, err := h.dev.read(e.io.bufs[:], e.io.sizes[:])
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case errors.Is(err, errUnreadable):
		h.up.refuse(causeRead)
		return nil
	case err != nil:
		return fmt.Errorf("reading from %s: %w", h.name, err)
	}
	now := e.now()
	e.forward(now) // what came before
	for i := range n {
		p := e.io.in[i]
		p.n, p.src, p.leg = e.io.sizes[i], h.index, onUp
		e.io.in[i] = e.pool.get()
		e.io.bufs[i] = e.io.in[i].buf
		e.accept(p, now)
	}
	return nil
}

// accept finds out where a packet is going and sends it on its way.
func (e *emulator) accept(p *packet, now time.Duration) {
	src := e.hosts[p.src]
	head, ok := parseHeader(p.bytes())
	dst, known := e.byAddr[head.dst]
	switch {
	case ok && (head.proto == protoIGMP || head.dst.IsLinkLocalMulticast()):
		// Goes no further than a first router. Reports of groups do, too, with
		// which a host says that it has joined one.
		select {
		case e.changed <- struct{}{}:
		default:
		}
		e.pool.put(p)
		return
	case ok && head.dst.IsMulticast():
		if !src.multicast || int(head.ttl) < e.topo.MinTTL {
			src.up.refuse(causeScope)
			e.pool.put(p)
			return
		}
		p.dst = noHost
	case known:
		p.dst = dst
	default:
		src.up.refuse(causeRoute)
		e.pool.put(p)
		return
	}
	e.offer(src.up, now, p)
}

// offer brings a packet to a link, and onto its line unless it is dropped.
func (e *emulator) offer(l *link, now time.Duration, p *packet) {
	if p.dst == noHost || p.cast {
		l.multicast.add(p.n)
	}
	v := l.offer(now, p, &e.pool)
	if v.Cause != netsim.Passed {
		e.pool.put(p)
		return
	}
	if v.Copies == 2 {
		l.twice.add(p.n)
		e.agenda.push(l, v.At, e.pool.copy(p))
	}
	e.agenda.push(l, v.At, p)
}

// forward takes all packets that have come out of a line by now to their next
// link, or to their host.
func (e *emulator) forward(now time.Duration) {
	if e.agenda.empty() || e.agenda.next().line.first() > now {
		return
	}
	for !e.agenda.empty() && e.agenda.next().line.first() <= now {
		_, it := e.agenda.pop()
		e.advance(it.p, it.at)
	}
	e.ready = e.tick(now)
}

// advance takes a packet that has passed a link at a time to the next.
func (e *emulator) advance(p *packet, at time.Duration) {
	switch p.leg {
	case onUp:
		if p.dst == noHost {
			e.multiply(p, at)
			return
		}
		if path := e.paths[[2]int{p.src, p.dst}]; path != nil {
			p.leg = onPath
			e.offer(path, at, p)
			return
		}
		fallthrough
	case onPath:
		p.leg = onDown
		e.offer(e.hosts[p.dst].down, at, p)
	case onDown:
		h := e.hosts[p.dst]
		h.pending = append(h.pending, item{at, p})
	}
}

// multiply sends a copy of a multicast packet to each member of its group but
// the sender, whose own kernel has seen to that.
func (e *emulator) multiply(p *packet, at time.Duration) {
	head, _ := parseHeader(p.bytes())
	for _, i := range e.members[head.dst] {
		if i != p.src {
			q := e.pool.copy(p)
			q.dst, q.cast = i, true
			e.advance(q, at)
		}
	}
	e.pool.put(p)
}

// deliver writes to the hosts that have packets and may get them. A host is
// written to once per quantum at most: under load it gets its packets in batches,
// as from a network adapter that coalesces interrupts.
func (e *emulator) deliver(now time.Duration) {
	for _, h := range e.hosts {
		if len(h.pending) > 0 && h.ready <= now {
			h.ready = e.tick(now)
			e.write(h)
		}
	}
}

// write gives a host all packets that are there for it: datagrams that make a train as
// one, others in batches whose packets the library joins where it can.
func (e *emulator) write(h *host) {
	for rest := h.pending; len(rest) > 0; {
		now, n := e.now(), train(rest)
		if n == 1 || !h.dev.writeTrain(rest[:n]) {
			for n < min(len(rest), writeBatch) && train(rest[n:]) == 1 {
				n++
			}
			e.writeBatch(h, rest[:n])
		}
		for i, it := range rest[:n] {
			e.late.add(now - it.at)
			e.pool.put(it.p)
			rest[i] = item{}
		}
		rest = rest[n:]
	}
	h.pending = h.pending[:0]
}

func (e *emulator) writeBatch(h *host, batch []item) {
	e.stage(batch)
	if err := h.dev.write(e.io.out[:len(batch)]); err != nil {
		h.down.refuse(causeWrite)
	}
}

// stage prepares a batch for writing. The first packet of a flow, or of 64 KiB of
// it, is copied to a buffer that the following ones find room in, and so is one whose
// body others have, too: the library changes what it is given.
func (e *emulator) stage(batch []item) {
	used, room := 0, 0
	for i, it := range batch {
		p := it.p
		if i > 0 && room >= p.n && p.refs == 1 && sameFlow(batch[i-1].p.bytes(), p.bytes()) {
			e.io.out[i] = p.buf[:headroom+p.n]
			room -= p.n
			continue
		}
		b := e.io.bundle[used][:headroom+p.n]
		used++
		copy(b[headroom:], p.bytes())
		e.io.out[i] = b
		room = bundleSize - 1 - p.n
	}
}
