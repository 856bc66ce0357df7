package netsim

import (
	"fmt"

	"github.com/gomover/gomover/internal/topology"
)

// NewTopologyWorld makes a world of the hosts and links of a topology, with its
// seed and MTU. Hosts have the addresses that they have in the lab, and links
// the same names.
//
// What a simulation of single packets does not know is ignored: the interface's
// own rate, the quantum, the TTL of multicast, and the congestion control, which
// each flow has for itself.
//
// Errors: those of Topology.Validate.
func NewTopologyWorld(t *topology.Topology) (*World, error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("making a world of a topology: %w", err)
	}
	w := NewWorld(t.Seed)
	w.SetMTU(t.MTU)
	for i, h := range t.Hosts {
		if _, err := w.AddHost(h.Name, h.Up, h.Down, topology.Address(i, false), topology.Address(i, true)); err != nil {
			return nil, err
		}
	}
	for _, p := range t.Paths {
		from, to := w.hosts[p.From], w.hosts[p.To]
		hop, err := w.AddLink(from.name+":"+to.name, p.Link)
		if err != nil {
			return nil, err
		}
		w.Route(from, to, hop)
	}
	return w, nil
}
