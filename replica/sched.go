package replica

import (
	"errors"
	"fmt"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/internal/units"
)

// OrderKind is what an order asks for.
type OrderKind uint8

// The kinds of orders.
const (
	Open  OrderKind = iota // connect, ask for the facts, then say Up or Down
	Close                  // end what runs; nothing more is wanted from it
	Fetch                  // ask for Blocks, behind what it was asked for before
	Drop                   // Blocks are not wanted any more; what comes of them is of no use
)

// String names the kind for people.
func (k OrderKind) String() string { return [...]string{"open", "close", "fetch", "drop"}[k&3] }

// Order is something to be done with a source.
type Order struct {
	Kind   OrderKind
	Source SourceID
	Blocks rangeset.Extent // of Fetch and Drop: numbers of blocks
}

// Config is what the whole schedule is about.
type Config struct {
	Size  int64 // bytes of the object, 0 or more
	Block int64 // bytes, at least 1: the unit in which bytes are verified; the last block is shorter
	// Sink is the most that the receiving end takes, in bytes per second; 0: no limit known.
	Sink units.Rate
	// MaxSources is how many are used at once; 0: all.
	MaxSources int
	// MinRate in bytes per second: who is below it for a minute is left out; 0: nobody.
	MinRate units.Rate
	// Ahead is how much of a source's rate it is asked for before it is needed, beyond
	// one and a half latencies; 0: 50 ms. Who shares a source's requests among several
	// connections needs more, since these do not end at one moment.
	Ahead time.Duration
}

// guess is the rate of sources when nothing is known of any. Ours; only the sizes
// of the first requests depend on it.
const guess = 10_000_000

// replanEvery is how often it is looked at who takes part. Ours.
const replanEvery = 2 * time.Second

// Sched shares the blocks of one object among sources. Each block that is not
// stored is in exactly one place: free, or with one source, or, near the end,
// with two.
//
// Times are durations since any fixed moment and never go back. The same calls
// give the same orders. Nothing is verified here: who calls Stored has compared
// the block with what it must be. One goroutine at a time.
type Sched struct {
	config  Config
	blocks  int64
	sources []*source

	done   rangeset.Set // blocks that are stored
	free   rangeset.Set // blocks that nobody was asked for
	twice  rangeset.Set // blocks that two sources were asked for
	copied int64        // bytes that were asked for twice so far
	came   int64        // bytes that have come from all sources
	kept   int64        // bytes that were stored, without what was there before

	joint    joint
	nextPlan time.Duration
	replan   bool
	orders   []Order
	handed   []Order // what the last Poll returned; its memory is used again
}

// NewSched makes a schedule for an object of which the blocks of stored are
// there already; nil is none. The set is copied.
//
// Errors: a config out of bounds.
func NewSched(c Config, sources []Source, stored *rangeset.Set) (*Sched, error) {
	if c.Size < 0 || c.Block < 1 || c.Sink < 0 || c.MinRate < 0 || c.MaxSources < 0 || c.Ahead < 0 {
		return nil, fmt.Errorf("sharing %d bytes in blocks of %d among %d sources: %w", c.Size, c.Block, len(sources), errConfig)
	}
	if c.Ahead == 0 {
		c.Ahead = leadTime
	}
	s := &Sched{config: c, blocks: (c.Size-1)/c.Block + 1, replan: true}
	if c.Size == 0 {
		s.blocks = 0
	}
	s.free.Add(0, s.blocks)
	if stored != nil {
		for e := range stored.All() {
			e = s.clip(e)
			s.done.Add(e.Lo, e.Hi)
			s.free.Remove(e.Lo, e.Hi)
		}
	}
	for _, from := range sources {
		s.Add(from)
	}
	s.guessRates()
	return s, nil
}

var errConfig = errors.New("a number is out of bounds")

// Add adds a source while the schedule runs.
func (s *Sched) Add(from Source) SourceID {
	c := &source{Source: from, id: SourceID(len(s.sources))}
	c.Start, c.Latency, c.Rate = max(0, c.Start), max(0, c.Latency), max(0, c.Rate)
	c.guessed = c.Rate == 0
	s.sources = append(s.sources, c)
	s.replan = true
	return c.id
}

// guessRates gives sources of which nothing is known the mean of the others.
func (s *Sched) guessRates() {
	sum, n := 0.0, 0
	for _, c := range s.sources {
		if r := c.expected(); r > 0 && (!c.guessed || c.meter.trusted()) {
			sum += r
			n++
		}
	}
	mean := float64(guess)
	if n > 0 {
		mean = sum / float64(n)
	}
	for _, c := range s.sources {
		if c.guessed {
			c.Rate = units.Rate(max(1, mean))
		}
	}
}

// SetSink changes what the receiving end takes, in bytes per second; 0 is no limit.
func (s *Sched) SetSink(r units.Rate) {
	s.config.Sink = max(0, r)
	s.replan = true
}

// Done tells whether every block is stored.
func (s *Sched) Done() bool { return s.done.Total() == s.blocks }

// Hopeless tells whether blocks are lacking and every source is out.
func (s *Sched) Hopeless() bool {
	for _, c := range s.sources {
		if c.usable() {
			return false
		}
	}
	return !s.Done()
}

// Waste is how many bytes have come that were of no use, so far as no block is
// under way; and how many of the sources had been asked for twice.
func (s *Sched) Waste() (bytes, twice int64) {
	waste := s.came - s.kept
	for _, c := range s.sources {
		waste -= c.partial
	}
	return max(0, waste), s.copied
}

// known gives a source by its number; nil if there is none.
func (s *Sched) known(id SourceID) *source {
	if id < 0 || int(id) >= len(s.sources) {
		return nil
	}
	return s.sources[id]
}

// clip cuts what lies outside of the object.
func (s *Sched) clip(e rangeset.Extent) rangeset.Extent {
	e.Lo, e.Hi = max(0, e.Lo), min(s.blocks, e.Hi)
	if e.Lo >= e.Hi {
		return rangeset.Extent{}
	}
	return e
}

// bytes is how many bytes some blocks of the object have.
func (s *Sched) bytes(e rangeset.Extent) int64 {
	if e.Lo >= e.Hi {
		return 0
	}
	n := (e.Hi - e.Lo) * s.config.Block
	if e.Hi == s.blocks {
		n -= s.blocks*s.config.Block - s.config.Size
	}
	return n
}

// lacking is how many bytes are not stored.
func (s *Sched) lacking() (n int64) {
	for e := range s.done.Missing(0, s.blocks) {
		n += s.bytes(e)
	}
	return n
}

func (s *Sched) order(k OrderKind, c *source, e rangeset.Extent) {
	s.orders = append(s.orders, Order{k, c.id, e})
}

// give asks a source for blocks, which the caller has taken from where they
// were.
func (s *Sched) give(now time.Duration, c *source, e rangeset.Extent) {
	if c.left == 0 {
		c.due = now + c.Latency
		c.heard = c.due
		c.meter.begin(c.due)
	}
	c.left += s.bytes(e)
	if n := len(c.spans); n > 0 && c.spans[n-1].Hi == e.Lo {
		c.spans[n-1].Hi = e.Hi
	} else {
		c.spans = append(c.spans, e)
	}
	s.order(Fetch, c, e)
}

// take removes blocks from what a source was asked for, and calls removed with
// each part.
func (s *Sched) take(now time.Duration, c *source, e rangeset.Extent, removed func(rangeset.Extent)) {
	for i := 0; i < len(c.spans); i++ {
		sp := c.spans[i]
		part := rangeset.Extent{Lo: max(sp.Lo, e.Lo), Hi: min(sp.Hi, e.Hi)}
		if part.Lo >= part.Hi {
			continue
		}
		c.left -= s.bytes(part)
		switch {
		case part == sp:
			c.spans = append(c.spans[:i], c.spans[i+1:]...)
			i--
		case part.Lo == sp.Lo:
			c.spans[i].Lo = part.Hi
		case part.Hi == sp.Hi:
			c.spans[i].Hi = part.Lo
		default:
			c.spans = append(c.spans, rangeset.Extent{})
			copy(c.spans[i+2:], c.spans[i+1:])
			c.spans[i].Hi, c.spans[i+1] = part.Lo, rangeset.Extent{Lo: part.Hi, Hi: sp.Hi}
			i++
		}
		if removed != nil {
			removed(part)
		}
	}
	c.partial = min(c.partial, c.left)
	if c.left == 0 {
		c.gap = true
		c.meter.end(now)
	}
}

// release gives all blocks of a source back; those that another one was asked
// for, too, stay with that one.
func (s *Sched) release(now time.Duration, c *source) {
	for _, e := range c.spans {
		s.giveBack(e)
	}
	c.spans, c.left, c.partial, c.gap = c.spans[:0], 0, 0, true
	c.meter.end(now)
	s.replan = true
}

// giveBack takes blocks from one of those who have them.
func (s *Sched) giveBack(e rangeset.Extent) {
	for part := range s.twice.Missing(e.Lo, e.Hi) {
		s.free.Add(part.Lo, part.Hi)
	}
	s.twice.Remove(e.Lo, e.Hi)
}
