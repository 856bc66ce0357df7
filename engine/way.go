package engine

import "github.com/gomover/gomover/events"

// blockedReason says why data does not travel by UDT as asked.
const blockedReason = "nothing gets through over UDP"

// prefer is the transport that is tried first.
func (s *Source) prefer() string { return orElse(s.paths.Prefer, "tcp") }

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

// tellBlocked says once that data travels otherwise than it was to.
func (s *Source) tellBlocked(way string) {
	if way == s.prefer() || s.paths.Local {
		return
	}
	s.emit(events.Warn{Code: "net.udp", Host: s.paths.Name, Message: blockedReason + "; sending over TCP instead"})
}

// openPort is the advice to who sees no connection get through.
func (s *Source) openPort() string {
	kind := "TCP"
	if s.prefer() == "udt" {
		kind = "TCP or UDP"
	}
	return "open one " + kind + " port: --ports 50000-50000"
}
