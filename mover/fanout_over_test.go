package mover

import (
	"slices"
	"testing"
	"time"
)

// TestChangeover has destinations share a link, or not, and looks at what is done.
func TestChangeover(t *testing.T) {
	const mb = 1_000_000
	type net struct {
		up    float64 // this machine's, bytes per second
		down  float64 // each destination's
		chain float64 // what each gets in a chain
	}
	for _, tt := range []struct {
		name       string
		n          int
		net        net
		done, left int64
		lost       time.Duration // when the last one is lost; 0: never
		want       []move
	}{
		{"the link here is the limit", 4, net{10 * mb, 100 * mb, 9 * mb}, 0, 1000 * mb, 0, []move{alone, chained}},
		{"two of them", 2, net{10 * mb, 100 * mb, 9 * mb}, 0, 1000 * mb, 0, []move{alone, chained}},
		{"each has a limit of its own", 4, net{100 * mb, 2.5 * mb, 2 * mb}, 0, 1000 * mb, 0, []move{alone, free}},
		{"a chain is slower", 4, net{10 * mb, 100 * mb, 2 * mb}, 0, 1000 * mb, 0, []move{alone, chained, starred}},
		{"little is left", 4, net{10 * mb, 100 * mb, 9 * mb}, 0, 48 * mb, 0, nil},
		{"much would be read again", 4, net{10 * mb, 100 * mb, 9 * mb}, 30_000 * mb, 1000 * mb, 0, nil},
		{"one alone", 1, net{10 * mb, 100 * mb, 9 * mb}, 0, 1000 * mb, 0, nil},
		{"one is lost while it is tried", 3, net{10 * mb, 100 * mb, 9 * mb}, 0, 1000 * mb, 4 * time.Second, []move{alone, free}},
		{"one is lost before", 3, net{10 * mb, 100 * mb, 9 * mb}, 0, 1000 * mb, time.Second, nil},
	} {
		var c changeover
		all := make([]stand, tt.n)
		for i := range all {
			all[i] = stand{live: true, done: tt.done, left: tt.left}
		}
		now, only, inChain := time.Unix(1000, 0), -1, false
		began, quiet := now, now // until which sessions begin again
		var got []move
		for now.Sub(began) < 40*time.Second {
			now = now.Add(overEvery)
			for i := range all {
				lost := tt.lost > 0 && i == tt.n-1 && now.Sub(began) >= tt.lost
				all[i].live = !lost && !now.Before(quiet)
				share := min(tt.net.down, tt.net.up/float64(tt.n))
				switch {
				case inChain:
					share = tt.net.chain
				case only == i:
					share = min(tt.net.down, tt.net.up)
				case only >= 0:
					share = 0
				}
				if all[i].live && all[i].left > 0 {
					d := int64(share * overEvery.Seconds())
					all[i].verified, all[i].done, all[i].left = all[i].verified+d, all[i].done+d, all[i].left-d
				}
			}
			m := c.look(now, slices.Clone(all))
			switch m {
			case alone:
				only = c.only
			case free:
				only = -1
			case chained, starred:
				only, inChain, quiet = -1, m == chained, now.Add(time.Second)
			}
			if m != stay {
				got = append(got, m)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: done %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestOverShares: a destination that has gone over to a chain shares nothing any more, and
// does again when it is back.
func TestOverShares(t *testing.T) {
	j := &Job{Dest: Place{Remote: true, Host: "a"}}
	d := &director{job: j, controls: NewControls(j), cast: &castLeg{}}
	for _, c := range []struct {
		line   *chain
		shared bool
	}{{nil, true}, {newChain(), false}, {nil, true}} {
		d.goOver(c.line)
		d.turn()
		if got := d.options(); got.Shared != c.shared || got.Rehash == c.shared {
			t.Errorf("in a chain: %t; shared %t, read again %t", c.line != nil, got.Shared, got.Rehash)
		}
	}
}
