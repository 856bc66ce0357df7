package probe

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/host"
)

// TestLoopback runs both ends over real sockets: several times if need be, since what is
// measured while others have the processor is not what loopback can do.
func TestLoopback(t *testing.T) {
	var wrong []string
	for range 5 {
		if wrong = loopback(t); len(wrong) == 0 {
			return
		}
		t.Logf("# %q", wrong)
	}
	t.Errorf("%q", wrong)
}

// loopback measures once, and tells what is not as it should be.
func loopback(t *testing.T) (wrong []string) {
	t.Helper()
	lo := netip.MustParseAddr("127.0.0.1")
	p := &Params{Network: new(netx.System), IPv4: true, Own: []netip.Addr{lo}, Peers: []netip.Addr{lo}, Dir: t.TempDir(), Bytes: 8 << 20,
		Facts: func(a host.Ask) host.Facts { return host.Gather(context.Background(), a) }}
	p.FarDir = p.Dir
	a, b := newLink()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Serve(t.Context(), b, p); err != nil {
			t.Errorf("the answering end: %v", err)
		}
	})
	r, err := Measure(t.Context(), a, p)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("# took %v, RTT %+v, there %+v, back %+v", r.Took, r.RTT, r.There, r.Back)
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if r.RTT.N == 0 || r.RTT.Min > 5*time.Millisecond || r.Offset.Abs() > 50*time.Millisecond {
		say("round trip: got %+v, offset %v", r.RTT, r.Offset)
	}
	if r.MTU != min(r.Link, largest+28) {
		say("MTU: got %d of %d", r.MTU, r.Link)
	}
	if !r.TCPOut.OK || !r.TCPIn.OK || !r.UDPOut.OK || !r.UDPIn.OK {
		say("ports: got %+v %+v %+v %+v", r.TCPOut, r.TCPIn, r.UDPOut, r.UDPIn)
	}
	// What loopback can do is what the processor can; a number there is no more than
	// a bound, and often there is none.
	for _, d := range []Direction{r.There, r.Back} {
		if d.Verdict != estimate.Unusable && d.Rate < 12_500_000 || d.Verdict == estimate.Unusable && d.Why == "" {
			say("capacity: got %+v", d)
		}
	}
	if r.Here.Disk.Bytes == 0 || r.Far.Disk.Bytes == 0 || r.Far.Network.Name == "" {
		say("facts: got %+v and %+v", r.Here, r.Far)
	}
	if r.Bytes > 16<<20 {
		t.Errorf("%d bytes are beyond the budget", r.Bytes)
	}
	return wrong
}
