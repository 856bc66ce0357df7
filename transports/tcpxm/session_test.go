package tcpxm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/topology"
)

// outcome is what a receiver has read.
type outcome struct {
	n     int64
	sum   [32]byte
	err   error
	stats ReceiverStats
}

// hosts are the ends of a session on real or simulated sockets.
type hosts struct {
	tb        testing.TB
	dests     []Destination
	receivers []*Receiver
	outcomes  []outcome
	reading   sync.WaitGroup
}

// listen opens a receiver.
func (h *hosts) listen(nw netx.Network, addr string, cfg ReceiverConfig) *Receiver {
	h.tb.Helper()
	i := len(h.receivers)
	cfg.Tag, cfg.Secret, cfg.Group, cfg.GroupPort = 5, Secret{1, byte(i)}, Secret{2}, groupAt.Port()
	r, err := Listen(context.Background(), nw, "udp", addr, cfg)
	if err != nil {
		h.tb.Fatal(err)
	}
	h.receivers = append(h.receivers, r)
	h.dests = append(h.dests, Destination{r.Addr().(*net.UDPAddr).AddrPort(), Secret{1, byte(i)}})
	return r
}

// read has all receivers read to the end.
func (h *hosts) read() {
	h.outcomes = make([]outcome, len(h.receivers))
	for i, r := range h.receivers {
		h.reading.Go(func() {
			o, sum := &h.outcomes[i], sha256.New()
			o.n, o.err = io.Copy(sum, r)
			o.sum = [32]byte(sum.Sum(nil))
			o.err = errors.Join(o.err, r.Close())
			o.stats = r.Stats()
		})
	}
}

// config is that of the sender.
func config() Config { return Config{Tag: 5, Secret: Secret{2}, Group: groupAt} }

// check demands that a receiver has read all.
func (h *hosts) check(i int, data payload, size int64) {
	h.tb.Helper()
	if o := h.outcomes[i]; o.err != nil || o.n != size || o.sum != data.sum(size) {
		h.tb.Errorf("receiver %d: %d bytes of %d, the right ones: %v, %v", i, o.n, size, o.sum == data.sum(size), o.err)
	}
}

// simulated makes a network of hosts that have multicast.
func simulated(t *testing.T, n int) *netsim.Network {
	t.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf(`{"name": "h%d", "multicast": true, "link": {"rate": "50mbit", "delay": "5ms"}}`, i))
	}
	top, err := topology.Parse([]byte(`{"hosts": [` + strings.Join(names, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	nw, err := netsim.NewNetwork(top)
	if err != nil {
		t.Fatal(err)
	}
	return nw
}

func TestSessionOverSockets(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			nw := simulated(t, 4)
			h := &hosts{tb: t}
			for i := 1; i < 4; i++ {
				n := nw.Node(fmt.Sprint("h", i))
				h.listen(n, netip.AddrPortFrom(n.Addr(v6), 0).String(), ReceiverConfig{})
			}
			cfg := config()
			if v6 {
				cfg.Group = netip.MustParseAddrPort("[ff3e::4321:1234]:7000")
			}
			s, err := Dial(t.Context(), nw.Node("h0"), cfg, h.dests)
			if err != nil {
				t.Fatal(err)
			}
			h.read()
			data, size := payload{3}, int64(2_000_003)
			if n, err := io.Copy(s, io.NewSectionReader(data, 0, size)); n != size || err != nil {
				t.Fatalf("wrote %d, %v", n, err)
			}
			results, err := s.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h.reading.Wait()
			for i, r := range results {
				h.check(i, data, size)
				if !r.Complete || r.Err != nil || r.GroupBytes < size/2 || r.Acked != size {
					t.Errorf("receiver %d: %+v", i, r)
				}
			}
			if c := s.Counters(); c.GroupPackets < size/1500 || c.UnicastBytes > 4*3*probeBytes {
				t.Errorf("%+v", c)
			}
			if _, err := s.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("writing behind the end: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := simulated(t, 4)
		h := &hosts{tb: t}
		for i := 1; i < 4; i++ {
			h.listen(nw.Node(fmt.Sprint("h", i)), ":6000", ReceiverConfig{Dead: 5 * time.Second})
			h.dests[i-1].Addr = netip.AddrPortFrom(nw.Node(fmt.Sprint("h", i)).Addr(false), 6000)
		}
		s, err := Dial(t.Context(), nw.Node("h0"), config(), h.dests)
		if err != nil {
			t.Fatal(err)
		}
		t.Log("# one reader gives up, one is dropped by the sender, one is left when it closes")
		if _, err := s.Write(make([]byte, 300_000)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(h.receivers[0], make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		if err := h.receivers[0].Close(); err != nil {
			t.Fatal(err)
		}
		s.Drop(1)
		if _, err := io.Copy(io.Discard, h.receivers[1]); !errors.Is(err, ErrAborted) {
			t.Errorf("the dropped one: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s.Results()
		results, err := s.Wait(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting: %v", err)
		}
		if a, b := results[0].Err, results[1].Err; !errors.Is(a, ErrAborted) || !errors.Is(b, ErrIncomplete) {
			t.Errorf("%v, %v", a, b)
		}
		s.Close()
		if n, err := io.Copy(io.Discard, h.receivers[2]); n == 300_000 && err == nil {
			t.Log("# the last one had all")
		} else if !errors.Is(err, ErrAborted) {
			t.Errorf("the one that was left: %d, %v", n, err)
		}
		for _, r := range h.receivers[1:] {
			r.Close()
		}
		if _, err := s.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing to what is closed: %v", err)
		}
		if _, err := h.receivers[0].Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading from what is closed: %v", err)
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := simulated(t, 2)
		cfg := config()
		cfg.Connect = 3 * time.Second
		began := time.Now()
		_, err := Dial(t.Context(), nw.Node("h0"), cfg, []Destination{{netip.AddrPortFrom(nw.Node("h1").Addr(false), 6000), Secret{1}}})
		if took := time.Since(began); !errors.Is(err, ErrTimeout) || took > 4*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		h := &hosts{tb: t}
		r := h.listen(nw.Node("h1"), ":6000", ReceiverConfig{Dead: 2 * time.Second})
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, ErrTimeout) {
			t.Errorf("reading from nobody: %v", err)
		}
		r.Close()
	})
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	for _, c := range []Config{
		{}, {Tag: 1, Control: "nobody"}, {Tag: 1, Payload: 5}, {Tag: 1, Group: netip.MustParseAddrPort("10.0.0.1:5")},
		{Tag: 1, Retain: 5}, {Tag: 1, Dead: -1}, {Tag: 1, TTL: 300}, {Tag: 1, Cipher: 9}, {Tag: 1, Source: payload{}, Size: -1},
	} {
		if _, err := c.validate(); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	for _, c := range []ReceiverConfig{{}, {Tag: 1, Window: 5}, {Tag: 1, Dead: -1}, {Tag: 1, Cipher: 9}} {
		if _, err := c.validate(); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// TestSessionGrows sends a source that becomes longer while it is sent.
func TestSessionGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := simulated(t, 4)
		h := &hosts{tb: t}
		for i := 1; i < 4; i++ {
			n := nw.Node(fmt.Sprint("h", i))
			h.listen(n, netip.AddrPortFrom(n.Addr(false), 0).String(), ReceiverConfig{})
		}
		data, size := payload{9}, int64(4_000_003)
		cfg := config()
		cfg.Source, cfg.Growing = data, true
		s, err := Dial(t.Context(), nw.Node("h0"), cfg, h.dests)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		h.read()
		for at := int64(0); at < size; {
			if err := s.Hungry(t.Context(), 300_000); err != nil {
				t.Fatal(err)
			}
			n := min(size-at, 77_777)
			s.Extend(n)
			if at += n; at > size/2 && at < size/2+n {
				time.Sleep(3 * time.Second) // all is sent meanwhile
			}
		}
		results, err := s.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h.reading.Wait()
		s.Extend(5) // too late
		for i, r := range results {
			h.check(i, data, size)
			if !r.Complete || !r.Connected || r.GroupBytes < size*8/10 || r.GroupPackets < r.GroupBytes/2000 {
				t.Errorf("receiver %d: %+v", i, r)
			}
		}
	})
}
