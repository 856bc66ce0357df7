package netsim

import (
	"fmt"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/topology"
)

// Network is a simulated network for tests in a bubble of testing/synctest: the
// hosts and links of a topology, with sockets that real goroutines use.
//
// Packets leave and arrive at exact instants of the bubble's time. Each link
// draws its random decisions from a generator of its own, so a link does the
// same to the same packets; but goroutines that wake at one instant run in any
// order, and with it packets may be sent in any order.
//
// All methods, of hosts and sockets too, may be used by many goroutines of the
// bubble in which the Network was made. It has no goroutine, only a timer, and
// need not be closed. Nothing happens on it after EndOfTime.
type Network struct {
	epoch time.Time // all instants are spans since then

	mu     sync.Mutex // guards all below, and all of hosts, sockets and streams; never held while waiting
	topo   *topology.Topology
	now    time.Duration // of the event at work
	agenda agenda
	timer  *time.Timer
	armed  time.Duration // when timer fires; never if negative
	hosts  []*Node
	paths  map[[2]int]*Link
	rules  []*Rule
	free   []*parcel // for reuse
}

// never is the instant of a timer that is not set.
const never time.Duration = -1

// maxFree bounds the packets that are kept for reuse.
const maxFree = 4096

// NewNetwork makes the network that t describes; t is copied. It must be called
// inside the bubble in which the sockets will be used.
//
// A host's interface rate (topology.Host.NIC) holds datagram senders back when
// more than their send buffer waits for it. The lab's quantum and congestion
// control mean nothing here. Errors: those of Topology.Validate.
func NewNetwork(t *topology.Topology) (*Network, error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("making a network: %w", err)
	}
	own := *t
	own.Hosts = append([]topology.Host(nil), t.Hosts...)
	own.Paths = append([]topology.Path(nil), t.Paths...)
	n := &Network{epoch: time.Now(), topo: &own, armed: never, paths: make(map[[2]int]*Link)}
	for i := range own.Hosts {
		h, err := n.newNode(i)
		if err != nil {
			return nil, err
		}
		n.hosts = append(n.hosts, h)
	}
	for i := range own.Paths {
		if _, err := n.addPath(own.Paths[i].From, own.Paths[i].To); err != nil {
			return nil, err
		}
	}
	n.timer = time.AfterFunc(time.Hour, n.tick)
	n.timer.Stop()
	return n, nil
}

// newLink makes the link called id of the topology.
func (n *Network) newLink(id topology.LinkID) (*Link, error) {
	return NewLink(SeedFor(n.topo.Seed, n.topo.Name(id)), *n.topo.Link(id))
}

func (n *Network) addPath(from, to int) (*Link, error) {
	l, err := n.newLink(topology.LinkID{Kind: topology.Pair, Host: from, To: to})
	if err == nil {
		n.paths[[2]int{from, to}] = l
	}
	return l, err
}

// Node gives the host with a name, or nil if there is none.
func (n *Network) Node(name string) *Node {
	if i := n.topo.Index(name); i >= 0 { // hosts never change
		return n.hosts[i]
	}
	return nil
}

// Set changes links while the network runs, by words such as "h1.down loss=1%
// delay=40ms"; see topology.Topology.Set. Packets that are under way keep their
// time.
func (n *Network) Set(words ...string) error {
	n.lock()
	defer n.unlock()
	ids, err := n.topo.Set(words)
	if err != nil {
		return err
	}
	for _, id := range ids {
		l := n.link(id)
		if l == nil {
			if l, err = n.addPath(id.Host, id.To); err != nil {
				return err
			}
		}
		if err := l.Set(*n.topo.Link(id)); err != nil {
			return err
		}
	}
	return nil
}

// Counters tells what happened at a link, by a name such as h1.up or h0:h1. The
// zero value is returned for a path that nobody made; err for no link at all.
func (n *Network) Counters(name string) (Counters, error) {
	n.lock()
	defer n.unlock()
	ids, err := n.topo.Select(name)
	if err != nil {
		return Counters{}, err
	}
	if len(ids) != 1 {
		return Counters{}, fmt.Errorf("%q is more than one link", name)
	}
	if l := n.link(ids[0]); l != nil {
		return l.Counters(), nil
	}
	return Counters{}, nil
}

// DropPackets makes a link, by a name such as h1.up, lose packets by number; see
// Link.DropPackets.
func (n *Network) DropPackets(name string, numbers ...int64) error {
	n.lock()
	defer n.unlock()
	ids, err := n.topo.Select(name)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if l := n.link(id); l != nil {
			l.DropPackets(numbers...)
		}
	}
	return nil
}

func (n *Network) link(id topology.LinkID) *Link {
	switch id.Kind {
	case topology.Up:
		return n.hosts[id.Host].up
	case topology.Down:
		return n.hosts[id.Host].down
	}
	return n.paths[[2]int{id.Host, id.To}]
}

// lock begins a call of a user: what is due happens first, so that every link
// sees its packets in the order of time.
func (n *Network) lock() {
	n.mu.Lock()
	n.advance(n.clock())
}

// clock reads the bubble's time.
func (n *Network) clock() time.Duration { return min(time.Since(n.epoch), EndOfTime) }

// unlock ends it: what the call has caused without delay happens at once.
func (n *Network) unlock() {
	n.settle()
	n.mu.Unlock()
}

// settle does what is due without delay, and sets the timer. It reports whether
// there was something to do.
func (n *Network) settle() (busy bool) {
	busy = n.advance(n.now)
	if at := n.agenda.next(); at != n.armed {
		n.armed = at
		if at == never {
			n.timer.Stop()
		} else {
			n.timer.Reset(at - n.now)
		}
	}
	return busy
}

func (n *Network) tick() {
	n.mu.Lock()
	n.armed = never
	n.advance(n.clock())
	n.unlock()
}

// advance does all that is due up to now, in order. It reports whether there was
// something.
func (n *Network) advance(now time.Duration) (busy bool) {
	for len(n.agenda.heap) > 0 && n.agenda.heap[0].at <= now {
		e := n.agenda.pop()
		n.now = e.at
		e.do.happen()
		busy = true
	}
	n.now = now
	return busy
}

// due is something that happens at an instant, with the network locked.
type due interface{ happen() }

// agenda is a heap of what will happen; what is put in first happens first at
// one instant.
type agenda struct {
	heap  []agendaEntry
	count uint64
}

type agendaEntry struct {
	at  time.Duration
	seq uint64
	do  due
}

func (e *agendaEntry) before(o *agendaEntry) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// next is when something happens next.
func (a *agenda) next() time.Duration {
	if len(a.heap) == 0 {
		return never
	}
	return a.heap[0].at
}

func (a *agenda) push(at time.Duration, do due) {
	if at > EndOfTime {
		return
	}
	a.count++
	e := agendaEntry{at, a.count, do}
	i := len(a.heap)
	a.heap = append(a.heap, e)
	for i > 0 {
		up := (i - 1) / 4 // four children each: fewer levels to climb
		if !e.before(&a.heap[up]) {
			break
		}
		a.heap[i] = a.heap[up]
		i = up
	}
	a.heap[i] = e
}

func (a *agenda) pop() agendaEntry {
	top := a.heap[0]
	last := len(a.heap) - 1
	e := a.heap[last]
	a.heap[last] = agendaEntry{}
	a.heap = a.heap[:last]
	if last == 0 {
		return top
	}
	i := 0
	for {
		least := 4*i + 1
		if least >= last {
			break
		}
		for c := least + 1; c < min(4*i+5, last); c++ {
			if a.heap[c].before(&a.heap[least]) {
				least = c
			}
		}
		if !a.heap[least].before(&e) {
			break
		}
		a.heap[i] = a.heap[least]
		i = least
	}
	a.heap[i] = e
	return top
}
