package sealed

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gomover/gomover/transports"
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestCandidates(t *testing.T) {
	var many []netip.Addr
	for i := range 100 {
		many = append(many, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
	}
	both := transports.Params{IPv4: true, IPv6: true}
	known := func(p transports.Params, list ...string) transports.Params {
		p.Known = addrs(list...)
		return p
	}
	tests := []struct {
		name string
		p    transports.Params
		own  []netip.Addr
		want string
	}{
		{"known first, public before private", known(both, "203.0.113.9"), addrs("10.0.0.1", "192.0.2.1", "2001:db8::1"), "203.0.113.9 192.0.2.1 2001:db8::1 10.0.0.1"},
		{"no link-local, no multicast", both, addrs("fe80::1", "169.254.1.1", "ff02::1", "192.0.2.1", "0.0.0.0"), "192.0.2.1"},
		{"loopback for want of others", both, addrs("127.0.0.1", "::1"), "127.0.0.1 ::1"},
		{"no loopback beside others", both, addrs("127.0.0.1", "192.0.2.1"), "192.0.2.1"},
		{"loopback when known", known(both, "::1"), addrs("127.0.0.1", "192.0.2.1"), "::1 192.0.2.1 127.0.0.1"},
		{"once each, mapped unwrapped", known(both, "::ffff:192.0.2.1"), addrs("192.0.2.1"), "192.0.2.1"},
		{"IPv4 only", transports.Params{IPv4: true}, addrs("192.0.2.1", "2001:db8::1"), "192.0.2.1"},
		{"IPv6 only", transports.Params{IPv6: true}, addrs("192.0.2.1", "2001:db8::1"), "2001:db8::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, ap := range candidates(tt.p, tt.own, 5) {
				if ap.Port() != 5 {
					t.Errorf("port %d", ap.Port())
				}
				got = append(got, ap.Addr().String())
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
	if got := candidates(both, many, 5); len(got) != maxAddrs {
		t.Errorf("%d addresses, want %d", len(got), maxAddrs)
	}
}
