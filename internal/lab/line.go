package lab

import "time"

// line is the delay line of one link: packets by the time when they come out.
// They nearly always go in by that time, too, so it is a ring that is filled at
// one end; the few that were held back move to their place.
type line struct {
	ring []item // its length is a power of two
	head int    // of the earliest; grows without bound, modulo the length
	tail int    // behind the latest
}

type item struct {
	at time.Duration
	p  *packet
}

func (l *line) empty() bool { return l.head == l.tail }

func (l *line) slot(i int) *item { return &l.ring[i&(len(l.ring)-1)] }

// first gives the time of the earliest packet; the line must not be empty.
func (l *line) first() time.Duration { return l.slot(l.head).at }

// push puts a packet in behind all that come out no later.
func (l *line) push(at time.Duration, p *packet) {
	if l.tail-l.head == len(l.ring) {
		l.grow()
	}
	i := l.tail
	l.tail++
	for i > l.head && l.slot(i-1).at > at {
		*l.slot(i) = *l.slot(i - 1)
		i--
	}
	*l.slot(i) = item{at, p}
}

// pop takes the earliest packet out.
func (l *line) pop() item {
	s := l.slot(l.head)
	it := *s
	*s = item{}
	l.head++
	return it
}

func (l *line) grow() {
	ring := make([]item, max(16, 2*len(l.ring)))
	n := 0
	for i := l.head; i < l.tail; i++ {
		ring[n] = *l.slot(i)
		n++
	}
	l.ring, l.head, l.tail = ring, 0, n
}

// agenda orders links by when their lines' first packets come out: a binary heap.
// Only links with something on the line are in it.
type agenda struct{ links []*link }

func (a *agenda) empty() bool { return len(a.links) == 0 }

// next is the link whose packet comes out first.
func (a *agenda) next() *link { return a.links[0] }

// push puts a packet on the line of a link.
func (a *agenda) push(l *link, at time.Duration, p *packet) {
	idle := l.line.empty()
	if !idle && at >= l.line.first() {
		l.line.push(at, p)
		return
	}
	l.line.push(at, p)
	if idle {
		l.place = len(a.links)
		a.links = append(a.links, l)
	}
	a.up(l.place)
}

// pop takes the packet that comes out first from its line.
func (a *agenda) pop() (*link, item) {
	l := a.links[0]
	it := l.line.pop()
	if l.line.empty() {
		last := len(a.links) - 1
		a.links[0] = a.links[last]
		a.links[0].place = 0
		a.links[last] = nil
		a.links = a.links[:last]
	}
	a.down()
	return l, it
}

// before orders links; equal times by the links' numbers, so that a run does not
// depend on the shape of the heap.
func (a *agenda) before(i, j int) bool {
	x, y := a.links[i], a.links[j]
	if s, t := x.line.first(), y.line.first(); s != t {
		return s < t
	}
	return x.number < y.number
}

func (a *agenda) swap(i, j int) {
	a.links[i], a.links[j] = a.links[j], a.links[i]
	a.links[i].place, a.links[j].place = i, j
}

func (a *agenda) up(i int) {
	for i > 0 && a.before(i, (i-1)/2) {
		a.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (a *agenda) down() {
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(a.links); c++ {
			if a.before(c, least) {
				least = c
			}
		}
		if least == i {
			return
		}
		a.swap(i, least)
		i = least
	}
}
