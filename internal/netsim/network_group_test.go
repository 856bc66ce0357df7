package netsim

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestGroups(t *testing.T) {
	const member = `, "multicast": true, "link": {"delay": "10ms"}`
	group := netip.MustParseAddr("239.1.2.3")
	synctest.Test(t, func(t *testing.T) {
		n := build(t, `"min_ttl": 2,`, member, member, member, member, "")
		sender := socket(t, n, "h0", ":0")
		var got []*PacketConn
		for i, h := range []string{"h0", "h1", "h1", "h2", "h3", "h4"} {
			addr := ":3000"
			if i < 3 {
				addr = "239.1.2.3:3000" // may be shared
			}
			c := socket(t, n, h, addr)
			if h != "h3" {
				if err := c.JoinGroup(group, netip.Addr{}); err != nil {
					t.Fatal(err)
				}
			}
			got = append(got, c)
		}
		send := func(want ...int) {
			t.Helper()
			sendNumbered(t, sender, netip.AddrPortFrom(group, 3000), 100, 5)
			var counts []int
			for _, c := range got {
				counts = append(counts, len(numbers(t, c)))
			}
			if !slices.Equal(counts, want) {
				t.Errorf("came %v, want %v", counts, want)
			}
		}
		t.Log("# with a time to live of 1 nothing leaves the sender's site")
		send(5, 0, 0, 0, 0, 0)
		sender.SetMulticastTTL(8)
		send(5, 5, 5, 5, 0, 0)
		if c, _ := n.Counters("h0.up"); c.Offered.Packets != 10 {
			t.Errorf("%d packets on the up link, want 10", c.Offered.Packets)
		}
		t.Log("# links of members lose on their own")
		n.Set("h2.down", "cut=true")
		send(5, 5, 5, 0, 0, 0)
		n.Set("h2.down", "cut=false")
		sender.SetMulticastLoopback(false)
		got[2].LeaveGroup(group, netip.Addr{})
		send(0, 5, 0, 5, 0, 0)
		t.Log("# another source than the wanted one")
		got[3].LeaveGroup(group, netip.Addr{})
		got[3].JoinGroup(group, n.Node("h1").Addr(false))
		send(0, 5, 0, 0, 0, 0)
		got[3].JoinGroup(group, n.Node("h0").Addr(false))
		send(0, 5, 0, 5, 0, 0)

		got[1].SetReadDeadline(time.Time{})
		start := time.Now()
		sendNumbered(t, sender, netip.AddrPortFrom(group, 3000), 100, 1)
		if _, _, err := got[1].ReadFrom(nil); err != nil || time.Since(start) != 20*time.Millisecond {
			t.Errorf("came after %v, %v", time.Since(start), err)
		}
		for name, tt := range map[string]struct{ got, want error }{
			"no group":   {sender.JoinGroup(n.Node("h1").Addr(false), netip.Addr{}), syscall.EINVAL},
			"twice":      {got[1].JoinGroup(group, netip.Addr{}), syscall.EADDRINUSE},
			"not joined": {sender.LeaveGroup(group, netip.Addr{}), syscall.EADDRNOTAVAIL},
			"ttl":        {sender.SetMulticastTTL(256), syscall.EINVAL},
		} {
			if !errors.Is(tt.got, tt.want) {
				t.Errorf("%s: got %v, want %v", name, tt.got, tt.want)
			}
		}
	})
}

func TestLinkLocalGroupsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", `, "multicast": true`, `, "multicast": true`)
		group := netip.MustParseAddr("224.0.0.251")
		sender, c := socket(t, n, "h0", ":0"), socket(t, n, "h1", ":3000")
		c.JoinGroup(group, netip.Addr{})
		sendNumbered(t, sender, netip.AddrPortFrom(group, 3000), 100, 1)
		if got := numbers(t, c); len(got) != 0 {
			t.Errorf("%d came", len(got))
		}
	})
}
