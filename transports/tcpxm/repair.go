package tcpxm

import (
	"time"

	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// Constants of coded repair. Ours.
const (
	mendRounds = 2               // of symbols, before unicast mends the rest
	mendMost   = coding.K / 2    // losses of one receiver in a block that coded repair looks after
	mendAlone  = coding.K / 8    // more than others miss together are no random ones
	mendGiveUp = 1 * time.Second // that a block may take until all of it was sent
	mendSlack  = 3               // times the usual wait, for those that are late to tell
)

// mending is a block of which members miss something.
type mending struct {
	complete bool
	at       time.Duration // when the last of it, or of its symbols, was sent
	due      time.Duration // when it is decided what to do, whoever has not told
	symbols  int           // parity symbols that were sent
	rounds   int
	clean    bool // nobody was known to miss anything when it was last decided
	closed   bool // unicast mends what is missing from now on
}

// mend tells whether coded repair will look after a slot that a member misses.
func (g *group) mend(now time.Duration, p *pcb, slot int64) bool {
	block := slot / coding.K
	m := g.blocks[block]
	if m == nil {
		m = &mending{due: now + mendGiveUp}
		g.blocks[block] = m
		if g.vouched >= min((block+1)*coding.K*g.s.stream.slot, g.s.stream.end) {
			m.sent(now, g.wait())
		}
	}
	if m.clean { // others may be about to tell the same
		m.clean = false
		m.sent(now, g.wait())
	}
	return !m.closed && p.misses(block) < mendMost
}

// sent notes that the last of a block, or of its symbols, was sent, and how long it takes
// until all have told what they miss then.
func (m *mending) sent(now, wait time.Duration) { m.complete, m.at, m.due = true, now, now+wait }

// misses is how many slots of a block coded repair is to mend at a receiver.
func (p *pcb) misses(block int64) (n int) {
	lo, hi := block*coding.K, (block+1)*coding.K
	for e := range p.coded.All() {
		if e.Lo >= hi {
			break
		}
		n += int(max(0, min(e.Hi, hi)-max(e.Lo, lo)))
	}
	return n
}

// wait is how long it takes at most until all members have told what they miss of what was
// sent now. While more is sent their acknowledgements of that tell it earlier.
func (g *group) wait() time.Duration {
	d := time.Duration(0)
	for _, p := range g.members {
		d = max(d, p.est.smooth+p.est.min/4+p.late())
	}
	if d += 2 * time.Millisecond; g.next < g.s.stream.slots() {
		d *= mendSlack
	}
	return d
}

// told gives the time up to which all members have told what they miss of what was sent:
// what was sent later has reached them.
func (g *group) told() time.Duration {
	t := never
	for _, p := range g.members {
		t = min(t, p.newest-p.reorder())
	}
	return t
}

// complete notes that all of a block was sent.
func (g *group) complete(now time.Duration, block int64) {
	m := g.blocks[block]
	if m == nil {
		m = new(mending)
		g.blocks[block] = m
	}
	if !m.complete {
		m.sent(now, g.wait())
	}
}

// repair decides on the blocks that are due.
func (g *group) repair(now time.Duration, out *outbox) {
	told := g.told()
	for block, m := range g.blocks {
		if now < m.due && (!m.complete || m.closed || m.clean || told < m.at) {
			continue
		}
		if m.closed || m.clean {
			if g.through(block) {
				delete(g.blocks, block)
			}
			m.due = now + mendGiveUp
			continue
		}
		affected, worst, total := g.missing(block)
		if worst > mendAlone && total < 2*worst {
			g.outlier(block, worst)
			affected, worst, total = g.missing(block)
		}
		switch {
		case total == 0 && m.complete:
			m.clean, m.due = true, now+mendGiveUp
		case affected >= minMembers && m.complete && m.rounds < mendRounds && worst < total && m.symbols+worst <= coding.MaxParity:
			n := worst
			if m.rounds > 0 {
				n = (worst + 1) / 2 // some of what was sent has arrived
			}
			g.sendSymbols(now, block, m, n, out)
			m.sent(now, g.wait())
		default:
			m.closed, m.due = true, now+mendGiveUp
			g.toUnicast(block)
		}
	}
}

// missing tells how many members miss something of a block, how much the worst of
// them does, and all together.
func (g *group) missing(block int64) (affected, worst, total int) {
	for _, p := range g.members {
		if n := p.misses(block); n > 0 {
			affected, worst, total = affected+1, max(worst, n), total+n
		}
	}
	return affected, worst, total
}

// outlier leaves what one member misses of a block, more than all others, to unicast.
func (g *group) outlier(block int64, most int) {
	for _, p := range g.members {
		if p.misses(block) == most {
			p.mendAlone(block)
		}
	}
}

// through tells that all members have a block.
func (g *group) through(block int64) bool {
	for _, p := range g.members {
		if p.una < (block+1)*coding.K {
			return false
		}
	}
	return true
}

// toUnicast leaves what is missing of a block to unicast.
func (g *group) toUnicast(block int64) {
	for _, p := range g.members {
		p.mendAlone(block)
	}
}

// mendAlone leaves what is missing of a block at a receiver to unicast.
func (p *pcb) mendAlone(block int64) {
	lo, hi := block*coding.K, (block+1)*coding.K
	for e := range p.coded.All() {
		if from, to := max(e.Lo, lo), min(e.Hi, hi); from < to {
			p.lost.Add(from, to)
		}
	}
	p.coded.Remove(lo, hi)
}

// sendSymbols sends further parity symbols of a block.
func (g *group) sendSymbols(now time.Duration, block int64, m *mending, n int, out *outbox) {
	s, x := g.s, &g.s.stream
	start := block * coding.K * x.slot
	end := min(start+coding.K*x.slot, x.end)
	all := s.read[:end-start]
	if start < x.pages.low || s.fetch(start, all) != nil {
		m.rounds = mendRounds
		return
	}
	data := make([][]byte, coding.K)
	for i := range data {
		lo := int64(i) * x.slot
		if lo >= int64(len(all)) {
			break
		}
		data[i] = all[lo:min(lo+x.slot, int64(len(all)))]
		if int64(len(data[i])) < x.slot {
			data[i] = append(make([]byte, 0, x.slot), data[i]...)[:x.slot]
		}
	}
	symbols, err := s.coder.Encode(data, m.symbols, m.symbols+n)
	if err != nil {
		m.rounds = mendRounds
		return
	}
	for i, symbol := range symbols {
		p := segment.Parity{Start: start, End: end, K: coding.K, Index: uint8(m.symbols + i), Symbol: symbol}
		b := p.Append(append(out.room(), make([]byte, segment.ShimLen)...))
		if !s.push(g.addr, &s.sealers.group, segment.Shim{Kind: segment.Repair}, b, out) {
			return
		}
		s.stats.CodedPackets++
		s.stats.CodedBytes += x.slot
		g.charge(now, g.members[0].wire())
	}
	m.symbols += n
	m.rounds++
}
