package tcpxm

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
)

const ms = time.Millisecond

// mbit gives a rate of so many Mbit/s.
func mbit(n float64) units.Rate { return units.Rate(n * 1e6 / 8) }

// payload is what is sent: numbers, so that any part can be made anew.
type payload struct{ salt uint64 }

func (p payload) ReadAt(b []byte, off int64) (int, error) {
	var word [8]byte
	for i := 0; i < len(b); {
		at := off + int64(i)
		x := uint64(at/8)*0x9e3779b97f4a7c15 + p.salt
		x ^= x >> 29
		binary.LittleEndian.PutUint64(word[:], x*0xbf58476d1ce4e5b9)
		i += copy(b[i:], word[at%8:])
	}
	return len(b), nil
}

// sum is the hash of the first bytes.
func (p payload) sum(n int64) [32]byte {
	h := sha256.New()
	b := make([]byte, 1<<20)
	for off := int64(0); off < n; off += int64(len(b)) {
		k := min(int64(len(b)), n-off)
		p.ReadAt(b[:k], off)
		h.Write(b[:k])
	}
	return [32]byte(h.Sum(nil))
}

// site is a receiver's host in a world.
type site struct {
	up, down netsim.Params
	deaf     bool // joins, but hears no group
	plain    bool // knows of no multicast
	window   int64
}

// world is a sender and receivers in a simulated network.
type world struct {
	t     testing.TB
	w     *netsim.World
	s     *session
	home  *netsim.Host
	sock  *netsim.Socket
	out   outbox
	timer *netsim.Timer
	sites []*station
	data  payload
	size  int64
	first time.Duration // first datagram with data
	spoil func(b []byte)
	only  bool // no group but the first one can be joined
}

// station is a receiver at work.
type station struct {
	x      *world
	site   site
	host   *netsim.Host
	r      *receiver
	sock   *netsim.Socket
	group  *netsim.Socket
	out    outbox
	timer  *netsim.Timer
	sum    hash.Hash
	got    int64
	done   time.Duration // when all was read; -1 is not
	dead   bool
	paused bool
	buf    []byte
}

var groupAt = netip.MustParseAddrPort("232.1.2.3:7000")

// build makes a world. Errors end the test.
func build(t testing.TB, seed uint64, home netsim.Params, cfg Config, sites []site) *world {
	t.Helper()
	x := &world{t: t, w: netsim.NewWorld(seed), data: payload{seed}, size: cfg.Size, first: -1}
	if cfg.Size > 0 {
		cfg.Source = x.data
	}
	cfg.Tag, cfg.Secret = 77, Secret{1}
	var err error
	if cfg, err = cfg.validate(); err != nil {
		t.Fatal(err)
	}
	if x.home, err = x.w.AddHost("home", home, netsim.Params{Delay: home.Delay}); err != nil {
		t.Fatal(err)
	}
	if x.sock, err = x.home.Listen(0, x.handle); err != nil {
		t.Fatal(err)
	}
	x.timer = x.w.NewTimer(x.pump)
	var dests []Destination
	for i, s := range sites {
		st := x.station(i, s, cfg.Group.IsValid())
		dests = append(dests, Destination{st.sock.LocalAddr(), Secret{2, byte(i)}})
	}
	keys := byte(100)
	x.s, err = newSession(cfg, dests, 0, seed, func() Secret { keys++; return Secret{keys} })
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *world) station(i int, s site, multicast bool) *station {
	x.t.Helper()
	st := &station{x: x, site: s, sum: sha256.New(), done: -1, buf: make([]byte, 64<<10)}
	var err error
	if st.host, err = x.w.AddHost(fmt.Sprintf("r%d", i), s.up, s.down); err != nil {
		x.t.Fatal(err)
	}
	cfg := ReceiverConfig{Tag: 77, Secret: Secret{2, byte(i)}, Group: Secret{1}, Window: s.window}
	if multicast && !s.plain {
		cfg.GroupPort = groupAt.Port()
	}
	if cfg, err = cfg.validate(); err != nil {
		x.t.Fatal(err)
	}
	st.r = newReceiver(cfg, st, 0, 0x1000*uint32(i))
	if st.sock, err = st.host.Listen(5000, func(now time.Duration, d netsim.Datagram) { st.take(now, d, false) }); err != nil {
		x.t.Fatal(err)
	}
	if st.group, err = st.host.Listen(groupAt.Port(), func(now time.Duration, d netsim.Datagram) { st.take(now, d, true) }); err != nil {
		x.t.Fatal(err)
	}
	st.timer = x.w.NewTimer(st.pump)
	x.sites = append(x.sites, st)
	return st
}

func (st *station) join(group, source netip.Addr) error {
	if source != st.x.home.Addr() {
		return errors.New("a stranger's group")
	}
	if st.x.only && group != groupAt.Addr() {
		return errors.New("another group")
	}
	if !st.site.deaf {
		st.group.Join(group)
	}
	return nil
}

func (st *station) leave(group, _ netip.Addr) { st.group.Leave(group) }

func (st *station) take(now time.Duration, d netsim.Datagram, viaGroup bool) {
	if st.dead {
		return
	}
	st.r.receive(now, d.Src, d.Payload, viaGroup)
	st.pump()
}

func (st *station) pump() {
	if st.dead {
		return
	}
	now := st.x.w.Now()
	for range 100 {
		for !st.paused {
			n := st.r.take(st.buf)
			if n == 0 {
				break
			}
			st.sum.Write(st.buf[:n])
			st.got += int64(n)
		}
		if st.done < 0 && st.r.fullyRead() {
			st.done = now
			st.r.close(now)
		}
		st.r.collect(now, &st.out)
		for _, d := range st.out.ds {
			if err := st.sock.Send(d.Peer, d.B); err != nil {
				st.x.t.Fatal(err)
			}
		}
		st.out.reset()
		if d := st.r.deadline(); d > now {
			if d < never {
				st.timer.Reset(d)
			}
			return
		}
	}
	st.x.t.Fatalf("at %v: receiver %s does not come to rest", now, st.host.Name())
}

func (x *world) handle(now time.Duration, d netsim.Datagram) {
	x.s.receive(now, d.Src, d.Payload)
	x.pump()
}

func (x *world) pump() {
	now := x.w.Now()
	for range 100 {
		x.s.collect(now, &x.out)
		for _, d := range x.out.ds {
			if x.spoil != nil {
				x.spoil(d.B)
			}
			if err := x.sock.Send(d.Peer, d.B); err != nil {
				x.t.Fatal(err)
			}
		}
		if x.first < 0 && x.s.stats.UnicastBytes > 0 {
			x.first = now
		}
		x.out.reset()
		if d := x.s.deadline(now); d > now {
			if d < never {
				x.timer.Reset(d)
			}
			return
		}
	}
	x.t.Fatalf("at %v: the sender does not come to rest: %v", now, x.s.deadline(now))
}

// run lets everything happen until all receivers have come to an end, or a limit.
func (x *world) run(limit time.Duration) bool {
	x.t.Helper()
	x.pump()
	return x.w.RunUntil(limit, x.s.over)
}

// check demands that a receiver has everything, and that its sender knows.
func (x *world) check(i int) {
	x.t.Helper()
	st, p := x.sites[i], x.s.pcbs[i]
	if p.state != done || p.err != nil {
		x.t.Errorf("receiver %d: %v, %v, at %d of %d; read %d", i, p.state, p.err, p.acked, x.size, st.got)
	}
	if want := x.data.sum(x.size); st.got != x.size || [32]byte(st.sum.Sum(nil)) != want {
		x.t.Errorf("receiver %d has %d bytes of %d, and the right ones: %v", i, st.got, x.size, st.got == x.size)
	}
}

// goodput gives that of a receiver in Mbit/s, from the first data to its last byte.
func (x *world) goodput(i int) float64 {
	return float64(x.size) * 8 / 1e6 / (x.sites[i].done - x.first).Seconds()
}

// wire is what has left the sender, to the size of what it has sent.
func (x *world) wire() float64 {
	return float64(x.home.Up().Link().Counters().Offered.Bytes) / float64(x.size)
}

// same gives so many equal sites.
func same(n int, s site) []site {
	l := make([]site, n)
	for i := range l {
		l[i] = s
	}
	return l
}

// line is a link without a rate of its own, and a gigabit at the receivers.
func line(delay time.Duration, loss float64) site {
	return site{up: netsim.Params{Delay: delay}, down: netsim.Params{Rate: mbit(1000), Delay: delay, Loss: loss}}
}

// tell logs how it went.
func (x *world) tell() {
	x.t.Helper()
	c := x.s.stats
	x.t.Logf("# at %v: wire %.4f, group %d packets, unicast %d, coded %d, resent %d, controls %d", x.w.Now(), x.wire(), c.GroupPackets, c.UnicastPackets, c.CodedPackets, c.ResentPackets, c.ControlPackets)
	for i, p := range x.s.pcbs {
		r := x.sites[i].r
		x.t.Logf("# %d: %v %v, goodput %.2f, forward %d back %d, lost %d resent %d, rtt %v min %v, rebuilt %d dup %d outside %d forged %d", i, p.state, p.mode, x.goodput(i), p.counts.Forwards, p.counts.Fallbacks, p.counts.Lost, p.counts.Resent, p.est.smooth, p.est.min, r.stats.Rebuilt, r.stats.Duplicates, r.stats.Outside, r.stats.Forged)
	}
}
