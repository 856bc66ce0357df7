package main

import (
	"math"
	"os"

	"github.com/gomover/gomover/bench/peer"
)

// named are those of the chosen programs that have one of the names, in the order
// of the names.
func (b *bench) named(names ...string) (list []peer.Program) {
	for _, name := range names {
		for _, p := range b.programs() {
			if p.Name == name {
				list = append(list, p)
			}
		}
	}
	return list
}

// tuned is the best setting that this run has found for a program, on the path
// that is most like this one: with loss or without. A window found is two
// bandwidth-delay products of that path, so it becomes two of this one. Without a
// search it is eight streams with such windows.
func (b *bench) tuned(p peer.Program, path Path) peer.Settings {
	rows := []string{"wan", "lossy"}
	if path.Loss > 0 {
		rows = []string{"lossy", "wan"}
	}
	for _, row := range rows {
		for _, s := range b.report.Searches {
			if s.Row == row && s.Program == p.Name {
				best := s.Best
				if best.Window > 0 {
					best.Window = 2 * bdp(path)
				}
				return best
			}
		}
	}
	list := p.Candidates(peer.Grid{Streams: []int{8}, Windows: []int64{2 * bdp(path)}})
	if len(list) == 0 {
		return peer.Settings{}
	}
	return list[0]
}

// expected is about what a program reaches on a path with loss, in bytes per
// second: what each TCP connection gets there. It only decides how large a file is
// used; 0 is unknown. Source: Mathis, Semke, Mahdavi, Ott, "The Macroscopic
// Behavior of the TCP Congestion Avoidance Algorithm", 1997, with its constant for
// Reno; both directions lose. libudt is no TCP.
func expected(path Path, p peer.Program, s peer.Settings) float64 {
	const segment, constant = 1448, 1.22 // bytes
	if path.Loss == 0 || p.Name == "gomover" || p.Name == "libudt" || path.RTTSeconds == 0 {
		return 0
	}
	return segment / path.RTTSeconds * constant / math.Sqrt(path.Loss) * float64(max(1, s.Streams))
}

// removeAll removes a tree.
func removeAll(path string) { os.RemoveAll(path) }
