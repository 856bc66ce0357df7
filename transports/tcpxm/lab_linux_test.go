package tcpxm

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/lab"
	"github.com/gomover/gomover/internal/lab/labtest"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/topology"
)

// inside is the network of a host of the lab.
type inside struct{ host string }

func (n inside) Listen(ctx context.Context, network, addr string) (l net.Listener, err error) {
	err = lab.InHost(n.host, func() (err error) {
		l, err = (&netx.System{}).Listen(ctx, network, addr)
		return err
	})
	return l, err
}

func (n inside) Dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = lab.InHost(n.host, func() (err error) {
		c, err = (&netx.System{}).Dial(ctx, network, addr)
		return err
	})
	return c, err
}

func (n inside) ListenPacket(ctx context.Context, network, addr string) (c net.PacketConn, err error) {
	err = lab.InHost(n.host, func() (err error) {
		c, err = (&netx.System{}).ListenPacket(ctx, network, addr)
		return err
	})
	return c, err
}

// TestKernelMulticast moves some MB to three receivers through a lab: hosts that are
// network namespaces, whose kernels do the multicast, with IGMP and MLD; one link
// loses. On a machine that is busy anybody may seem slow, so nobody is dropped for that.
func TestKernelMulticast(t *testing.T) {
	l := labtest.Start(t, `{"hosts": [
		{"name": "h0", "multicast": true, "link": {"rate": "100mbit", "delay": "5ms"}},
		{"name": "h1", "multicast": true, "link": {"rate": "200mbit", "delay": "5ms"}},
		{"name": "h2", "multicast": true, "link": {"rate": "200mbit", "delay": "5ms"}},
		{"name": "h3", "multicast": true, "link": {"rate": "200mbit", "delay": "5ms"}}]}`)
	l.Set("h1.down", "loss=0.5%")
	for _, tt := range []struct {
		name  string
		v6    bool
		group string // the port is that of all tests
		size  int64
	}{
		{"IPv4, one source", false, "232.0.1.7", 20_000_000},
		{"IPv4, any source", false, "239.192.1.7", 5_000_000},
		{"IPv6, one source", true, "ff3e::8000:107", 5_000_000},
		{"IPv6, any source", true, "ff1e::107", 5_000_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := l.Stats().Link("h0.up")
			h := &hosts{tb: t}
			for i := 1; i < 4; i++ {
				name := fmt.Sprint("h", i)
				h.listen(inside{name}, netip.AddrPortFrom(topology.Address(i, tt.v6), 0).String(), ReceiverConfig{})
			}
			data := payload{8}
			cfg := config()
			cfg.Group = netip.AddrPortFrom(netip.MustParseAddr(tt.group), groupAt.Port())
			cfg.Source, cfg.Size, cfg.Slow = data, tt.size, SlowWait
			h.read()
			began := time.Now()
			s, err := Dial(t.Context(), inside{"h0"}, cfg, h.dests)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			results, err := s.Wait(ctx)
			if err != nil {
				t.Error(err)
			}
			took := time.Since(began)
			h.reading.Wait()
			for i, r := range results {
				h.check(i, data, tt.size)
				if !r.Complete || r.GroupBytes < tt.size/2 {
					t.Errorf("receiver %d: %+v", i, r)
				}
				t.Logf("# receiver %d: %+v; %+v", i, r, h.outcomes[i].stats)
			}
			c, up := s.Counters(), l.Stats().Link("h0.up")
			t.Logf("# %v, %.1f Mbit/s, %+v", took, float64(tt.size)*8e-6/took.Seconds(), c)
			sent := up.Unicast.Bytes + up.Multicast.Bytes - before.Unicast.Bytes - before.Multicast.Bytes
			if got := float64(sent) / float64(tt.size); got > 2 {
				t.Errorf("%.3f times the size has left the sender", got)
			}
		})
	}
}
