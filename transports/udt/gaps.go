package udt

import (
	"sort"
	"time"
)

// gap is packets that a receiver misses, and when it will report them.
type gap struct {
	first, last int64 // positions, both included
	found       time.Duration
	due         time.Duration // of the next report
	wait        time.Duration // between the last report and the next
	reports     int
}

// gapList is what a receiver misses below the highest packet that it has: gaps
// in order that do not touch those of other times.
type gapList struct {
	l       []gap
	packets int64
}

// push adds a gap behind all others.
func (g *gapList) push(n gap) {
	g.l = append(g.l, n)
	g.packets += n.last - n.first + 1
}

// find gives the index of the first gap that ends at pos or later.
func (g *gapList) find(pos int64) int {
	if len(g.l) > 0 && g.l[0].last >= pos {
		return 0
	}
	return sort.Search(len(g.l), func(i int) bool { return g.l[i].last >= pos })
}

// remove takes one packet out and gives the gap in which it was, as it was.
func (g *gapList) remove(pos int64) (was gap, ok bool) {
	i := g.find(pos)
	if i == len(g.l) || g.l[i].first > pos {
		return gap{}, false
	}
	was = g.l[i]
	g.cut(i, pos, pos)
	return was, true
}

// removeRange takes all packets from first to last out.
func (g *gapList) removeRange(first, last int64) {
	i := g.find(first)
	if i < len(g.l) && g.l[i].first < first {
		within := last < g.l[i].last
		g.cut(i, first, min(last, g.l[i].last))
		if within {
			return
		}
		i++
	}
	j := i
	for j < len(g.l) && g.l[j].last <= last {
		g.packets -= g.l[j].last - g.l[j].first + 1
		j++
	}
	g.l = append(g.l[:i], g.l[j:]...)
	if i < len(g.l) && g.l[i].first <= last {
		g.cut(i, g.l[i].first, last)
	}
}

// cut takes first to last out of gap i, which holds them.
func (g *gapList) cut(i int, first, last int64) {
	g.packets -= last - first + 1
	was := &g.l[i]
	switch {
	case first == was.first && last == was.last:
		if i == 0 {
			g.l = g.l[1:] // the usual place; append gets a new array now and then
			return
		}
		g.l = append(g.l[:i], g.l[i+1:]...)
	case first == was.first:
		was.first = last + 1
	case last == was.last:
		was.last = first - 1
	default:
		left := *was
		left.last = first - 1
		was.first = last + 1
		g.l = append(g.l, gap{})
		copy(g.l[i+1:], g.l[i:])
		g.l[i] = left
	}
}
