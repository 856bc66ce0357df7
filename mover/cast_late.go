package mover

import (
	"context"
	"net/netip"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/transports/tcpxm"
)

// newcomer is a destination that a group at work has asked for a port: its login took
// longer than that of others, or it was lost and is back.
type newcomer struct {
	leg *castLeg
	src *engine.Source // that was asked
	ok  bool           // it has opened a port
}

// invite asks destinations that are ready by now to join, and waits for none.
func (s *castSession) invite(ctx context.Context) {
	if s.comparing.Load() || s.all {
		return
	}
	members := s.sources()
	for _, l := range s.c.newcomers(s.six) {
		l.c.mu.Lock()
		src := l.src
		l.c.mu.Unlock()
		if src == nil || !worthJoining(src, members) {
			continue
		}
		l.c.mu.Lock()
		l.asked, l.at = src, l.addr // even if that is none any more: order sees it
		l.c.mu.Unlock()
		select {
		case <-l.answer: // to what was asked in an earlier session
		default:
		}
		o := s.order
		s.asking.Go(func() {
			with, _ := s.c.order(ctx, []*castLeg{l}, o)
			select {
			case s.came <- newcomer{l, src, len(with) == 1}:
			case <-ctx.Done():
			}
		})
	}
}

// newcomers gives the destinations that a group at work may take in. six tells that it
// can send to addresses of IPv6.
func (c *casting) newcomers(six bool) (l []*castLeg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.legs {
		if x.out || x.src == nil || x.src == x.asked || x.member || !x.addr.IsValid() || x.addr.Is6() && !six || !c.always && ownAddress(x.addr) {
			continue
		}
		l = append(l, x)
	}
	return l
}

// worthJoining tells that a source lacks enough of what one of the members still lacks,
// too.
func worthJoining(src *engine.Source, members []*engine.Source) bool {
	for _, m := range members {
		if n, _ := engine.Wants([]*engine.Source{src, m}); n >= joinLeast {
			return true
		}
	}
	return false
}

// admit takes one in that has opened a port: from the next frame of the log on it gets
// what the others get.
func (s *castSession) admit(n newcomer) {
	l := n.leg
	l.c.mu.Lock()
	same := l.src == n.src && !l.out
	l.c.mu.Unlock()
	if !n.ok || !same || s.all {
		return
	}
	place, start, ok := s.cast.Join(n.src)
	if !ok {
		return
	}
	if _, err := s.s.Add(tcpxm.Destination{Addr: netip.AddrPortFrom(l.at, l.port), Secret: l.secret}, start); err != nil {
		s.cast.Drop(place)
		return
	}
	s.mu.Lock()
	s.legs, s.place = append(s.legs, l), append(s.place, place)
	s.mu.Unlock()
	s.gone, s.told, s.at, s.moved = append(s.gone, false), append(s.told, ""), append(s.at, 0), append(s.moved, time.Now())
	l.c.mu.Lock()
	l.member = true
	l.c.mu.Unlock()
}
