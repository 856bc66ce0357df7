package probe

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/topology"
)

// TestGroup: packets to a group are sent and heard, or it is said why not.
func TestGroup(t *testing.T) {
	tests := []struct {
		name   string
		member bool   // the far host takes multicast
		more   string // of the far host's link
		peers  bool   // an address is known
		heard  int
		why    string // part of the reason; "": it works
	}{
		{"it works", true, "", true, 10, ""},
		{"a host without multicast", false, "", true, 0, "0 of 10 packets to the group 239."},
		{"losses are no firewall", true, `, "loss": "10%"`, true, 9, ""},
		{"no address", true, "", false, 0, "no address is known"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				text := fmt.Sprintf(`{"seed": 1, "hosts": [{"name": "h0", "multicast": true, "link": {"delay": "10ms"}}, {"name": "h1", "multicast": %v, "link": {"delay": "10ms"%s}}]}`, tt.member, tt.more)
				topo, err := topology.Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				n, err := netsim.NewNetwork(topo)
				if err != nil {
					t.Fatal(err)
				}
				r, err := measure(t, n, func(asks, answers *Params) {
					asks.Group, asks.Bytes = true, -1
					if !tt.peers {
						asks.Peers, answers.Own = nil, nil
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				g := r.Group
				if g.OK != (tt.why == "") || !strings.Contains(g.Why, tt.why) || g.OK && g.Why != "" || g.Heard != tt.heard {
					t.Errorf("got %+v, want %d heard, %q", g, tt.heard, tt.why)
				}
				if g.OK && (g.Sent != groupPackets || !g.At.Addr().IsMulticast() || g.At.Port() < 50000 || g.At.Port() > 50019) {
					t.Errorf("got %+v", g)
				}
			})
		})
	}
}

// TestGroupIsNotAsked: nothing is sent to groups unless that is asked for.
func TestGroupIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := measure(t, world(t, `"delay": "10ms"`, `"delay": "10ms"`), func(asks, _ *Params) { asks.Bytes = -1 })
		if err != nil || r.Group != (Group{}) {
			t.Errorf("got %+v, %v", r.Group, err)
		}
	})
}

func TestRandomGroup(t *testing.T) {
	v4 := netip.MustParsePrefix("239.192.0.0/14")
	for range 1000 {
		if a := randomGroup(false); !v4.Contains(a) {
			t.Fatalf("%v is not in %v", a, v4)
		}
		if a := randomGroup(true); !a.IsMulticast() || a.As16()[1] != 0x18 {
			t.Fatalf("%v is no group of an organisation", a)
		}
	}
}
