package sealed

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/seal"
)

// A Wire moves bytes over one connection and knows what the system knows about
// it. Write and Read may run at the same time, each in one goroutine; the
// others may be called by any.
type Wire interface {
	// Write writes all of b.
	Write(b []byte) error
	// Read fills b with at least need bytes, and with more only if they are
	// there already.
	Read(b []byte, need int) (int, error)
	// Blocked is how long Write and Read have waited for the network.
	Blocked() (send, recv time.Duration)
	// Info fills in what the system counts; false where it cannot.
	Info(st *transports.Stats) bool
	// Quiet is how long the other end has left something unanswered.
	Quiet() time.Duration
	// Retune changes buffers and pacing.
	Retune(s transports.Settings) error
}

// Stream implements transports.Stream.
type Stream struct {
	id            uint32
	conn          net.Conn
	wire          Wire
	sealer        *seal.Sealer // of Send
	opener        *seal.Opener // of Recv
	maxBody       int
	name          string // of the transport
	local, remote netip.AddrPort
	sent, recvd   atomic.Int64

	prefix [seal.PrefixLen]byte // of Recv: the next record's, as far as it came
	have   int                  // of Recv: bytes in prefix

	watch   *time.Timer
	silent  time.Duration
	suspect time.Time // of look: since when they find silence; zero: the last one did not

	dead atomic.Pointer[error] // set once: what every call returns

	mu   sync.Mutex       // guards last
	last transports.Stats // when the stream died
}

var _ transports.Stream = (*Stream)(nil)

func (e *Endpoint) newStream(conn net.Conn, p *seal.Protection) *Stream {
	s := &Stream{
		id: p.Label, conn: conn, wire: e.c.Wire(conn),
		sealer: p.Sealer, opener: p.Opener, maxBody: e.p.MaxBody, name: e.c.Name,
		local: AddrOf(conn.LocalAddr()), remote: AddrOf(conn.RemoteAddr()),
		silent: e.c.Silence,
	}
	s.watch = time.AfterFunc(time.Hour, s.look)
	s.watch.Reset(s.silent / 3)
	return s
}

// Conn is the connection under the stream, for whoever made it.
func (s *Stream) Conn() net.Conn { return s.conn }

// ID implements transports.Stream.
func (s *Stream) ID() uint32 { return s.id }

// Send implements transports.Stream: one call of the cipher, one write.
func (s *Stream) Send(f *transports.Frame) error {
	if d := s.dead.Load(); d != nil {
		return *d
	}
	if n := len(f.Body()); n > s.maxBody {
		return s.fail(fmt.Errorf("sending a frame of %d bytes on stream %d: at most %d are allowed", n, s.id, s.maxBody))
	}
	rec, err := s.sealer.Seal(f)
	if err == nil {
		err = s.wire.Write(rec)
	}
	if err != nil {
		return s.fail(fmt.Errorf("sending on stream %d: %w", s.id, err))
	}
	s.sent.Add(int64(len(rec)))
	return nil
}

// Recv implements transports.Stream. A stream which the other end closed
// between two frames ends with io.EOF in the chain, within one with
// io.ErrUnexpectedEOF.
//
// One read brings body, tag and the next frame's prefix, which finds room in
// the tailroom: as many calls as frames when the network is fast enough.
func (s *Stream) Recv(f *transports.Frame) error {
	if d := s.dead.Load(); d != nil {
		return *d
	}
	if err := s.recv(f); err != nil {
		return s.fail(fmt.Errorf("receiving on stream %d: %w", s.id, err))
	}
	return nil
}

func (s *Stream) recv(f *transports.Frame) error {
	if need := seal.PrefixLen - s.have; need > 0 {
		n, err := s.wire.Read(s.prefix[s.have:], need)
		if err != nil {
			return cut(err, s.have+n)
		}
	}
	n, err := s.opener.BodyLen(s.prefix[:], min(s.maxBody, f.Max()))
	if err != nil {
		return err
	}
	f.Resize(n)
	need, got := n+s.opener.TagLen(), 0
	rec := f.Wire(0, s.opener.TagLen()+seal.PrefixLen)
	if need > 0 {
		if got, err = s.wire.Read(rec, need); err != nil {
			return cut(err, seal.PrefixLen)
		}
		s.have = copy(s.prefix[:], rec[need:got])
	} else {
		s.have = 0
	}
	s.recvd.Add(int64(seal.PrefixLen + need))
	return s.opener.Open(f)
}

// cut turns the end of the connection within a record into another error than
// the end between two.
func cut(err error, inside int) error {
	if inside > 0 && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fail makes err the stream's last word, unless it has one, closes the
// connection, and returns the last word.
func (s *Stream) fail(err error) error {
	if s.dead.CompareAndSwap(nil, &err) {
		s.watch.Stop()
		st := s.snapshot()
		s.mu.Lock()
		s.last = st
		s.mu.Unlock()
		s.conn.Close()
	}
	return *s.dead.Load()
}

// Close implements transports.Stream.
func (s *Stream) Close() error {
	_ = s.fail(fmt.Errorf("stream %d: %w", s.id, net.ErrClosed))
	return nil
}

// answerTrips is how many round trips an answer may take before silence counts: what was
// lost is sent again within one or two.
const answerTrips = 4

// look gives the stream up when the other end has been silent for too long.
//
// TCP_USER_TIMEOUT would do the same in the kernel, but it also counts the time
// in which a living receiver keeps its window shut, so that a slow disk there
// would cost the connection. Keepalive covers a path on which nothing is under
// way.
func (s *Stream) look() {
	if s.dead.Load() != nil {
		return
	}
	q, now := s.wire.Quiet(), time.Now()
	// Twice in a row, and for some round trips: data sent a moment ago after a long
	// pause cannot have been answered yet.
	if q >= s.silent && !s.suspect.IsZero() && now.Sub(s.suspect) >= answerTrips*s.snapshot().RTT {
		_ = s.fail(fmt.Errorf("stream %d: no answer from %v for %v: %w", s.id, s.remote.Addr(), q.Round(time.Second), syscall.ETIMEDOUT))
		return
	}
	if q < s.silent/2 {
		s.suspect = time.Time{}
	} else if s.suspect.IsZero() {
		s.suspect = now
	}
	s.watch.Reset(s.silent / 3)
}

// Stats implements transports.Stream.
func (s *Stream) Stats() transports.Stats {
	if s.dead.Load() == nil {
		if st := s.snapshot(); s.dead.Load() == nil {
			return st
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.last
	s.own(&st)
	return st
}

func (s *Stream) snapshot() transports.Stats {
	var st transports.Stats
	s.wire.Info(&st)
	s.own(&st)
	return st
}

// own fills in what the stream itself counts.
func (s *Stream) own(st *transports.Stats) {
	st.SentBytes, st.RecvBytes = s.sent.Load(), s.recvd.Load()
	st.SendBlocked, st.RecvBlocked = s.wire.Blocked()
	st.Local, st.Remote, st.Transport = s.local, s.remote, s.name
}

// Retune implements transports.Stream.
func (s *Stream) Retune(set transports.Settings) error {
	if d := s.dead.Load(); d != nil {
		return *d
	}
	if set.Window < 0 || set.PacingRate < 0 || set.SeenRate < 0 {
		return fmt.Errorf("changing stream %d: window %d, pacing %d, rate seen %d: below zero", s.id, set.Window, set.PacingRate, set.SeenRate)
	}
	if err := s.wire.Retune(set); err != nil {
		return fmt.Errorf("changing stream %d: %w", s.id, err)
	}
	return nil
}
