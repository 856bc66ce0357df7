package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// probeMTU is how datagrams are sent: never cut, whatever routers say of late.
const probeMTU = netx.Probe

// Constants of the search.
const (
	// mtuTries is how often a size is tried: what is lost must not look too long.
	mtuTries = 3
	// mtuGap lies between datagrams of the search, so that they do not fill the
	// queue of a slow link. Ours: 2.4 Mbit/s.
	mtuGap = 5 * time.Millisecond
	// mtuEach is how many sizes are tried at once. Ours: three rounds of them tell
	// sizes apart that differ by a byte in 4096.
	mtuEach                     = 16
	ipv4Head, ipv6Head, udpHead = 20, 40, 8
)

// commonMTU are sizes of IP packets that links take: those of IPv6 at least, of
// tunnels, of PPPoE, of Ethernet, of FDDI, and of jumbo frames.
var commonMTU = []int{1280, 1400, 1420, 1450, 1480, 1492, 1500, 4352, 8900, 9000}

// headers is what IP and UDP add to a datagram.
func headers(a netip.Addr) int {
	if a.Is4() || a.Is4In6() {
		return ipv4Head + udpHead
	}
	return ipv6Head + udpHead
}

// firstLink is the largest packet that the first link to a peer takes; 0: not known.
func firstLink(ctx context.Context, n netx.Network, to netip.AddrPort) int {
	if s, ok := n.(interface {
		PathMTU(context.Context, netip.AddrPort) (int, error)
	}); ok {
		if mtu, err := s.PathMTU(ctx, to); err == nil {
			return mtu
		}
	}
	return 0
}

// findMTU searches the largest packet that goes to a peer and back: first what the
// link takes, then common sizes, then what lies between. It returns 0 if not even
// the smallest one came back. Source: RFC 8899, whose probes these are, but many at
// once, so that the search takes about four round trips.
func findMTU(ctx context.Context, p *port, to netip.AddrPort, link int, rtt time.Duration) int {
	if most := largest + headers(to.Addr()); link == 0 || link > most {
		link = most
	}
	best := tryMTU(ctx, p, to, []int{link}, rtt)
	if best == link {
		return best
	}
	sizes := slices.DeleteFunc(slices.Clone(commonMTU), func(n int) bool { return n >= link })
	best = tryMTU(ctx, p, to, sizes, rtt)
	if best == 0 {
		return 0
	}
	next := link
	if i := slices.Index(sizes, best) + 1; i < len(sizes) {
		next = sizes[i]
	}
	for next-best > 1 && ctx.Err() == nil {
		sizes = sizes[:0]
		for i := 1; i <= mtuEach; i++ {
			if n := best + (next-best)*i/(mtuEach+1); n > best && !slices.Contains(sizes, n) {
				sizes = append(sizes, n)
			}
		}
		got := tryMTU(ctx, p, to, sizes, rtt)
		i := slices.Index(sizes, got)
		if i+1 < len(sizes) {
			next = sizes[i+1]
		}
		if i >= 0 {
			best = got
		}
	}
	// A busy moment of a host looks like a size that does not pass.
	if got := tryMTU(ctx, p, to, []int{link}, rtt); got > best {
		return got
	}
	return best
}

// tryMTU sends echoes of some sizes, each several times, and gives the largest one
// that was answered; 0 if none was. Sizes are of IP packets and ascend.
func tryMTU(ctx context.Context, p *port, to netip.AddrPort, sizes []int, rtt time.Duration) int {
	over := headers(to.Addr())
	answers := make([][]<-chan echoed, len(sizes))
	for range mtuTries {
		for i := len(sizes) - 1; i >= 0; i-- {
			if came(answers[i]) {
				continue
			}
			_, ch, err := p.echo(to, sizes[i]-over)
			if errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, net.ErrClosed) {
				continue
			}
			if err == nil {
				answers[i] = append(answers[i], ch)
			}
			if !sleep(ctx, mtuGap) {
				return 0
			}
		}
	}
	// From the largest one down; all have been sent long before the last wait ends.
	deadline := time.Now().Add(patience(rtt))
	for i := len(sizes) - 1; i >= 0; i-- {
		for !came(answers[i]) && time.Now().Before(deadline) && len(answers[i]) > 0 {
			if !sleep(ctx, min(mtuGap, time.Until(deadline))) {
				return 0
			}
		}
		if came(answers[i]) {
			return sizes[i]
		}
	}
	return 0
}

// came tells whether one of the channels has something; nothing is taken.
func came(list []<-chan echoed) bool {
	return slices.ContainsFunc(list, func(ch <-chan echoed) bool { return len(ch) > 0 })
}

// patience is how long an answer may take on a path: what echoes took, half as
// much again for queues, and what a busy host needs.
func patience(rtt time.Duration) time.Duration { return rtt*3/2 + 200*time.Millisecond }

// sleep waits, or until ctx ends; it reports whether it waited.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
