package tcpxm

import (
	"cmp"
	"slices"
	"time"
)

// sending is that a slot was sent.
type sending struct {
	slot int64
	at   time.Duration
}

// order is what was sent to one receiver in the order of time, so that what is too late
// is found without a look at all that is missing: a receiver decides by what it
// acknowledges how much that is. Source: RFC 8985, section 9.3.
type order struct {
	list []sending
	head int // of what is still looked after
}

// push notes that a slot was sent.
func (o *order) push(slot int64, at time.Duration) {
	if o.head > len(o.list)/2 && o.head > 64 {
		o.list = o.list[:copy(o.list, o.list[o.head:])]
		o.head = 0
	}
	o.list = append(o.list, sending{slot, at})
}

// first gives what was sent first; false without any.
func (o *order) first() (s sending, ok bool) {
	if o.head == len(o.list) {
		return s, false
	}
	return o.list[o.head], true
}

// pop forgets that.
func (o *order) pop() { o.head++ }

// clear forgets all.
func (o *order) clear() { o.list, o.head = nil, 0 }

// merge takes over what another has, in the order of time.
func (o *order) merge(p *order) {
	o.list = append(o.list[o.head:], p.list[p.head:]...)
	o.head = 0
	slices.SortStableFunc(o.list, func(a, b sending) int { return cmp.Compare(a.at, b.at) })
}
