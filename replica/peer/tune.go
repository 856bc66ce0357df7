package peer

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// leastEvery is how often a server tells at most how its streams are.
const leastEvery = 100 * time.Millisecond

// tuning is how a server's streams are to be.
type tuning struct {
	cc    string
	rate  int64         // bytes per second of all together; less than 0: any again
	every time.Duration // 0: nobody wants to know how they are
	live  map[transports.Stream]*queue
}

// enter notes a stream that is served, until the function that it returns is called.
func (s *Server) enter(st transports.Stream, q *queue) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tuning.live == nil {
		s.tuning.live = make(map[transports.Stream]*queue)
	}
	s.tuning.live[st] = q
	if s.tuning.cc != "" {
		_ = st.Retune(transports.Settings{CC: s.tuning.cc}) // it was refused before, or will be again
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.tuning.live, st)
	}
}

// tune does what a reader wants of the streams, and tells how that went.
func (s *Server) tune(ctx context.Context, m wire.Tune) {
	err := s.retune(m.CC, m.Rate)
	if m.Way != "" && err == nil {
		if s.Use == nil {
			err = errors.New("there is no other way")
		} else {
			err = s.Use(m.Way)
		}
	}
	if m.Every > 0 {
		s.mu.Lock()
		begun := s.tuning.every > 0
		s.tuning.every = max(leastEvery, time.Duration(m.Every))
		s.mu.Unlock()
		if !begun {
			s.wg.Go(func() { s.gauge(ctx) })
		}
	}
	var out wire.Tuned
	if err != nil {
		out.Error = err.Error()
	}
	if b, err := wire.AppendJSON(nil, wire.KindTuned, out); err == nil {
		s.send(b)
	}
}

// retune gives all streams over TCP another congestion control, and those to come, and
// lets them have a rate together, of which each has the same part.
func (s *Server) retune(cc string, rate int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rate != 0 {
		s.tuning.rate = rate
	}
	set := transports.Settings{CC: cc}
	switch r := s.tuning.rate; {
	case r > 0:
		set.PacingRate = max(1, r/int64(max(1, len(s.tuning.live))))
	case r < 0:
		set.PacingRate = math.MaxInt64
	}
	for st := range s.tuning.live {
		if st.Stats().Transport != "tcp" {
			continue
		}
		if err := st.Retune(set); err != nil {
			return err
		}
	}
	if cc != "" {
		s.tuning.cc = cc
	}
	return nil
}

// gauge tells now and then how the streams are.
func (s *Server) gauge(ctx context.Context) {
	began := time.Now()
	for {
		s.mu.Lock()
		every := s.tuning.every
		s.mu.Unlock()
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return
		}
		m := wire.Gauges{At: int64(time.Since(began)), CCs: s.CCs}
		s.mu.Lock()
		for st, q := range s.tuning.live {
			if g := gaugeOf(st.Stats(), q); g.Transport != "ssh" {
				g.Stream = st.ID()
				m.Streams = append(m.Streams, g)
			}
		}
		s.mu.Unlock()
		b, err := wire.AppendJSON(nil, wire.KindGauges, m)
		if err != nil || s.link.Send(b) != nil {
			return
		}
	}
}

func gaugeOf(st transports.Stats, q *queue) wire.Gauge {
	q.mu.Lock()
	defer q.mu.Unlock()
	return wire.Gauge{Transport: st.Transport, CC: st.CC, Sent: st.SentBytes, Retrans: st.Retrans, Cwnd: st.Cwnd, RTT: int64(st.RTT), MinRTT: int64(st.MinRTT),
		Rwnd: int64(st.RwndLimited), Buf: int64(st.BufLimited), Blocked: int64(st.SendBlocked), Idle: !q.busy && len(q.waiting) == 0}
}

// Tune has the server change how streams are. One asks at a time.
//
// Errors: why it could not, those of the link.
func (c *Client) Tune(ctx context.Context, m wire.Tune) error {
	var t wire.Tuned
	if err := c.alone(ctx, &c.tuning, wire.KindTune, m, &t); err != nil {
		return err
	}
	if t.Error != "" {
		return errors.New(t.Error)
	}
	return nil
}

// Gauges gives what the server told last of its streams; older ones are dropped.
func (c *Client) Gauges() <-chan wire.Gauges { return c.gauges }

// gauged keeps what the server tells of its streams.
func (c *Client) gauged(body []byte) error {
	m, err := wire.ParseGauges(body, maxStreams)
	if err != nil {
		return ErrBreach
	}
	select {
	case <-c.gauges:
	default:
	}
	select {
	case c.gauges <- m:
	default:
	}
	return nil
}

// Flow is a stream as the reader sees it.
type Flow struct {
	ID        uint32
	Transport string
	Received  int64         // bytes, with what sealing adds
	Waited    time.Duration // that receiving has waited for the network, in all
	Leaving   bool          // nothing more is asked for on it
}

// Flows are the streams that there are, in the order in which they came.
func (c *Client) Flows() (l []Flow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		st := s.st.Stats()
		l = append(l, Flow{ID: s.st.ID(), Transport: st.Transport, Received: st.RecvBytes, Waited: st.RecvBlocked, Leaving: s.leaving})
	}
	return l
}

// Leave takes streams out of use for which out is true: nothing more is asked for on
// them, and when all has come that was, they are closed by the next call of Sweep.
func (c *Client) Leave(out func(Flow) bool) {
	for _, f := range c.Flows() {
		if f.Leaving || !out(f) {
			continue
		}
		c.mu.Lock()
		for _, s := range c.streams {
			if s.st.ID() == f.ID {
				s.leaving = true
			}
		}
		c.mu.Unlock()
	}
}

// Sweep closes the streams that are out of use and have nothing under way. The one inside
// the link stays open: it may be needed again, and there is no other one.
func (c *Client) Sweep() {
	c.mu.Lock()
	list, quick := append([]*stream(nil), c.streams...), c.quick
	c.mu.Unlock()
	for _, s := range list {
		c.mu.Lock()
		leaving := s.leaving
		c.mu.Unlock()
		s.mu.Lock()
		idle := len(s.reqs) == 0
		s.mu.Unlock()
		switch {
		case !leaving || !idle:
		case s == quick:
			c.remove(s)
		default:
			s.st.Close()
		}
	}
}

// Leaving tells whether the lane's stream is out of use: who goes on takes another
// lane, and still gets here what was asked for.
func (l *Lane) Leaving() bool {
	l.f.c.mu.Lock()
	defer l.f.c.mu.Unlock()
	return l.s.leaving
}
