package cc

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
)

// What a test packet takes of a link, and of it, what the test's headers take.
const (
	packetSize = 1500
	payload    = packetSize - 28
	headerLen  = 16
	// reorderTolerance is how many later packets arrive before one is lost.
	reorderTolerance = 3
	peerWindow       = 1 << 16 // packets, of the test's receiver
)

// bottleneck is a linkneck that all senders of a test share.
type bottleneck struct {
	rate  units.Rate
	rtt   time.Duration
	queue time.Duration
	loss  float64
	seed  uint64
}

// mbit gives a rate of so many Mbit/s.
func mbit(n float64) units.Rate { return units.Rate(n * 1e6 / 8) }

// dumbbell is a world of a bottleneck, and what sends through it.
type dumbbell struct {
	t     *testing.T
	b     bottleneck
	w     *netsim.World
	hop   *netsim.Hop
	hosts int
	peers []*sender
}

func newDumbbell(t *testing.T, b bottleneck) *dumbbell {
	t.Helper()
	if b.seed == 0 {
		b.seed = 1
	}
	d := &dumbbell{t: t, b: b, w: netsim.NewWorld(b.seed)}
	hop, err := d.w.AddLink("bottleneck", netsim.Params{Rate: b.rate, Queue: netsim.Limit{Time: b.queue}, Loss: b.loss})
	if err != nil {
		t.Fatal(err)
	}
	d.hop = hop
	return d
}

// pair adds a sender's and a receiver's host with an RTT between them.
func (d *dumbbell) pair(rtt time.Duration) (from, to *netsim.Host) {
	d.t.Helper()
	line := netsim.Params{Delay: rtt / 4}
	var made [2]*netsim.Host
	for i := range made {
		h, err := d.w.AddHost(fmt.Sprintf("h%d", d.hosts), line, line)
		if err != nil {
			d.t.Fatal(err)
		}
		d.hosts++
		made[i] = h
	}
	d.w.Route(made[0], made[1], d.hop)
	return made[0], made[1]
}

// tcp adds a modelled TCP connection.
func (d *dumbbell) tcp(c netsim.Control, start time.Duration) *netsim.Flow {
	d.t.Helper()
	from, to := d.pair(d.b.rtt)
	f, err := d.w.AddFlow(from, to, netsim.FlowConfig{Name: fmt.Sprintf("tcp%d", d.hosts), Control: c, Start: start})
	if err != nil {
		d.t.Fatal(err)
	}
	return f
}

// outgoing is a packet of a sender.
type outgoing struct {
	mark  Mark
	sent  time.Duration
	tx    int64 // number of its last sending
	state byte
	seen  bool // arrived, perhaps behind a gap
}

const (
	flying byte = iota
	lost
	arrived
)

// sender is a minimal reliable sender of packets, ruled by a controller, and its
// receiver. Each acknowledgement names what has arrived since the one before, so
// lost ones only delay; the receiver repeats the positions of the last round.
type sender struct {
	d       *dumbbell
	ctl     Controller
	stats   Stats
	sampler Sampler
	near    *netsim.Socket
	far     *netsim.Socket
	dst     netip.AddrPort
	buf     []byte

	packets []outgoing
	flight  []flightEntry // by order of sending
	repeat  []int64
	tx      int64
	sendAt  time.Duration
	pacer   *netsim.Timer
	rto     *netsim.Timer
	backoff int
	settled int64      // with inOrder: packets before it are delivered
	rate    units.Rate // of the application; 0 is no limit
	// inOrder: only what arrived in order counts as delivered, as with the
	// acknowledgements of UDT; what is behind a gap is in flight.
	inOrder bool
	started time.Duration

	// The receiver.
	got      map[int64]bool
	cum      int64
	fresh    []byte
	ackEvery int
	ackWait  time.Duration
	acker    *netsim.Timer
	unique   int64

	// For judging.
	rttSum   time.Duration
	rttCount int64
	rttMax   time.Duration
}

type flightEntry struct{ pos, tx int64 }

// add adds a sender to the bottleneck. It begins at start.
func (d *dumbbell) add(c Controller, rtt, start time.Duration) *sender {
	d.t.Helper()
	from, to := d.pair(rtt)
	s := &sender{d: d, ctl: c, buf: make([]byte, payload), got: map[int64]bool{}, ackEvery: 2, ackWait: 10 * time.Millisecond}
	var err error
	if s.near, err = from.Listen(0, s.hear); err != nil {
		d.t.Fatal(err)
	}
	if s.far, err = to.Listen(0, s.receive); err != nil {
		d.t.Fatal(err)
	}
	s.dst = s.far.LocalAddr()
	s.pacer, s.rto = d.w.NewTimer(s.transmit), d.w.NewTimer(s.timeout)
	s.acker = d.w.NewTimer(s.acknowledge)
	s.started = start
	s.stats = Stats{MSS: packetSize, MaxWindow: peerWindow, Seed: netsim.SeedFor(d.b.seed, fmt.Sprint("sender", d.hosts)), RTT: 100 * time.Millisecond, RTTVar: 50 * time.Millisecond}
	d.w.At(start, func() {
		s.stats.Now = d.w.Now()
		s.ctl.Init(&s.stats)
		s.transmit()
	})
	d.peers = append(d.peers, s)
	return s
}

// control reads the controller and checks that it asks for nothing absurd.
func (s *sender) control() Control {
	c := s.ctl.Control()
	checkControl(s.d.t, c)
	return c
}

func checkControl(t testing.TB, c Control) {
	if c.Rate != 0 && (c.Rate < MinRate || c.Rate > MaxRate) || !(c.Window >= 1) || c.Window > MaxWindow || c.RTO < 0 || c.AckPeriod < 0 || c.AckInterval < 0 {
		t.Helper()
		t.Fatalf("control %+v is out of bounds", c)
	}
}

// may gives the next packet that may be sent.
func (s *sender) may(now time.Duration) (pos int64, ok bool) {
	for len(s.repeat) > 0 && s.packets[s.repeat[0]].state != lost {
		s.repeat = s.repeat[1:]
	}
	if len(s.repeat) > 0 {
		return s.repeat[0], true
	}
	if s.rate > 0 && float64(s.stats.Sent*packetSize) > float64(s.rate)*(now-s.started).Seconds() {
		return 0, false
	}
	return s.stats.Sent, s.stats.Sent-s.stats.Acked < peerWindow
}

func (s *sender) transmit() {
	now := s.d.w.Now()
	for {
		c := s.control()
		if float64(s.stats.InFlight+1) > math.Floor(c.Window) && s.stats.InFlight > 0 {
			return
		}
		if now < s.sendAt {
			s.pacer.Reset(s.sendAt)
			return
		}
		pos, ok := s.may(now)
		if s.stats.AppLimited = !ok; !ok {
			s.sampler.Starved(int64(s.stats.InFlight) * packetSize)
			s.pacer.Reset(now + time.Millisecond)
			return
		}
		s.send(now, pos)
		s.sendAt = max(s.sendAt, now-time.Millisecond) + c.Gap(packetSize)
	}
}

func (s *sender) send(now time.Duration, pos int64) {
	again := pos < s.stats.Sent
	if again {
		s.repeat = s.repeat[1:]
		s.stats.Resent++
	} else {
		s.packets = append(s.packets, outgoing{})
		s.stats.Sent++
	}
	s.tx++
	s.packets[pos] = outgoing{mark: s.sampler.Sent(now, s.stats.InFlight), sent: now, tx: s.tx}
	s.flight = append(s.flight, flightEntry{pos, s.tx})
	s.stats.InFlight++
	binary.BigEndian.PutUint64(s.buf, uint64(pos))
	binary.BigEndian.PutUint64(s.buf[8:], uint64(s.tx))
	if err := s.near.Send(s.dst, s.buf); err != nil {
		s.d.t.Fatal(err)
	}
	s.stats.Now = now
	s.ctl.OnSent(&s.stats, Packets{First: pos, Count: 1, Bytes: packetSize, Again: again})
	if _, ok := s.rto.Deadline(); !ok {
		s.arm(now)
	}
}

func (s *sender) arm(now time.Duration) {
	s.rto.Reset(now + max(200*time.Millisecond, s.stats.RTT+4*s.stats.RTTVar)<<min(s.backoff, 5))
}

func (s *sender) timeout() {
	if s.stats.InFlight == 0 {
		return
	}
	for _, e := range s.flight {
		if p := &s.packets[e.pos]; p.tx == e.tx && p.state == flying {
			p.state = lost
			s.repeat = append(s.repeat, e.pos)
			s.stats.Lost++
		}
	}
	s.flight, s.stats.InFlight = s.flight[:0], 0
	s.backoff++
	s.stats.Now = s.d.w.Now()
	s.ctl.OnTimeout(&s.stats)
	s.transmit()
}

// receive is the receiver.
func (s *sender) receive(_ time.Duration, g netsim.Datagram) {
	pos := int64(binary.BigEndian.Uint64(g.Payload))
	if !s.got[pos] {
		s.got[pos] = true
		s.unique++
	}
	for s.got[s.cum] {
		s.cum++
	}
	if len(s.fresh) == 0 {
		s.fresh = make([]byte, 8, 8+64*headerLen)
		s.acker.Reset(s.d.w.Now() + s.ackWait)
	}
	s.fresh = append(s.fresh, g.Payload[:headerLen]...)
	if n := (len(s.fresh) - 8) / headerLen; n >= s.ackEvery || n >= 64 {
		s.acknowledge()
	}
}

func (s *sender) acknowledge() {
	s.acker.Stop()
	binary.BigEndian.PutUint64(s.fresh, uint64(s.cum))
	if err := s.far.Send(s.near.LocalAddr(), s.fresh); err != nil {
		s.d.t.Fatal(err)
	}
	s.fresh = s.fresh[:0]
}

// hear handles an acknowledgement.
func (s *sender) hear(now time.Duration, g netsim.Datagram) {
	a, top := Ack{}, int64(0)
	s.stats.Acked = max(s.stats.Acked, int64(binary.BigEndian.Uint64(g.Payload)))
	for b := g.Payload[8:]; len(b) >= headerLen; b = b[headerLen:] {
		pos, tx := int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))
		p := &s.packets[pos]
		top = max(top, tx)
		if p.tx == tx {
			a.RTT = now - p.sent
		}
		p.seen = true
		if !s.inOrder {
			s.deliver(now, p, &a)
		}
	}
	for ; s.inOrder && s.settled < s.stats.Acked; s.settled++ {
		s.deliver(now, &s.packets[s.settled], &a)
	}
	a.Duplicate = a.Packets == 0
	s.measure(a.RTT)
	s.stats.Now, s.stats.Delivered = now, s.sampler.Delivered()
	a.Delivery = s.sampler.Sample(s.stats.MinRTT)
	s.backoff = 0
	if a.Delivery.Rate > 0 {
		s.stats.Reports++
		s.stats.ArrivalRate += (a.Delivery.Rate/packetSize - s.stats.ArrivalRate) / 8
		s.stats.Capacity = float64(s.d.b.rate) / packetSize
	}
	s.ctl.OnAck(&s.stats, &a)
	s.arm(now)
	s.detect(top)
	s.transmit()
}

// deliver counts a packet as delivered.
func (s *sender) deliver(now time.Duration, p *outgoing, a *Ack) {
	switch p.state {
	case arrived:
		return
	case flying:
		s.stats.InFlight--
	}
	p.state = arrived
	s.sampler.Deliver(now, p.mark, packetSize)
	a.Packets++
}

func (s *sender) measure(rtt time.Duration) {
	if rtt <= 0 {
		return
	}
	if s.stats.MinRTT == 0 {
		s.stats.RTT, s.stats.RTTVar, s.stats.MinRTT = rtt, rtt/2, rtt
	}
	s.stats.RTTVar = (3*s.stats.RTTVar + (rtt - s.stats.RTT).Abs()) / 4
	s.stats.RTT = (7*s.stats.RTT + rtt) / 8
	s.stats.MinRTT = min(s.stats.MinRTT, rtt)
	s.rttSum, s.rttCount, s.rttMax = s.rttSum+rtt, s.rttCount+1, max(s.rttMax, rtt)
}

// detect takes for lost what was sent before something that has arrived.
func (s *sender) detect(top int64) {
	l := Loss{}
	n := 0
	for ; n < len(s.flight) && s.flight[n].tx+reorderTolerance <= top; n++ {
		e := s.flight[n]
		p := &s.packets[e.pos]
		if p.tx != e.tx || p.state != flying || p.seen {
			continue
		}
		p.state = lost
		s.stats.InFlight--
		s.stats.Lost++
		s.repeat = append(s.repeat, e.pos)
		l.Packets++
		if k := len(l.Ranges); k > 0 && l.Ranges[k-1].Last == e.pos-1 {
			l.Ranges[k-1].Last++
		} else {
			l.Ranges = append(l.Ranges, Range{e.pos, e.pos})
		}
	}
	s.flight = s.flight[n:]
	if l.Packets > 0 {
		s.ctl.OnLoss(&s.stats, &l)
	}
}

// from runs the world to a time, and gives what each sender delivered from there
// to another time, as a share of the bottleneck's rate.
func (d *dumbbell) shares(from, to time.Duration) []float64 {
	d.w.Run(from)
	before := make([]int64, len(d.peers))
	for i, s := range d.peers {
		before[i] = s.unique
		s.rttSum, s.rttCount, s.rttMax = 0, 0, 0
	}
	d.w.Run(to)
	l := make([]float64, len(d.peers))
	for i, s := range d.peers {
		l[i] = float64((s.unique-before[i])*packetSize) / (float64(d.b.rate) * (to - from).Seconds())
	}
	return l
}

// meanQueue is the mean of the RTTs since the last shares began, beyond the
// shortest.
func (s *sender) meanQueue() time.Duration {
	if s.rttCount == 0 {
		return 0
	}
	return s.rttSum/time.Duration(s.rttCount) - s.stats.MinRTT
}
