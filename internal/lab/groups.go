package lab

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
)

// parseIGMP lists the IPv4 groups that were joined on an interface, from the text
// of /proc/net/igmp. A line per interface is followed by one per group, indented,
// which begins with the address as a hexadecimal number in the byte order of the
// machine:
//
//	2	wan0      :     2      V3
//				030201EF     1 0:00000000		0
//
// Lines of another form are passed over.
func parseIGMP(text, ifname string) (groups []netip.Addr) {
	ours := false
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if line[0] != '\t' && line[0] != ' ' {
			ours = len(words) > 1 && words[1] == ifname
			continue
		}
		if b, err := hex.DecodeString(words[0]); ours && err == nil && len(b) == 4 {
			slices.Reverse(b)
			groups = append(groups, netip.AddrFrom4([4]byte(b)))
		}
	}
	return groups
}

// parseIGMP6 does the same for IPv6 and the text of /proc/net/igmp6, which has a
// line per group:
//
//	2    wan0            ff0e0000000000000000000000000123     1 00000004 0
func parseIGMP6(text, ifname string) (groups []netip.Addr) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 3 || words[1] != ifname {
			continue
		}
		if b, err := hex.DecodeString(words[2]); err == nil && len(b) == 16 {
			groups = append(groups, netip.AddrFrom16([16]byte(b)))
		}
	}
	return groups
}

// parseTransmitDrops gives the number of packets that the kernel dropped instead
// of handing them to the reader of an interface, from the text of /proc/net/dev:
// the fourth column of the transmit half. It is 0 if the interface is not there.
func parseTransmitDrops(text, ifname string) (n int64) {
	const column = 8 + 3 // eight of the receive half come first
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		words := strings.Fields(rest)
		if !ok || strings.TrimSpace(name) != ifname || len(words) <= column {
			continue
		}
		for _, digit := range words[column] {
			if digit < '0' || digit > '9' || n > 1<<59 {
				return 0
			}
			n = 10*n + int64(digit-'0')
		}
	}
	return n
}

// members says which hosts have joined a group, by index, ascending.
type members map[netip.Addr][]int

func (m members) equal(o members) bool {
	if len(m) != len(o) {
		return false
	}
	for g, hosts := range m {
		if !slices.Equal(hosts, o[g]) {
			return false
		}
	}
	return true
}
