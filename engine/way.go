package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner"
	"github.com/gomover/gomover/wire"
)

// blocked says why data does not travel by UDT as asked, as far as this end knows:
// who has dialled knows why.
func (s *Source) blocked() string {
	const none = "no data connection over UDP"
	if x, ok := s.paths.Endpoint.(transports.Switcher); ok {
		if why := x.Reason(); why != "" {
			return none + " (" + why + ")"
		}
	}
	return none
}

// turn has a sink make streams the way that the source asks for; "" leaves it as it
// is. The source hears when it is open, or why it cannot be, and goes on without.
func (s *Sink) turn(way string) error {
	x, ok := s.paths.Endpoint.(transports.Switcher)
	if way == "" || !ok {
		return nil
	}
	m := wire.Streams{Way: way, Open: true}
	if err := x.Use(way == orElse(s.paths.Prefer, "tcp")); err != nil {
		m.Open, m.Error = false, err.Error()
	} else {
		s.mu.Lock()
		s.way = way
		s.mu.Unlock()
	}
	b, err := wire.AppendJSON(nil, wire.KindStreams, m)
	if err == nil {
		err = s.link.Send(b)
	}
	if err != nil {
		return lost(err)
	}
	return nil
}

// tellSilent has the source make no more streams a way on which it is not heard; it
// may hear this end, and not know.
func (s *Sink) tellSilent(way string) {
	if b, err := wire.AppendJSON(nil, wire.KindStreams, wire.Streams{Way: way}); err == nil {
		_ = s.link.Send(b) // a dead link ends the run by itself
	}
}

// farTurned takes what the sink says of a way: that it is open there, why it cannot
// be, or that nothing is heard on it.
func (s *Source) farTurned(m wire.Streams) {
	if m.Open || m.Error != "" {
		s.otherOpen(m)
		return
	}
	distrust(s.paths.Endpoint, m.Way, s.prefer())
}

// otherWay is the transport that is not the usual one.
func (s *Source) otherWay() string {
	if s.usual() == "udt" {
		return "tcp"
	}
	return "udt"
}

// usual is the transport that is tried first.
func (s *Source) usual() string { return orElse(s.paths.Prefer, "tcp") }

// prefer is the transport that streams are to travel by now.
func (s *Source) prefer() string {
	x := &s.streams
	x.mu.Lock()
	defer x.mu.Unlock()
	return orElse(x.way, s.usual())
}

// hasMoved tells that streams have moved to another transport once.
func (x *streamSet) hasMoved() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.way != ""
}

// prefer is the transport that streams are to travel by now.
func (s *Sink) prefer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return orElse(s.way, orElse(s.paths.Prefer, "tcp"))
}

// transport gives how data travels: as before while a stream does, else as the
// streams do that there are.
func (s *Source) transport(before string) string {
	now := before
	for _, ss := range s.streams.list() {
		t := ss.st.Stats().Transport
		if t == before || t == "" {
			return before
		}
		now = t
	}
	return now
}

// followWay gives how streams travel, and tells if that is otherwise than before,
// or if data went inside the link until now. Another way has as many streams as it
// needs.
func (s *Source) followWay(before string, inside bool) string {
	now := s.transport(before)
	if now != before {
		defer s.streams.cameBy(now)
	}
	switch {
	case inside:
		s.emit(events.Transport{Dest: s.paths.Name, From: "ssh", To: now, Reason: "data connections get through again"})
	case now != before:
		why := s.blocked()
		if now == s.prefer() {
			why = "it gets through again"
		}
		s.emit(events.Transport{Dest: s.paths.Name, From: before, To: now, Reason: why})
	}
	if l := s.streams.list(); now != before && len(l) > 0 {
		s.SetStreams(tuner.Initial(s.facts(l[0].st.Stats())).Streams)
	}
	return now
}

// cameBy notes how streams travel that have moved to another transport once.
func (x *streamSet) cameBy(way string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.way != "" {
		x.way = way
	}
}

// forsake has streams made the usual way again when they have moved to another one by
// which none is left or can be made.
func (s *Source) forsake() {
	if way := s.prefer(); way != s.usual() {
		distrust(s.paths.Endpoint, way, way)
	}
}

// tellBlocked says once that data travels otherwise than it was to.
func (s *Source) tellBlocked(way string) {
	if way == s.prefer() || s.paths.Local {
		return
	}
	s.emit(events.Warn{Code: "net.udp", Host: s.paths.Name, Message: s.blocked() + "; sending over TCP instead"})
}

// barren is how long a stream must have moved nothing, before it ended for whatever
// reason, for its way to be doubted. It is less than the transports' own patience
// with silence.
const barren = 10 * time.Second

// fruitless tells whether a stream that ends with err says that its way is no good:
// it has moved nothing, though it had time, or fell silent. Whoever notices first ends it: this end for want of progress, or the
// other one because it hears nothing.
func (ss *sendStream) fruitless(err error) bool {
	return silenced(err) || ss.bytes.Load() == 0 && (errors.Is(err, errStalled) || time.Since(time.Unix(0, ss.moved.Load())) >= barren)
}

// silenced tells that a stream has ended since nothing was heard of the other end,
// which speaks even when it has nothing to say: the way is closed now, whatever it
// was before.
func silenced(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// distrust has e make streams another way when one by t, which is preferred, has
// moved nothing: who stalls once more does so otherwise.
func distrust(e transports.Endpoint, t, preferred string) {
	if x, ok := e.(transports.Switcher); ok && t == preferred {
		x.Distrust()
	}
}

// tellRefused says once that streams do not have the congestion control that was
// asked for, but has.
func (s *Source) tellRefused(has string, err error) {
	if has == s.opts.CC {
		return
	}
	if why := errors.Unwrap(err); why != nil {
		err = why // without the number of the stream
	}
	s.refused.Do(func() {
		s.emit(events.Warn{Code: "net.cc", Message: fmt.Sprintf("%v; data connections use %s", err, orElse(has, "the system's own"))})
	})
}

// startMeanwhile lets data travel inside the link, if that is permitted, while no
// stream is made yet. It is told at once: a short job is over before it is known
// why.
func (s *Source) startMeanwhile(ctx context.Context) {
	if s.opts.NoInband {
		return
	}
	s.startInband(ctx)
	s.emit(events.Plan{Transport: "ssh", Streams: 1, BlockBytes: s.opts.BlockSizeFor(0), Encrypt: "ssh", RTTms: msOf(s.paths.RTT),
		Reason: fmt.Sprintf("no data connection over %s within %v; it is tried further", protocol(s.prefer()), inbandAfter)})
}

// protocol is what a transport's packets are.
func protocol(transport string) string {
	if transport == "udt" {
		return "UDP"
	}
	return "TCP"
}

// wayTime is when a direction of dialling is given up: UDT needs four round trips for
// a stream whose ends have proved themselves.
func (p *Paths) wayTime() time.Duration { return max(wayTimeout, 5*p.RTT) }

// openPort is the advice to who sees no connection get through.
func (s *Source) openPort() string {
	return "open one " + orElse(s.paths.Ports, "TCP") + " port: --ports 50000-50000"
}

// noWay is reached when no connection gets through in any direction.
func (s *Source) noWay(ctx context.Context, own, far string) bool {
	if ctx.Err() != nil || s.over() {
		return false
	}
	own, far = orElse(own, "timed out"), orElse(far, "timed out")
	why := fmt.Sprintf("this end cannot reach %s (%s), %s cannot reach this end (%s)", s.paths.Name, own, s.paths.Name, far)
	if s.paths.DialOnly {
		why = "the other direction was not permitted by --dial; " + why
	}
	if s.opts.NoInband {
		s.fail(&wire.Fail{Class: wire.ClassNoPath, Text: fmt.Sprintf("%s: ssh works, but no data connection does: %s", s.paths.Name, why),
			Hints: []string{s.openPort(), "slower, but works now: --transport=ssh"}})
		return false
	}
	s.startInband(ctx)
	predicted := inbandRate(s.paths.RTT)
	s.emit(events.Warn{Code: "net.inband", Host: s.paths.Name,
		Message: fmt.Sprintf("no data connection gets through (%s); sending inside ssh, which is slow: at most about %d MB/s", why, predicted/1e6)})
	s.emit(events.Plan{Transport: "ssh", Streams: 1, BlockBytes: s.opts.BlockSizeFor(0), Encrypt: "ssh", RTTms: msOf(s.paths.RTT), Reason: why,
		Alternatives: []events.Alternative{{Transport: s.prefer(), Reason: "no connection in either direction; " + s.openPort()}}})
	return false
}

func orElse(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

// inbandRate predicts the rate in bytes per second inside ssh: its window of
// 2 MiB once a round trip, or what one processor seals.
func inbandRate(rtt time.Duration) int64 {
	const window, cpu = 2 << 20, 400e6
	if rtt <= 0 {
		return cpu
	}
	return int64(min(cpu, window/rtt.Seconds()))
}
