package peer

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Ports and groups of the multicast programs. Groups are administratively scoped
// (RFC 2365).
const (
	uftpPort       = 1044 // uftp's default
	udpcastPort    = 9600 // must be even
	rendezvous     = "239.77.0.1"
	dataGroup      = "239.77.0.2"
	multicastHops  = "8" // beyond the next router, which 1 would not pass
	socketBuffer   = 8 << 20
	multicastShare = 95 // percent of the rate of the link, with headers left out
)

// Ways to run uftp: its default is a rate of 1 Mbit/s.
const (
	uftpRate    = "-R 95% of the link"
	uftpFree    = "-R -1, as fast as the interface takes it"
	uftpControl = "-C tfmcc"
)

// uftp sends to a group, then what was missed, pass by pass.
func uftp() Program {
	return Program{
		Name: "UFTP", Packages: []string{"uftp"}, Needs: []string{"uftp", "uftpd"}, Note: "multicast, without encryption",
		Variants: []string{uftpRate, uftpFree, uftpControl}, DefaultBytes: 256 << 10,
		Plan: func(t Transfer, s Settings) Plan {
			buffer := strconv.Itoa(socketBuffer)
			var p Plan
			var ids []string
			for i, to := range t.To {
				args := []string{"uftpd", "-d", "-I", t.Interface, "-D", t.Dirs[i]}
				if !s.Default() {
					args = append(args, "-B", buffer)
				}
				p.Servers = append(p.Servers, Server{Protocol: "udp", Port: uftpPort, Command: Command{Host: to.Name, Args: args}})
				ids = append(ids, clientID(to.Address))
			}
			args := []string{"uftp", "-I", t.Interface, "-t", multicastHops, "-H", strings.Join(ids, ",")}
			switch s.Variant {
			case uftpRate:
				args = append(args, "-B", buffer, "-R", kilobits(t.RateBits))
			case uftpFree:
				args = append(args, "-B", buffer, "-R", "-1")
			case uftpControl:
				args = append(args, "-B", buffer, "-C", "tfmcc")
			}
			p.Client = Command{Host: t.From[0].Name, Args: append(args, t.Source)}
			return p
		},
	}
}

// kilobits is what a multicast program may send of a link's rate; of an unlimited
// one 1 Gbit/s.
func kilobits(rate int64) string {
	if rate == 0 {
		rate = 1e9
	}
	return strconv.FormatInt(rate/1000*multicastShare/100, 10)
}

// clientID is how uftp calls a client: its IPv4 address as a number.
func clientID(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || !a.Is4() {
		return "0x00000000"
	}
	b := a.As4()
	return fmt.Sprintf("0x%02X%02X%02X%02X", b[0], b[1], b[2], b[3])
}

// Ways to run udpcast.
const (
	udpcastRate   = "--max-bitrate 95% of the link"
	udpcastSlices = "--full-duplex, slices of 1024 blocks"
	udpcastAsync  = "--async, 95% of the link, fec 8x8/128"
)

// udpcast waits for its receivers, then sends slices that each acknowledges. With
// --async nothing comes back, and what is lost beyond the redundancy stays lost.
func udpcast() Program {
	return Program{
		Name: "udpcast", Packages: []string{"udpcast"}, Needs: []string{"udp-sender", "udp-receiver"}, Note: "multicast, without encryption",
		Variants: []string{udpcastSlices, udpcastRate, udpcastAsync},
		Plan: func(t Transfer, s Settings) Plan {
			base := []string{"--nokbd", "--interface", t.Interface, "--portbase", strconv.Itoa(udpcastPort), "--mcast-rdv-address", rendezvous}
			var p Plan
			for i, to := range t.To {
				args := append([]string{"udp-receiver"}, base...)
				if !s.Default() {
					args = append(args, "--rcvbuf", strconv.Itoa(socketBuffer))
				}
				p.Servers = append(p.Servers, Server{Protocol: "udp", Port: udpcastPort, Ends: true, Command: Command{
					Host: to.Name, Args: append(args, "--file", t.target(i)),
				}})
			}
			args := append([]string{"udp-sender"}, base...)
			args = append(args, "--mcast-data-address", dataGroup, "--ttl", multicastHops)
			rate := kilobits(t.RateBits) + "k"
			switch s.Variant {
			case udpcastSlices:
				args = append(args, "--full-duplex", "--slice-size", "1024", "--max-slice-size", "1024")
			case udpcastRate:
				args = append(args, "--max-bitrate", rate)
			}
			if s.Variant == udpcastAsync {
				args = append(args, "--async", "--max-bitrate", rate, "--fec", "8x8/128", "--autostart", "1")
			} else {
				args = append(args, "--min-receivers", strconv.Itoa(len(t.To)), "--max-wait", "10")
			}
			p.Client = Command{Host: t.From[0].Name, Args: append(args, "--file", t.Source)}
			return p
		},
	}
}
