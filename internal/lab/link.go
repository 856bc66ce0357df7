package lab

import (
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/topology"
)

// Causes of loss that no link model knows, as the statistics call them.
const (
	causeScope   = "scope"   // multicast that no router would forward
	causeRoute   = "noroute" // there is no host of that address
	causeRead    = "read"    // the kernel gave it in a form that is not understood
	causeWrite   = "write"   // the host's interface did not take it
	causeOverrun = "overrun" // the kernel dropped it, since the emulator was too slow
)

// link is one direction of a link with what is on it.
type link struct {
	id     topology.LinkID
	name   string
	number int // in order of making
	model  *netsim.Link

	line  line
	place int // in the agenda, while the line is not empty

	multicast Count            // the part of what was offered
	twice     Count            // second copies of packets that came twice
	refused   map[string]int64 // packets by the causes above
}

// newLink makes a link as the topology says.
func newLink(t *topology.Topology, id topology.LinkID, number int) (*link, error) {
	name := t.Name(id)
	model, err := netsim.NewLink(netsim.SeedFor(t.Seed, name), *t.Link(id))
	if err != nil {
		return nil, err
	}
	return &link{id: id, name: name, number: number, model: model, refused: map[string]int64{}}, nil
}

// offer brings a packet of a pool to the link, damages it if the link does, and returns
// the verdict.
func (l *link) offer(now time.Duration, p *packet, pl *pool) netsim.Verdict {
	v := l.model.Offer(now, p.n)
	if v.Damage == netsim.Corrupted || v.Damage == netsim.Mangled {
		pl.own(p)
		p.bent = true
	}
	switch v.Damage {
	case netsim.Corrupted:
		l.model.FlipBit(carried(p.bytes()))
	case netsim.Mangled:
		l.model.SwapBits(payload(p.bytes()))
	}
	return v
}

// refuse counts a packet that is dropped though the link itself would not.
func (l *link) refuse(cause string) { l.refused[cause]++ }
