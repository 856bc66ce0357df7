package httpsource

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"
)

// Pipe is one connection to the server over which requests are sent before the
// answers to earlier ones have come, so that the path never waits for a round trip
// between two of them. Source: RFC 9112, section 9.3.2. One goroutine at a time.
//
// When the server closes the connection after an answer, as it may at any time, the
// requests that it did not answer are sent again over another one. A server that
// cannot bear early requests gets one after the other from then on.
type Pipe struct {
	s   *Source
	ctx context.Context
	v   *version

	conn  net.Conn // nil while there is none
	stop  func() bool
	limit *limited
	in    *bufio.Reader
	asked []part // not answered yet, in order
	sent  int    // how many of these the server was sent
	early bool   // the first of these was sent before the answer to the one before had come
	last  io.Reader
	count int  // how many were answered over this connection
	ended bool // the server said that it closes the connection after the last answer
}

// part is a range of the object.
type part struct{ offset, n int64 }

// fewAnswers is how many a connection gives at least if its server is made for early
// requests; after that it is not doubted any more. One that closes it sooner may throw
// away answers that are on their way, since it has not read the requests behind them.
const fewAnswers = 8

// mostInterim is how many answers may precede one (RFC 9110, section 15.2). Ours.
const mostInterim = 5

// earlyTimeout is how long the answer to a request may take that was sent early,
// once the one before has come. Ours: a server that has read it answers much sooner,
// and the schedule waits ten seconds before it gives up a silent source.
const earlyTimeout = 5 * time.Second

// errBroken means that the connection ended before an answer did.
var errBroken = errors.New("the connection ended too early")

// Pipe makes a pipe, which is connected by its first Ask and closed with ctx; nil if
// requests go through a proxy, whose connections are not ours. Open must have
// succeeded before. Who has pipes uses Range no more, so that there are not more
// connections than streams.
func (s *Source) Pipe(ctx context.Context) *Pipe {
	s.mu.Lock()
	v := s.pinned
	s.mu.Unlock()
	if v == nil {
		return nil
	}
	if s.config.Proxy != nil {
		u, err := s.config.Proxy(&http.Request{URL: v.at, Header: http.Header{}})
		if err != nil || u != nil {
			return nil
		}
	}
	return &Pipe{s: s, ctx: ctx, v: v}
}

// Ask requests n bytes, at least 1, from an offset on, and waits at most for the
// connection. Errors as of Range; then the pipe is of no use any more.
func (p *Pipe) Ask(offset, n int64) error {
	a := part{offset, n}
	if offset < 0 || n < 1 || offset > p.v.facts.Size-n {
		return p.failed(a, &StatusError{text: "these bytes are not part of the object", final: true})
	}
	p.asked = append(p.asked, a)
	var err error
	switch busy := len(p.asked) > 1 || p.last != nil; {
	case p.conn == nil && !busy:
		err = p.connect()
	case p.conn == nil || p.ended || busy && p.s.oneByOne.Load():
		// Next sends it.
	default:
		if err = p.send(); err == nil && len(p.asked) == 1 {
			p.early = busy
		}
		if err != nil && len(p.asked) > 1 {
			err = nil // Next notices that the connection is gone
		}
	}
	if err != nil {
		return p.failed(a, err)
	}
	return nil
}

// Next gives the bytes of the earliest request that it has not given yet, exactly
// these and then io.EOF; less is io.ErrUnexpectedEOF. What it gave before must have
// been read to the end. Errors as of Ask, and one when nothing was asked for.
func (p *Pipe) Next() (io.Reader, error) {
	if len(p.asked) == 0 {
		return nil, errors.New("nothing was asked for")
	}
	r, err := p.next()
	lost := gone(err)
	if err != nil && p.early && p.count < fewAnswers && p.ctx.Err() == nil {
		p.s.oneByOne.Store(true)
		lost = true
	}
	if lost && p.count > 0 {
		// Between two answers a server may close the connection.
		p.Close()
		r, err = p.next()
	}
	if err != nil {
		return nil, p.failed(p.asked[0], err)
	}
	p.asked = p.asked[1:]
	p.sent--
	p.early = p.sent > 0
	return r, nil
}

// gone tells whether a connection has ended, rather than said something wrong.
func gone(err error) bool {
	var n net.Error
	var s *StatusError
	switch {
	case err == nil, errors.As(err, &s), errors.Is(err, ErrChanged), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &n) && n.Timeout():
		return false
	}
	return true
}

func (p *Pipe) failed(a part, err error) error {
	if cause := context.Cause(p.ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("reading %d bytes at %d of %s: %w", a.n, a.offset, p.s, err)
}

// next reads the head of the next answer.
func (p *Pipe) next() (io.Reader, error) {
	if p.last != nil && !p.ended {
		if n, err := io.ReadFull(p.last, make([]byte, 1)); n > 0 || err != io.EOF {
			return nil, errBroken // what came before was not read, or is not complete
		}
	}
	p.last = nil
	if p.conn == nil || p.ended {
		p.Close()
		if err := p.connect(); err != nil {
			return nil, err
		}
	}
	if p.sent == 0 {
		if err := p.send(); err != nil {
			return nil, err
		}
	}
	a := p.asked[0]
	resp, err := p.head(a)
	if err != nil {
		return nil, err
	}
	if err := p.v.check(resp, a.offset, a.n); err != nil {
		return nil, err
	}
	p.count++
	if p.ended = resp.Close; p.ended && p.count < fewAnswers {
		p.s.oneByOne.Store(true)
	}
	p.last = resp.Body
	return &answer{p: p, body: body{ReadCloser: resp.Body, left: a.n}}, nil
}

// answer is what Next gives.
type answer struct {
	p *Pipe
	body
}

// Read reads the next bytes. A connection that breaks early may do so since the
// server does not bear early requests.
func (a *answer) Read(b []byte) (int, error) {
	n, err := a.body.Read(b)
	if err != nil && err != io.EOF && a.p.sent > 0 && a.p.count < fewAnswers {
		a.p.s.oneByOne.Store(true)
	}
	return n, err
}

// head reads the status line and the header of an answer.
func (p *Pipe) head(a part) (*http.Response, error) {
	req, err := p.s.request(p.ctx, p.v.at, a.offset, a.n, p.v.facts.Validator)
	if err != nil {
		return nil, err
	}
	patience := headerTimeout
	if p.early && p.count < fewAnswers {
		patience = p.s.early
	}
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	for range mostInterim + 1 {
		p.limit.left = maxHeader
		resp, err := http.ReadResponse(p.in, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			p.limit.left = math.MaxInt64
			if err := encoded(resp); err != nil {
				return nil, err
			}
			return resp, p.conn.SetReadDeadline(time.Time{})
		}
	}
	return nil, &StatusError{text: "the server does not come to its answer", final: true}
}

// connect connects and sends all that was asked for.
func (p *Pipe) connect() error {
	p.s.Close() // the connection of Open would be one too many
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	host, port := p.v.at.Hostname(), p.v.at.Port()
	secure := p.v.at.Scheme == "https"
	switch {
	case port != "":
	case secure:
		port = "443"
	default:
		port = "80"
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return err
	}
	if secure {
		config := p.s.config.TLS.Clone()
		if config == nil {
			config = &tls.Config{}
		}
		if config.ServerName == "" {
			config.ServerName = host
		}
		over := tls.Client(conn, config)
		if err := over.HandshakeContext(ctx); err != nil {
			conn.Close()
			return err
		}
		conn = over
	}
	p.conn, p.count, p.ended = conn, 0, false
	p.stop = context.AfterFunc(p.ctx, func() { conn.Close() })
	p.limit = &limited{r: conn}
	p.in = bufio.NewReaderSize(p.limit, readBuffer)
	for p.sent < len(p.asked) && (p.sent == 0 || !p.s.oneByOne.Load()) {
		if err := p.send(); err != nil && p.sent == 0 {
			return err
		} else if err != nil {
			break // what was sent may be answered
		}
	}
	return nil
}

// send sends the next request that was not sent.
func (p *Pipe) send() error {
	a := p.asked[p.sent]
	req, err := p.s.request(p.ctx, p.v.at, a.offset, a.n, p.v.facts.Validator)
	if err != nil {
		return err
	}
	if err := p.conn.SetWriteDeadline(time.Now().Add(headerTimeout)); err != nil {
		return err
	}
	out := bufio.NewWriter(p.conn)
	if err := req.Write(out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	p.sent++
	return nil
}

// Close ends the connection.
func (p *Pipe) Close() error {
	if p.conn == nil {
		return nil
	}
	p.stop()
	err := p.conn.Close()
	p.conn, p.last, p.sent, p.early = nil, nil, 0, false
	return err
}

// limited reads as much as it may.
type limited struct {
	r    io.Reader
	left int64
}

// Read reads the next bytes.
func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, &StatusError{text: fmt.Sprintf("the server's header is longer than %d bytes", maxHeader), final: true}
	}
	n, err := l.r.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}
