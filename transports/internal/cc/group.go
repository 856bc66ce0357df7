package cc

import (
	"time"

	"github.com/gomover/gomover/internal/units"
)

// An Estimator is a controller that knows what its path was seen to carry.
type Estimator interface {
	Controller
	// Estimate is the highest rate of delivery of late, in bytes per second; 0 while
	// nothing is known.
	Estimate() units.Rate
}

var (
	_ Estimator = (*BBR)(nil)
	_ Estimator = (*member)(nil)
)

// Estimate implements Estimator.
func (b *BBR) Estimate() units.Rate { return units.Rate(b.model.rate()) }

// Group makes the controllers for one stream of packets that goes to several
// receivers at once, such as a multicast: each has its own window, and what is sent
// goes at the lowest rate of them. The sender heeds the smallest Rate, and the
// Window of each for what is in flight to it.
//
// For the model-based control the receivers have a model each, but probe for more,
// yield, and look for the lowest RTT together: were each to do so in its own time,
// the one that yields would always hold back the one that probes, and nobody would
// ever find more than there was at the start (ours). For others each has a
// controller as it would have alone.
//
// Not for several goroutines at once.
type Group struct {
	name    string
	members []*member

	state     bbrState
	full      float64 // highest lowest rate so far in startup, bytes per second
	fullCount int     // rounds in which it did not grow
	found     bool    // startup is over
	roundAt   time.Duration
	phase     int
	phaseAt   time.Duration
	probeEnd  time.Duration // when probing the RTT may end; 0 while the paths empty
	guessed   time.Duration // until then the first guess counts
	now       time.Duration // of the last acknowledgement
}

// groupRestart is by how much a receiver must have been slower than all others for
// the rate to be searched again when it leaves; ours: less is found by probing.
const groupRestart = 1.1

// groupProbeTime is how long the lowest RTT is looked for, or a round trip if that is
// longer. Ours: half of what one flow takes, as no other flow of the group has to come
// to rest at the same time.
const groupProbeTime = bbrProbeRTTTime / 2

// groupInitial is the most that a window begins with, in packets: what slow start has made
// of the first one for a receiver that had as much by unicast before. The group keeps to
// that for groupGuessed round trips, whatever the first of them seem to say. Ours.
const (
	groupInitial = 4 * initialWindow
	groupGuessed = 2
)

// groupYieldGain is that of the pace after a probe. Ours: it leaves a quarter of the probe's
// queue for the margin of the pace to take up, so that the path does not fall idle.
const groupYieldGain = 0.8

// groupLossMost is the largest share of losses that the pace makes up for. Ours: noise; as
// much as version 2 of BBR bears.
const groupLossMost = 0.02

// groupLossRounds is over how many round trips losses are averaged. Ours: two cycles.
const groupLossRounds = 2 * bbrCycle

// NewGroup makes a group without members; name is that of a controller, as for New.
func NewGroup(name string) (*Group, error) {
	if _, err := New(name); err != nil {
		return nil, err
	}
	return &Group{name: name}, nil
}

// Join adds a receiver and gives its controller, whose Init is to be called next.
func (g *Group) Join() Controller {
	if g.name != "bbr" {
		c, err := New(g.name)
		if err != nil {
			c = NewBBR() // NewGroup has tried the name
		}
		return c
	}
	return &member{group: g}
}

// Leave takes a receiver out whose controller is no longer asked.
func (g *Group) Leave(c Controller) {
	m, ok := c.(*member)
	if !ok {
		return
	}
	for i, o := range g.members {
		if o == m {
			g.members = append(g.members[:i], g.members[i+1:]...)
			break
		}
	}
	if low := g.lowest(); len(g.members) > 0 && m.rate() > 0 && low > groupRestart*m.rate() {
		g.Restart()
	}
}

// Restart searches for the rate again, from the present one on.
func (g *Group) Restart() {
	g.state, g.found, g.full, g.fullCount = bbrStartup, false, 0, 0
}

// Found tells that the rate is not searched any more, but only probed for more.
func (g *Group) Found() bool { return g.found }

// Pace is the rate at which the group may be sent to now, for all members alike; false
// where each has a controller of its own, whose Rate tells it. A member's Rate is as of
// its last acknowledgement, so the lowest of them would follow the group's phases late.
func (g *Group) Pace() (units.Rate, bool) {
	if len(g.members) == 0 {
		return 0, false
	}
	return paceOf(g.pace()), true
}

// lowest is the rate of the slowest member, in bytes per second; 0 if none is known.
func (g *Group) lowest() float64 {
	low := 0.0
	for _, m := range g.members {
		if r := m.rate(); r > 0 && (low == 0 || r < low) {
			low = r
		}
	}
	return low
}

// pace is the rate in bytes per second; a guess while none is known. What a member's path
// loses by chance has passed all of it but the place where it was lost: the pace that
// fills it is higher than what is delivered by that.
func (g *Group) pace() float64 {
	low, guess := 0.0, float64(MaxRate)
	for _, m := range g.members {
		guess = min(guess, m.guess)
		if r := m.rate() / (1 - min(m.loss, groupLossMost)); r > 0 && (low == 0 || r < low) {
			low = r
		}
	}
	if low == 0 || !g.found && g.now < g.guessed {
		low = max(low, guess)
	}
	return low * g.gain()
}

// span is the longest of the members' lowest RTTs.
func (g *Group) span() time.Duration {
	d := time.Millisecond
	for _, m := range g.members {
		d = max(d, m.model.minRTT)
	}
	return d
}

// step moves on after an acknowledgement.
func (g *Group) step(s *Stats, a *Ack) {
	now := s.Now
	g.now = now
	switch g.state {
	case bbrStartup:
		g.search(s, a)
	case bbrDrain:
		if g.drained(1) || now-g.phaseAt > 2*g.span() {
			g.state, g.phase, g.phaseAt = bbrProbeRate, 2, now
		}
	case bbrProbeRate:
		passed := now-g.phaseAt > g.span()
		if g.phase == 1 {
			passed = passed || g.drained(1)
		}
		if passed {
			g.phase, g.phaseAt = (g.phase+1)%bbrCycle, now
		}
	case bbrProbeRTT:
		g.probeRTT(now)
	}
}

// search ends startup when the lowest rate did not grow in three round trips, or
// when somebody loses in numbers.
func (g *Group) search(s *Stats, a *Ack) {
	span := g.span()
	for _, m := range g.members {
		span = max(span, m.srtt)
	}
	if s.Now-g.roundAt < span {
		return
	}
	g.roundAt = s.Now
	lossy := false
	for _, m := range g.members {
		lossy = lossy || m.noise.share > bbrNoise && m.noise.before >= bbrStartupGaps
	}
	switch low := g.lowest(); {
	case lossy:
		g.fullCount = bbrFullRounds
	case s.AppLimited || a.Delivery.AppLimited || low == 0:
		return
	case low >= g.full*bbrFullGrowth:
		g.full, g.fullCount = low, 0
	default:
		g.fullCount++
	}
	if g.fullCount >= bbrFullRounds {
		g.state, g.found, g.phaseAt = bbrDrain, true, s.Now
	}
}

// drained tells that no member has more on the way than a share of what its path
// holds.
func (g *Group) drained(share float64) bool {
	for _, m := range g.members {
		if float64(m.inFlight) > max(share*m.bdp(), bbrMinWindow) {
			return false
		}
	}
	return true
}

// probeRTT ends when all paths were nearly empty for a while.
func (g *Group) probeRTT(now time.Duration) {
	switch {
	case g.probeEnd == 0 && (g.drained(bbrProbeRTTGain) || now-g.phaseAt > 2*g.span()+groupProbeTime):
		g.probeEnd = now + max(groupProbeTime, g.span())
	case g.probeEnd > 0 && now > g.probeEnd:
		for _, m := range g.members {
			m.model.minRTTAt = now
			m.cwnd = max(m.cwnd, m.saved)
		}
		g.state, g.phase, g.phaseAt = bbrProbeRate, 2, now
		if !g.found {
			g.state = bbrStartup
		}
	}
}

// gain is that of the pace.
func (g *Group) gain() float64 {
	switch {
	case g.state == bbrStartup:
		return bbrStartupGain
	case g.state == bbrDrain:
		return 1 / bbrStartupGain
	case g.state == bbrProbeRate && g.phase == 0:
		return bbrProbeGain
	case g.state == bbrProbeRate && g.phase == 1:
		return groupYieldGain
	}
	return bbrPaceMargin
}

// member is the controller of one receiver of a group.
type member struct {
	Ignore
	group    *Group
	model    bbrModel
	noise    bbrLosses
	mss      float64
	limit    float64 // packets; the peer's
	cwnd     float64 // packets
	saved    float64 // before it was taken away
	rests    bool    // since a timeout, until something has arrived
	guess    float64 // bytes per second, for the first of a group
	proven   bool    // something was delivered for a whole round trip
	loss     float64 // share of the packets, of late
	srtt     time.Duration
	inFlight int
}

// Init begins. One that joins others goes at their rate until its own is known.
func (m *member) Init(s *Stats) {
	*m = member{group: m.group, cwnd: initialWindow}
	m.model.roundEnd = s.Delivered
	m.model.minRTT, m.model.minRTTAt = s.MinRTT, s.Now
	m.noise = bbrLosses{gain: bbrCwndGain, sent: s.Sent + s.Resent, lost: s.Lost}
	m.learn(s)
	rtt := max(s.RTT, time.Millisecond)
	m.cwnd = min(initialWindow+float64(s.Delivered)/m.mss, groupInitial)
	m.guess = m.cwnd * m.mss / rtt.Seconds()
	if len(m.group.members) == 0 {
		m.group.guessed = s.Now + groupGuessed*rtt
	}
	if low := m.group.lowest(); low > 0 {
		m.cwnd = max(m.cwnd, bbrStartupGain*low*rtt.Seconds()/m.mss)
	}
	m.group.members = append(m.group.members, m)
}

func (m *member) learn(s *Stats) {
	m.mss, m.limit = float64(max(s.MSS, 1)), windowLimit(s)
	m.cwnd = clamp(m.cwnd, min(bbrMinWindow, m.limit), m.limit)
	m.srtt, m.inFlight = s.RTT, s.InFlight
}

// rate is the model's, once there is one.
func (m *member) rate() float64 {
	if !m.proven {
		return 0
	}
	return m.model.rate()
}

// Estimate implements Estimator.
func (m *member) Estimate() units.Rate { return units.Rate(m.rate()) }

func (m *member) bdp() float64 { return m.rate() * m.model.minRTT.Seconds() / m.mss }

// OnAck updates the model, and lets the group move on.
func (m *member) OnAck(s *Stats, a *Ack) {
	if a.Packets <= 0 {
		return
	}
	m.rests = false
	m.srtt, m.inFlight = s.RTT, s.InFlight
	if m.model.learn(s, a) {
		m.proven = true
		m.noise.round(s, m.model.minRTT)
		m.loss += (m.noise.share - m.loss) / groupLossRounds
	}
	if a.RTT > 0 {
		m.noise.low = least(m.noise.low, a.RTT)
	}
	g := m.group
	if old := m.model.learnRTT(s.Now, a.RTT); old && g.state == bbrProbeRate {
		g.state, g.probeEnd, g.phaseAt = bbrProbeRTT, 0, s.Now
		for _, o := range g.members {
			o.saved = o.cwnd
		}
	}
	g.step(s, a)
	m.setWindow(a)
	m.learn(s)
}

// setWindow grows the window by what was delivered, up to the target.
func (m *member) setWindow(a *Ack) {
	bdp, g := m.bdp(), m.group
	if g.state == bbrProbeRTT {
		m.cwnd = min(m.cwnd, max(bbrProbeRTTGain*bdp, bbrMinWindow))
		return
	}
	gain := bbrStartupGain
	if g.found {
		gain = m.noise.gain
	}
	target := gain*bdp + m.model.lumps()/m.mss + 3
	switch {
	case bdp <= 0 || !g.found && m.cwnd < target:
		m.cwnd += float64(a.Packets)
	case g.found:
		m.cwnd = min(m.cwnd+float64(a.Packets), target)
	}
}

// OnLoss counts, for the share of losses.
func (m *member) OnLoss(s *Stats, l *Loss) {
	m.noise.gaps = min(m.noise.gaps+len(l.Ranges), 1<<20)
	m.learn(s)
}

// OnTimeout sends little until the path answers.
func (m *member) OnTimeout(s *Stats) {
	m.rests = true
	m.learn(s)
}

// Close leaves the group.
func (m *member) Close(*Stats) { m.group.Leave(m) }

// Control gives the group's pace and the member's window.
func (m *member) Control() Control {
	c := Control{Rate: paceOf(m.group.pace()), Window: m.cwnd}
	if m.rests {
		c.Window = min(c.Window, bbrMinWindow)
	}
	c.Window = clamp(c.Window, 1, m.limit)
	return c
}
