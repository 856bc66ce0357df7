package netsim

import (
	"bytes"
	"math"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/tcp"
)

// TestTransportOverLossyPath moves frames with the real TCP transport, hello,
// sealing and all, over simulated streams: RTT 100 ms, 1% loss. Four streams
// share the work; each is held to the model of Mathis and others (1997).
func TestTransportOverLossyPath(t *testing.T) {
	const streams, frames, body = 4, 16, 64 << 10
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", `, "link": {"rate": "100mbit", "delay": "25ms"}, "up": {"loss": "1%"}`, `, "link": {"rate": "100mbit", "delay": "25ms"}`)
		params := func(host string) transports.Params {
			return transports.Params{Net: n.Node(host), Secret: [32]byte{1, 2, 3}, MaxBody: body, Known: []netip.Addr{n.Node(host).Addr(false)}}
		}
		listening := params("h1")
		listening.Listen = true
		far, err := tcp.New(t.Context(), listening)
		if err != nil {
			t.Fatal(err)
		}
		near, err := tcp.New(t.Context(), params("h0"))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() {
				s, err := near.Dial(t.Context(), far.Offer(), uint32(i))
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				f := transports.NewFrame(body)
				for k := range frames {
					copy(f.Resize(body), noise(uint64(i*frames+k), body))
					if err := s.Send(f); err != nil {
						t.Error(err)
						return
					}
				}
				s.Recv(f) // until the other end has all and closes
			})
			wg.Go(func() {
				s, err := far.Accept(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				f := transports.NewFrame(body)
				for k := range frames {
					if err := s.Recv(f); err != nil {
						t.Errorf("frame %d of stream %d: %v", k, s.ID(), err)
						return
					}
					if !bytes.Equal(f.Body(), noise(uint64(int(s.ID())*frames+k), body)) {
						t.Errorf("frame %d of stream %d is not as sent", k, s.ID())
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(start).Seconds()
		near.Close()
		far.Close()
		want := frames * body / (1448 / 0.1 * math.Sqrt(1.5/0.01))
		if took < want*0.5 || took > want*2 {
			t.Errorf("took %.2f s, the model has %.2f s", took, want)
		}
	})
}
