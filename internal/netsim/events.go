package netsim

import "time"

// EndOfTime is the last instant of simulated time, some 146 years after its
// beginning: half of what a time.Duration can say, so that no sum of an instant
// and a span overflows. What would happen later does not happen.
const EndOfTime time.Duration = 1<<62 - 1

// actor is what an event is for. It gets the event's order, so that it can tell
// one that was overtaken.
type actor interface {
	act(w *World, order uint64)
}

// event is something that happens at a time. Events of one time happen in
// ascending order, which is that in which they were decided.
type event struct {
	at    time.Duration
	order uint64
	what  actor
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}

// eventHeap is a heap with four children per node: half the depth of a binary
// one, and the children share cache lines.
type eventHeap []event

func (h *eventHeap) push(e event) {
	if e.at > EndOfTime {
		return
	}
	s := append(*h, e)
	*h = s
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&s[parent]) {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = e
}

func (h *eventHeap) pop() {
	s := *h
	last := len(s) - 1
	e := s[last]
	s[last] = event{}
	*h = s[:last]
	if last > 0 {
		h.replace(e)
	}
}

// replace puts e in the place of the first event.
func (h *eventHeap) replace(e event) {
	s := *h
	i := 0
	for {
		child := 4*i + 1
		if child >= len(s) {
			break
		}
		for c, end := child+1, min(child+4, len(s)); c < end; c++ {
			if s[c].before(&s[child]) {
				child = c
			}
		}
		if !s[child].before(&e) {
			break
		}
		s[i] = s[child]
		i = child
	}
	s[i] = e
}

// Timer calls a function once at a time of a world. It belongs to the world's
// goroutine. Setting one again costs next to nothing when the new time is
// later, as with timeouts that are put off by every acknowledgement.
type Timer struct {
	w     *World
	f     func()
	at    time.Duration // when it fires, if set
	order uint64        // of the call that set it; 0 is not set
	// The event in the heap that speaks for the timer. It may be earlier than
	// at; it then makes room for a new one.
	queuedAt time.Duration
	queued   uint64
}

// NewTimer makes a timer that is not set.
func (w *World) NewTimer(f func()) *Timer { return &Timer{w: w, f: f} }

// After calls f when d has passed; at once, but not within this call, if d is 0
// or less; never, if that is behind EndOfTime.
func (w *World) After(d time.Duration, f func()) *Timer {
	t := w.NewTimer(f)
	t.Reset(w.now + min(d, EndOfTime+1))
	return t
}

// At calls f at a time, or as soon as possible if that has passed.
func (w *World) At(at time.Duration, f func()) *Timer {
	t := w.NewTimer(f)
	t.Reset(at)
	return t
}

// Reset sets the timer to another instant, whether or not it was set.
func (t *Timer) Reset(at time.Duration) {
	t.at = max(at, t.w.now)
	t.order = t.w.next()
	if t.queued == 0 || t.queuedAt > t.at {
		t.enqueue()
	}
}

// Stop reports whether the timer was set, and will now not fire.
func (t *Timer) Stop() bool {
	set := t.order != 0
	t.order = 0
	return set
}

// Deadline tells when the timer fires, and whether it is set.
func (t *Timer) Deadline() (time.Duration, bool) { return t.at, t.order != 0 }

func (t *Timer) enqueue() {
	t.queued, t.queuedAt = t.order, t.at
	t.w.heap.push(event{t.at, t.order, t})
}

func (t *Timer) act(_ *World, order uint64) {
	if order != t.queued {
		return // another event speaks for the timer
	}
	t.queued = 0
	switch {
	case t.order == 0:
	case t.order != order:
		t.enqueue()
	default:
		t.order = 0
		t.f()
	}
}
