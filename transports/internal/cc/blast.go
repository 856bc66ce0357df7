package cc

import "github.com/gomover/gomover/internal/units"

// Blast sends at a fixed rate whatever happens, for circuits that belong to one
// sender: what is lost is repaired, but slows nothing. On a shared network it
// starves everybody else.
type Blast struct {
	Ignore
	rate   units.Rate
	window float64
}

var _ Controller = (*Blast)(nil)

// NewBlast makes a Blast with its rate in bytes per second, which is bounded to
// MinRate and MaxRate.
func NewBlast(rate units.Rate) *Blast {
	return &Blast{rate: min(max(rate, MinRate), MaxRate)}
}

// Init begins.
func (b *Blast) Init(s *Stats) { b.window = windowLimit(s) }

// OnAck notes the peer's window.
func (b *Blast) OnAck(s *Stats, _ *Ack) { b.window = windowLimit(s) }

// OnLoss changes nothing.
func (b *Blast) OnLoss(*Stats, *Loss) {}

// OnTimeout changes nothing; that the peer is gone is for the transport to find.
func (b *Blast) OnTimeout(*Stats) {}

// Control gives the rate.
func (b *Blast) Control() Control { return Control{Rate: b.rate, Window: max(b.window, 1)} }
