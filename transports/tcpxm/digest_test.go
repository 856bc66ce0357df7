package tcpxm

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// TestDigestsInTurn tells the digests of the same blocks to each receiver at a time of
// its own, and none later than it may be.
func TestDigestsInTurn(t *testing.T) {
	const receivers = 10
	var dests []Destination
	for i := range receivers {
		dests = append(dests, Destination{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 1), Secret: Secret{byte(i + 1)}})
	}
	cfg, err := Config{Tag: 1}.validate()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSession(cfg, dests, 0, 1, newSecret)
	if err != nil {
		t.Fatal(err)
	}
	digest := func(block int) segment.Digest {
		return segment.Digest{Start: int64(block) * coding.K * s.stream.slot, Len: 1}
	}
	for _, now := range []time.Duration{time.Second, time.Second + digestDelay/3, time.Minute} {
		var at []time.Duration
		for _, p := range s.pcbs {
			p.digest = nil
			p.owe(now, digest(0))
			d := p.digestsAt()
			if d <= now || d > now+digestDelay {
				t.Errorf("at %v receiver %d is told at %v", now, p.index, d)
			}
			at = append(at, d)
		}
		slices.Sort(at)
		for i := range at[1:] {
			if gap := at[i+1] - at[i]; gap != digestDelay/receivers {
				t.Errorf("at %v they are told at %v", now, at)
				break
			}
		}
	}
	// Where many blocks come within that time receivers are told after as many each, and
	// not all after the same one.
	last := map[int]int{}
	for _, p := range s.pcbs {
		p.digest = nil
		told := 0
		for block := range 20 * digestsTogether {
			p.owe(time.Minute, digest(block))
			if p.digestsAt() > 0 {
				continue
			}
			told++
			if n := len(p.digest); told > 1 && n != digestsTogether {
				t.Fatalf("receiver %d is told %d digests together", p.index, n)
			}
			last[p.index] = block % digestsTogether
			p.digest = nil
		}
	}
	if len(last) != receivers || last[0] == last[5] || last[1] == last[9] {
		t.Errorf("they are told after blocks %v of %d", last, digestsTogether)
	}
}
