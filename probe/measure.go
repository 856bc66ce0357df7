package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/host"
)

// Constants of our choice.
const (
	// echoes is how many round trips are measured, and echoGap and echoGapMost bound
	// the time between two, which is a tenth of one; one more is sent before them,
	// which wakes whatever sleeps on the way.
	echoes      = 20
	echoGap     = 2 * time.Millisecond
	echoGapMost = 5 * time.Millisecond
	// searches is how often each address is tried, and searchWait how long the last
	// try is waited for.
	searches   = 4
	searchGap  = 150 * time.Millisecond
	searchWait = 1500 * time.Millisecond
	// farRTT is the round trip from which on both directions are measured at once:
	// time is dear then, and hosts have enough of it.
	farRTT = 20 * time.Millisecond
	// quiet is how long after its last packet a train has ended at least.
	quiet = 100 * time.Millisecond
	// packetMTU is the size of the IP packets in trains, if the path takes them.
	packetMTU = 1500
	// split is by how much a TCP handshake is faster than echoes when somebody on
	// the way answers it in the other end's place.
	split = 2
	// nearRTT is a round trip that says nothing of who answers.
	nearRTT = time.Millisecond
)

// measurer is the asking end.
type measurer struct {
	p      *Params
	c      *client
	e      *endpoint
	far    *ready
	addrs  []netip.Addr // of the other end
	r      *Report
	to     netip.AddrPort // where echoes are answered
	token  uint64
	length int // bytes of a train's datagram

	connect atomic.Int64 // how long a TCP handshake took, ns; 0: none was made yet

	mu sync.Mutex // guards Flags of r while both directions are measured
}

// Measure probes the path to the end that serves the link, and takes the link over.
// What could not be measured stays zero in the report; that is no error, and a
// report may come with one, if there is something in it. Errors: ErrVersion,
// ErrLink, *FarError, of sockets here, ctx's.
func Measure(ctx context.Context, link Link, p *Params) (*Report, error) {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &measurer{p: p, c: &client{link: link, waiting: make(map[uint32]chan *reply)}, r: new(Report)}
	var wg sync.WaitGroup
	wg.Go(m.c.run)
	defer wg.Wait()
	defer link.Close()
	if err := m.meet(ctx); err != nil {
		return nil, err
	}
	defer m.e.close()
	// Loads are watched before trains make some.
	m.step("looking at both hosts")
	var watched, asked sync.WaitGroup
	defer asked.Wait()
	defer watched.Wait()
	defer cancel()
	var farErr error
	watched.Go(func() { m.r.Far, farErr = m.farFacts(ctx) })
	watched.Go(func() {
		if p.Facts != nil {
			m.r.Here = p.Facts(host.Ask{Peer: m.firstAddr(), Dir: p.Dir, For: loadTime})
		}
	})
	asked.Go(func() { m.reach(ctx) })
	if p.Group {
		asked.Go(func() { m.r.Group = m.group(ctx) })
	}
	err := m.path(ctx, watched.Wait)
	watched.Wait()
	asked.Wait()
	m.flags()
	m.r.Took = time.Since(began)
	if err == nil {
		err = farErr
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return m.r, err
}

func (m *measurer) step(what string) {
	if m.p.Step != nil {
		m.p.Step(what)
	}
}

// meet opens this end's ports and hears of the other one's.
func (m *measurer) meet(ctx context.Context) error {
	m.step("opening ports")
	secret := make([]byte, secretLen)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	e, err := listen(ctx, m.p, secret, asking, answering)
	if err != nil {
		return err
	}
	r, err := m.c.call(ctx, request{Hello: &hello{Version: Version, Secret: secret, Ports: m.p.Ports, IPv4: m.p.IPv4, IPv6: m.p.IPv6,
		Bytes: max(m.bytes(), 0), Dir: m.p.FarDir}})
	if err == nil && (r.Ready == nil || r.Ready.UDP == 0) {
		err = errProtocol
	}
	if err != nil {
		e.close()
		return err
	}
	e.udp.fragment(probeMTU)
	m.e, m.far = e, r.Ready
	m.addrs = parseAddrs(m.p.Peers, r.Ready.Addrs)
	return nil
}

func (m *measurer) bytes() int64 {
	if m.p.Bytes == 0 {
		return DefaultBytes
	}
	return m.p.Bytes
}

func (m *measurer) firstAddr() (a netip.Addr) {
	if len(m.addrs) > 0 {
		a = m.addrs[0]
	}
	return a
}

func (m *measurer) farFacts(ctx context.Context) (host.Facts, error) {
	r, err := m.c.call(ctx, request{Facts: true})
	if err != nil {
		return host.Facts{}, err
	}
	if r.Facts == nil {
		return host.Facts{}, errProtocol
	}
	return bounded(*r.Facts), nil
}

// bounded cuts what another end says of itself to what can be shown.
func bounded(f host.Facts) host.Facts {
	for _, s := range []*string{&f.OS, &f.Network.Name, &f.Buffers.Control, &f.Buffers.Pacing, &f.Disk.Dir, &f.Disk.FS} {
		*s = clip(*s)
	}
	for _, l := range []*[]string{&f.Buffers.Controls, &f.Buffers.Allowed} {
		*l = (*l)[:min(len(*l), 32)]
		for i, s := range *l {
			(*l)[i] = clip(s)
		}
	}
	for _, share := range []*float64{&f.Processor.Busy, &f.Processor.Hottest, &f.Disk.Busy} {
		*share = min(max(*share, 0), 1)
	}
	return f
}

// reach tries the TCP ports, and the UDP port here, each way.
func (m *measurer) reach(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if m.far.TCP == 0 {
			m.r.TCPOut.Why = "the other end could not listen"
			return
		}
		at, took, err := m.e.dial(ctx, m.addrs, m.far.TCP)
		m.r.TCPOut, m.r.Connect = Reach{OK: err == nil, At: at}, took
		m.connect.Store(int64(took))
		if err != nil {
			m.r.TCPOut.Why = err.Error()
		}
	})
	own := m.e.ready(m.p)
	r, err := m.c.call(ctx, request{Reach: &reach{Addrs: own.Addrs, UDP: own.UDP, TCP: own.TCP}})
	switch {
	case err != nil:
		m.r.TCPIn.Why, m.r.UDPIn.Why = err.Error(), err.Error()
	case r.Reached == nil:
		m.r.TCPIn.Why, m.r.UDPIn.Why = errProtocol.Error(), errProtocol.Error()
	default:
		m.r.TCPIn = Reach{OK: r.Reached.TCP != "", Why: clip(r.Reached.Error)}
		if a, err := netip.ParseAddrPort(r.Reached.TCP); err == nil {
			m.r.TCPIn.At = a
		}
		if m.knocked(ctx) {
			m.r.UDPIn = Reach{OK: true}
		} else {
			m.r.UDPIn.Why = fmt.Sprintf("none of %d datagrams arrived", min(max(r.Reached.Knock, 0), 1000))
		}
	}
	wg.Wait()
}

// knocked waits for what the other end sent to the UDP port here, which may be
// behind the news of it.
func (m *measurer) knocked(ctx context.Context) bool {
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if m.e.udp.reached() || !sleep(ctx, 10*time.Millisecond) {
			break
		}
	}
	return m.e.udp.reached()
}

// path measures what echoes and trains tell. watched returns when both hosts have
// been looked at.
func (m *measurer) path(ctx context.Context, watched func()) error {
	m.step("looking for a way over UDP")
	first, ok := m.search(ctx)
	if !ok {
		if m.r.UDPOut.Why = fmt.Sprintf("no answer from UDP port %d", m.far.UDP); ctx.Err() != nil {
			m.r.UDPOut.Why = "there was no time for an answer"
		}
		return nil
	}
	m.to, m.token = first.from, first.token
	m.r.UDPOut = Reach{OK: true, At: m.to}
	m.r.Link = firstLink(ctx, m.p.Network, m.to)
	m.step("measuring the round trip and the path MTU")
	var wg sync.WaitGroup
	wg.Go(func() { m.r.MTU = findMTU(ctx, m.e.udp, m.to, m.r.Link, first.rtt) })
	m.echoes(ctx, first.rtt)
	wg.Wait()
	if m.bytes() < 0 {
		return nil
	}
	watched() // trains must not count as load, and limits must be known
	m.length = min(max(m.r.MTU, packetMTU*2/5), packetMTU) - headers(m.to.Addr())
	m.step("measuring capacity with trains of packets")
	var there, back error
	if m.r.RTT.Min >= farRTT {
		wg.Go(func() { there = m.there(ctx) })
		wg.Go(func() { back = m.back(ctx) })
		wg.Wait()
	} else {
		there, back = m.there(ctx), m.back(ctx)
	}
	return errors.Join(there, back)
}

// search sends echoes to all addresses and takes the first answer.
func (m *measurer) search(ctx context.Context) (echoed, bool) {
	var all []<-chan echoed
	look := func(d time.Duration) (echoed, bool) {
		for end := time.Now().Add(d); ; {
			for _, ch := range all {
				select {
				case e := <-ch:
					return e, true
				default:
				}
			}
			if !time.Now().Before(end) || !sleep(ctx, 2*time.Millisecond) {
				return echoed{}, false
			}
		}
	}
	for range searches {
		for _, a := range m.addrs {
			// What cannot be sent is not answered.
			if _, ch, err := m.e.udp.echo(netip.AddrPortFrom(a, m.far.UDP), shortest); err == nil {
				all = append(all, ch)
			}
		}
		if e, ok := look(searchGap); ok {
			return e, true
		}
	}
	if took := time.Duration(m.connect.Load()); took > 0 {
		return look(min(searchWait, searchGap+2*took)) // it cannot be so far away
	}
	return look(searchWait)
}

// echoes measures round trips.
func (m *measurer) echoes(ctx context.Context, rtt time.Duration) {
	gap := min(max(echoGap, rtt/10), echoGapMost)
	var all []<-chan echoed
	var numbers []uint32
	for i := range echoes + 1 {
		n, ch, err := m.e.udp.echo(m.to, shortest)
		if err == nil && i > 0 {
			all, numbers = append(all, ch), append(numbers, n)
		}
		if !sleep(ctx, gap) {
			return
		}
	}
	var rtts []time.Duration
	var least time.Duration
	deadline := time.Now().Add(patience(rtt))
	for _, ch := range all {
		for len(ch) == 0 && time.Now().Before(deadline) {
			if !sleep(ctx, time.Millisecond) {
				return
			}
		}
		if len(ch) == 0 {
			continue // lost
		}
		e := <-ch
		rtts = append(rtts, e.rtt)
		if least == 0 || e.rtt < least {
			least, m.r.Offset = e.rtt, e.offset
		}
	}
	r := m.r
	r.RTT = estimate.Spread(rtts)
	r.Echoes, r.Lost = len(all), len(all)-len(rtts)
	r.LossLow, r.LossHigh = estimate.LossBounds(r.Lost, r.Echoes)
	r.Order = estimate.Reordering(m.inOrder(numbers))
}

// inOrder gives the answered ones of some echoes in the order of their answers.
func (m *measurer) inOrder(numbers []uint32) (out []uint32) {
	if len(numbers) == 0 {
		return nil
	}
	ours := make(map[uint32]bool, len(numbers))
	for _, n := range numbers {
		ours[n] = true
	}
	for _, n := range m.e.udp.answersSince(numbers[0], numbers[len(numbers)-1]+1) {
		if ours[n] {
			out = append(out, n)
		}
	}
	return out
}

// planner begins one direction.
func (m *measurer) planner() *estimate.Planner {
	limit := min(m.r.Here.Network.Speed, m.r.Far.Network.Speed) // 0 if one is not known
	t := m.p.Time
	if t == 0 {
		t = DefaultTime
	}
	return &estimate.Planner{Size: m.length + headers(m.to.Addr()), Limit: units.Rate(max(limit, 0)), Bytes: m.bytes(), Time: t}
}

// payload is the rate of datagrams at which packets have another one.
func (m *measurer) payload(r units.Rate) units.Rate {
	return units.Rate(float64(r) * float64(m.length) / float64(m.length+headers(m.to.Addr())))
}

// there sends trains and asks what came of them.
func (m *measurer) there(ctx context.Context) error {
	pl := m.planner()
	err := m.trains(ctx, pl, &m.r.There, func(ctx context.Context, n uint16, s estimate.Step) (*estimate.Train, error) {
		sent, took, err := m.e.udp.send(ctx, outgoing{to: m.to, number: n, packets: s.Packets, len: m.length, pace: m.payload(s.Pace)})
		if err != nil {
			return nil, err
		}
		r, err := m.c.call(ctx, request{Collect: &collect{Train: n, Packets: sent, QuietMs: (quiet + m.r.RTT.P95).Milliseconds()}})
		if err != nil {
			return nil, err
		}
		list, err := parseArrivals(r.Arrivals)
		if err != nil {
			return nil, err
		}
		return &estimate.Train{Sent: sent, Took: took, Arrivals: list}, nil
	})
	if err != nil {
		return fmt.Errorf("sending trains: %w", err)
	}
	return nil
}

// back asks for trains and takes them.
func (m *measurer) back(ctx context.Context) error {
	pl := m.planner()
	err := m.trains(ctx, pl, &m.r.Back, func(ctx context.Context, n uint16, s estimate.Step) (*estimate.Train, error) {
		r, err := m.c.call(ctx, request{Train: &train{Train: n, Token: m.token, Packets: s.Packets, Len: m.length, Pace: int64(m.payload(s.Pace))}})
		if err != nil {
			return nil, err
		}
		if r.SentN < 0 || r.SentN > s.Packets || r.TookNs < 0 {
			return nil, errProtocol
		}
		list := m.e.udp.collect(ctx, n, r.SentN, quiet+m.r.RTT.P95)
		return &estimate.Train{Sent: r.SentN, Took: time.Duration(min(r.TookNs, int64(maxSpan))), Arrivals: list}, nil
	})
	if err != nil {
		return fmt.Errorf("receiving trains: %w", err)
	}
	return nil
}

// trains follows the plan of one direction; one makes a train of a number.
func (m *measurer) trains(ctx context.Context, pl *estimate.Planner, d *Direction, one func(ctx context.Context, n uint16, s estimate.Step) (*estimate.Train, error)) error {
	var failed error
	for ctx.Err() == nil && failed == nil {
		s, ok := pl.Next()
		if !ok {
			break
		}
		var all []*estimate.Train
		all, failed = several(ctx, s, func(ctx context.Context, i int) (*estimate.Train, error) {
			return one(ctx, uint16(d.Trains+1+i), s)
		})
		d.Trains += s.Times
		for _, t := range all {
			t.Size, t.Paced, t.Limit = pl.Size, s.Pace > 0, pl.Limit
			got := t.Dispersion()
			d.Coalescing = max(d.Coalescing, got.Coalescing)
			pl.Add(s, got)
		}
	}
	d.Capacity = pl.Capacity()
	d.BDP = estimate.BDP(d.Rate, m.r.RTT.Min)
	m.mu.Lock()
	m.r.Bytes += pl.Spent()
	m.mu.Unlock()
	return failed
}

// several makes the trains of a step, each begun so long after the one before as the
// step says, and gives those that could be made, in their order.
func several(ctx context.Context, s estimate.Step, one func(ctx context.Context, i int) (*estimate.Train, error)) ([]*estimate.Train, error) {
	trains, errs := make([]*estimate.Train, s.Times), make([]error, s.Times)
	var wg sync.WaitGroup
	for i := range s.Times {
		if i > 0 && !sleep(ctx, s.Apart) {
			errs[i] = context.Cause(ctx)
			break
		}
		wg.Go(func() { trains[i], errs[i] = one(ctx, i) })
	}
	wg.Wait()
	made := slices.DeleteFunc(trains, func(t *estimate.Train) bool { return t == nil })
	return made, errors.Join(errs...)
}

// flags says what is odd.
func (m *measurer) flags() {
	r := m.r
	if r.Connect > 0 && r.RTT.Min > nearRTT && r.Connect*split < r.RTT.Min {
		r.Flags = append(r.Flags, "split path: something on the way answers TCP in the other end's place")
	}
	for _, d := range []struct {
		d    *Direction
		name string
	}{{&r.There, "there"}, {&r.Back, "back"}} {
		if d.d.Slowed {
			r.Flags = append(r.Flags, "shaped: on the way "+d.name+" a burst passes faster than what follows")
		}
		if d.d.Varies {
			r.Flags = append(r.Flags, "unsteady: trains on the way "+d.name+" differ; there may be several paths, or much other traffic")
		}
	}
	if r.MTU > 0 && r.MTU < min(r.Link, largest) {
		r.Flags = append(r.Flags, fmt.Sprintf("narrow: the path takes packets of %d bytes, the first link of %d", r.MTU, r.Link))
	}
}
