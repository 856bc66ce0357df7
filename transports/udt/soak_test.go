package udt

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
)

// How much TestSoak does; make soak-udt does more of it.
var (
	soakSeeds = flag.Uint64("udt.seeds", 300, "random `runs` of TestSoak")
	soakFrom  = flag.Uint64("udt.from", 0, "`seed` of the first one")
)

// TestSoak runs connections with random settings over random paths on which
// everything goes wrong that can. Each has to bring every byte or message, and to
// end. A run that fails is run alone by -udt.from SEED -udt.seeds 1.
func TestSoak(t *testing.T) {
	for seed := *soakFrom; seed < *soakFrom+*soakSeeds; seed++ {
		newSoak(t, seed).run()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// soak is one run.
type soak struct {
	*sim
	r        *rand.Rand
	a, b     *end
	mailA    mail // from a to b
	mailB    mail
	up, down []byte
}

// mail is messages one way.
type mail struct {
	sizes   []int
	ordered []bool
	sent    int
	got     []bool
	count   int
}

func newSoak(t *testing.T, seed uint64) *soak {
	r := rand.New(rand.NewPCG(seed, 11))
	k := &soak{sim: newSim(t, seed, randomPath(r), randomPath(r)), r: r}
	cfg := randomConfig(r)
	k.b = k.listen(k.sim.b, cfg)
	top := 576 << r.IntN(7)
	k.b.top = top
	k.w.SetMTU(65535)
	isn := seq(r.Uint32()) & seqMask
	if r.IntN(4) == 0 {
		isn = seqMask - seq(r.IntN(100))
	}
	if r.IntN(4) == 0 {
		k.a = k.listen(k.sim.a, cfg)
		for _, e := range []*end{k.a, k.b} {
			other := map[*end]*end{k.a: k.b, k.b: k.a}[e]
			id, first := 0x1000+r.Uint32N(1000), isn.add(r.Int64N(2))
			k.w.At(time.Duration(r.IntN(2000))*ms, func() {
				e.c = newCore(e.cfg, control(t, e.cfg), k.w.Now(), other.sock.LocalAddr(), id, first)
				e.c.mtu.top = top
				e.c.dial(k.w.Now(), true)
				e.pump()
			})
		}
	} else {
		k.a = k.dial(k.sim.a, cfg, k.b.sock.LocalAddr(), isn, false)
		k.a.c.mtu.top = top
	}
	if cfg.FindMTU {
		k.resize()
	}
	size := func() int { return r.IntN(1<<(6+r.IntN(15)) + 1) }
	if cfg.Messages {
		k.mailA, k.mailB = newMail(r), newMail(r)
		k.mailA.carry(k, k.a, k.b)
		k.mailB.carry(k, k.b, k.a)
	} else {
		k.up, k.down = noise(seed, size()), noise(seed+1, size())
		k.a.toSend, k.b.toSend = k.up, k.down
	}
	return k
}

func randomPath(r *rand.Rand) netsim.Params {
	sometimes := func(most float64) float64 {
		if r.IntN(2) == 0 {
			return 0
		}
		return r.Float64() * most
	}
	p := netsim.Params{
		Rate: units.Rate(200e3 * float64(int(1)<<r.IntN(7))), Delay: time.Duration(r.IntN(120)) * ms,
		Jitter: time.Duration(sometimes(20)) * ms, Loss: sometimes(0.1), Reorder: sometimes(0.1),
		Duplicate: sometimes(0.1), Corrupt: sometimes(0.03), Queue: netsim.Limit{Time: time.Duration(5+r.IntN(200)) * ms},
	}
	if r.IntN(5) == 0 {
		p.Burst = netsim.GilbertElliott{Enter: 0.005, Exit: 0.1, Loss: 0.7}
	}
	return p
}

func randomConfig(r *rand.Rand) Config {
	controls := []string{"", "", "native", "native-stock", "cubic", "reno", "highspeed", "scalable", "fast", "ledbat", "blast=2Mbit/s"}
	cfg := Config{
		Messages: r.IntN(4) == 0, Control: controls[r.IntN(len(controls))], MSS: 200 + r.IntN(1301),
		SendBuffer: 100e3 << r.IntN(4), RecvBuffer: 100e3 << r.IntN(4),
	}
	if r.IntN(4) == 0 {
		cfg.MaxRate = units.Rate(100e3 << r.IntN(4))
	}
	cfg.FindMTU = !cfg.Messages && r.IntN(2) == 0
	return cfg
}

func newMail(r *rand.Rand) (m mail) {
	for range r.IntN(30) {
		m.sizes = append(m.sizes, 1+r.IntN(1<<(1+r.IntN(14))))
		m.ordered = append(m.ordered, r.IntN(2) == 0)
	}
	m.got = make([]bool, len(m.sizes))
	return m
}

// carry has one end send the messages and the other one look at them: their
// first byte is their number.
func (m *mail) carry(k *soak, from, to *end) {
	text := func(i int) []byte {
		b := noise(uint64(i)+k.w.Seed(), m.sizes[i])
		b[0] = byte(i)
		return b
	}
	from.feed = func(now time.Duration) {
		for m.sent < len(m.sizes) {
			ok, err := from.c.writeMessage(now, text(m.sent), 0, m.ordered[m.sent])
			if err != nil {
				k.t.Fatalf("seed %d: %v", k.w.Seed(), err)
			} else if !ok {
				return
			}
			m.sent++
		}
	}
	buf := make([]byte, 1<<15)
	to.eat = func() {
		for n := to.c.readMessage(buf); n >= 0; n = to.c.readMessage(buf) {
			i := int(buf[0])
			if n == 0 || i >= m.sent || m.got[i] {
				k.t.Fatalf("seed %d: message %d of %d bytes, %d were sent", k.w.Seed(), i, n, m.sent)
			}
			mustEqual(k.t, fmt.Sprintf("seed %d: message %d", k.w.Seed(), i), buf[:n], text(i))
			for before := range i {
				if m.ordered[i] && !m.got[before] {
					k.t.Fatalf("seed %d: message %d came before message %d", k.w.Seed(), i, before)
				}
			}
			m.got[i] = true
			m.count++
		}
	}
}

// resize changes what the path takes, again and again, and nobody says so.
func (k *soak) resize() {
	for _, l := range []*netsim.Link{k.sim.a.Up().Link(), k.sim.b.Up().Link()} {
		l.SetMTU(576 + k.r.IntN(9000))
		for i := range k.r.IntN(4) {
			size := 576 + k.r.IntN(9000)
			k.w.At(time.Duration(i*1000+k.r.IntN(1000))*ms, func() { l.SetMTU(size) })
		}
	}
}

// over tells that all has arrived.
func (k *soak) over() bool {
	return len(k.a.got) == len(k.down) && len(k.b.got) == len(k.up) &&
		k.mailA.count == len(k.mailA.sizes) && k.mailB.count == len(k.mailB.sizes)
}

func (k *soak) run() {
	k.connect()
	k.disturb()
	if !k.w.RunUntil(k.w.Now()+time.Hour, k.over) {
		k.t.Fatalf("seed %d: not done at %v\n%v\n%v", k.w.Seed(), k.w.Now(), k.a, k.b)
	}
	mustEqual(k.t, "up", k.b.got, k.up)
	mustEqual(k.t, "down", k.a.got, k.down)
	k.end()
}

// connect waits for the connection; a client's may need several attempts.
func (k *soak) connect() {
	made := func(e *end) bool { return e.c != nil && e.c.state == connected }
	for range 10 {
		if k.w.RunUntil(k.w.Now()+time.Minute, func() bool {
			return k.a.c != nil && k.a.c.err != nil || made(k.a) && made(k.b)
		}) && k.a.c.err == nil {
			return
		}
		if k.a.c == nil || !errors.Is(k.a.c.err, ErrTimeout) || k.a.c.connect.rendezvous {
			break
		}
		k.b.c = nil
		old := k.a.c
		k.a.c = newCore(k.a.cfg, control(k.t, k.a.cfg), k.w.Now(), old.peer, old.id+1, old.isn)
		k.a.c.mtu.top = old.mtu.top
		k.a.c.dial(k.w.Now(), false)
		k.a.pump()
	}
	k.t.Fatalf("seed %d: not connected at %v\n%v\n%v", k.w.Seed(), k.w.Now(), k.a, k.b)
}

// disturb cuts the path for a while, and lets a reader pause.
func (k *soak) disturb() {
	now := k.w.Now()
	cut := now + time.Duration(k.r.IntN(1000))*ms
	k.w.At(cut, func() { k.w.Partition([]*netsim.Host{k.sim.a}, []*netsim.Host{k.sim.b}) })
	k.w.At(cut+time.Duration(k.r.IntN(5000))*ms, func() { k.w.Partition() })
	k.b.mute = k.r.IntN(3) == 0
	k.w.At(now+time.Duration(k.r.IntN(10000))*ms, func() {
		k.b.mute = false
		k.b.drain()
		k.b.pump()
	})
}

// end closes one end, then the other, and looks whether the world comes to rest.
func (k *soak) end() {
	k.a.c.close(k.w.Now(), time.Minute)
	k.a.pump()
	if !k.w.RunUntil(k.w.Now()+5*time.Minute, func() bool { return k.a.c.gone() && k.b.c.state == broken }) {
		k.t.Fatalf("seed %d: not closed at %v\n%v\n%v", k.w.Seed(), k.w.Now(), k.a, k.b)
	}
	k.b.c.close(k.w.Now(), 0)
	k.b.pump()
	k.w.Run(k.w.Now() + time.Minute)
	if !k.b.c.gone() || k.a.c.deadline() != never || k.b.c.deadline() != never {
		k.t.Fatalf("seed %d: still there\n%v\n%v", k.w.Seed(), k.a, k.b)
	}
	if x := &k.a.c.send; x.acked != x.end || x.inFlight != 0 || x.lost.Total() != 0 {
		k.t.Fatalf("seed %d: closed with packets left\n%v", k.w.Seed(), k.a)
	}
}
