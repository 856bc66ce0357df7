package sshboot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Dial logs in to one host and keeps the connection. With an external program
// nothing is contacted yet: its login is part of the first Start.
//
// Errors: *Error of a login Kind or Config.
func Dial(ctx context.Context, t Target, o Options) (Shell, error) {
	if err := checkName("host", t.Host); err != nil {
		return nil, &Error{Kind: Config, Host: cleanLine(t.Host, 80), Text: err.Error()}
	}
	if o.Program != "" && o.Program != "builtin" {
		return newProgram(t, o)
	}
	b, err := dialBuiltin(ctx, t, o, 0)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// maxJumps bounds a chain of jump hosts, which may be a loop through ssh_config.
const maxJumps = 8

// attemptDelay is the pause before the next address is tried while the last has
// not answered. Source: RFC 8305 section 8, recommended value.
const attemptDelay = 250 * time.Millisecond

func dialBuiltin(ctx context.Context, t Target, o Options, depth int) (*builtin, error) {
	if depth > maxJumps {
		return nil, &Error{Kind: Config, Host: t.Host, Text: fmt.Sprintf("more than %d jump hosts", maxJumps)}
	}
	s, err := loadSettings(t, &o)
	if err != nil {
		return nil, err
	}
	limit, err := s.connectLimit(&o)
	if err != nil {
		return nil, err
	}
	tries, err := s.number("connectionattempts", 1)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		b, err := dialOnce(ctx, s, o, limit, depth)
		var e *Error
		if err != nil && try < tries && errors.As(err, &e) && e.Kind == Unreachable && ctx.Err() == nil {
			continue
		}
		if errors.As(err, &e) && e.Kind.Login() && len(s.notes) > 0 && len(e.Hints) < 2 {
			e.Hints = append(e.Hints, hintExternal+" (the built-in client ignores "+strings.Join(s.notes, ", ")+" in ssh_config)")
		}
		return b, err
	}
}

// dialOnce is one attempt: connection, key exchange and login within limit.
func dialOnce(ctx context.Context, s *settings, o Options, limit time.Duration, depth int) (*builtin, error) {
	clock := newLoginClock(limit)
	defer clock.stop()
	check, err := newKeyCheck(ctx, s, &o)
	if err != nil {
		return nil, err
	}
	check.pause = clock.pause
	cfg, err := s.clientConfig(check)
	if err != nil {
		return nil, err
	}
	a, err := newAuth(ctx, s, &o)
	if err != nil {
		return nil, err
	}
	defer a.close()
	a.pause = clock.pause
	cfg.AuthCallback = a.next

	conn, via, err := s.connect(ctx, &o, limit, depth)
	if err != nil {
		return nil, err
	}
	undo := context.AfterFunc(ctx, func() { conn.Close() })
	clock.guard(conn)
	c, chans, reqs, err := ssh.NewClientConn(conn, net.JoinHostPort(s.host, strconv.Itoa(s.port)), cfg)
	late := clock.stop()
	if !undo() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil || late {
		if c != nil {
			c.Close()
		}
		words := closeVia(via, conn)
		conn.Close()
		return nil, loginError(ctx, s, check, a, err, late, limit, words)
	}
	b := &builtin{s: s, client: ssh.NewClient(c, chans, reqs), key: check.key.Marshal(), via: via}
	if via == nil {
		if _, proxied := conn.(*pipeConn); !proxied {
			b.remote = addrPort(conn.RemoteAddr())
		}
	}
	if err := b.keepAlive(); err != nil {
		b.Close()
		return nil, err
	}
	o.verbose(fmt.Sprintf("%s: logged in as %s, server %s", s.typed, s.user, cleanLine(string(c.ServerVersion()), 80)))
	return b, nil
}

// closeVia ends what carried a failed connection and returns the words of a
// proxy command.
func closeVia(via *builtin, conn net.Conn) string {
	if via != nil {
		via.Close()
	}
	if p, ok := conn.(*pipeConn); ok {
		return p.words()
	}
	return ""
}

// loginError is the one place that classifies a failed login.
func loginError(ctx context.Context, s *settings, check *keyCheck, a *auth, err error, late bool, limit time.Duration, words string) error {
	if ctx.Err() != nil {
		return &Error{Kind: Unreachable, Host: s.typed, Text: "connecting was interrupted", Err: context.Cause(ctx)}
	}
	if check.err != nil {
		return check.err
	}
	e := &Error{Kind: Unreachable, Host: s.typed, Err: err}
	switch {
	case late && check.key != nil:
		e.Kind, e.Text = NoLogin, fmt.Sprintf("ssh could not log in within %v", limit)
	case late:
		e.Text = fmt.Sprintf("no answer from the ssh server within %v", limit)
	case check.key != nil && a.allowed != nil:
		return a.refusal(err)
	case check.key != nil:
		e.Kind, e.Text = NoLogin, "ssh could not log in"
	default:
		e.Text = "no ssh connection"
	}
	if err != nil && !late {
		e.Detail = cleanText(err.Error(), maxDetail)
	}
	if words != "" {
		e.Detail = cleanText(e.Detail+"\n"+words, maxDetail)
	}
	return e
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// loginClock closes the connection when the machine's part of a login takes
// longer than limit. It stands still while a person is asked.
//
// Concurrency: all methods from the login's goroutine.
type loginClock struct {
	limit time.Duration
	dog   *watchdog
	late  bool
}

func newLoginClock(limit time.Duration) *loginClock { return &loginClock{limit: limit} }

// guard starts the clock for a connection.
func (l *loginClock) guard(conn net.Conn) {
	l.dog = newWatchdog(l.limit, func() { conn.Close() })
}

func (l *loginClock) pause() func() {
	if l.dog == nil || !l.dog.timer.Stop() {
		return func() {}
	}
	return func() { l.dog.timer.Reset(l.limit) }
}

// stop ends the clock and reports whether it had run out; later calls repeat
// the answer.
func (l *loginClock) stop() bool {
	if l.dog != nil {
		l.late = l.dog.stop()
		l.dog = nil
	}
	return l.late
}

// connect opens the byte stream to the ssh server: direct, through a proxy
// command, or through the jump host via, which the caller must close.
func (s *settings) connect(ctx context.Context, o *Options, limit time.Duration, depth int) (conn net.Conn, via *builtin, err error) {
	jump, proxy := s.first("proxyjump", "none"), s.first("proxycommand", "none")
	switch {
	case !isNone(jump) && jump != "":
		return s.connectJump(ctx, o, jump, limit, depth)
	case !isNone(proxy) && proxy != "":
		conn, err = s.connectProxy(proxy)
		return conn, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if o.carrier != nil {
		conn, err = o.carrier(ctx)
	} else {
		conn, err = s.connectTCP(ctx)
	}
	return conn, nil, err
}

func (s *settings) connectTCP(ctx context.Context) (net.Conn, error) {
	network, kind := "ip", "address"
	switch f := strings.ToLower(s.first("addressfamily", "any")); f {
	case "any":
	case "inet":
		network, kind = "ip4", "IPv4 address"
	case "inet6":
		network, kind = "ip6", "IPv6 address"
	default:
		return nil, configError(s.typed, "AddressFamily "+cleanLine(f, 40)+": unknown value", nil)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, strings.Trim(s.host, "[]"))
	if err != nil || len(addrs) == 0 {
		text := "the name " + s.host + " has no " + kind
		if _, literal := netip.ParseAddr(strings.Trim(s.host, "[]")); literal == nil {
			text = s.host + " is no " + kind
		}
		var de *net.DNSError
		if errors.As(err, &de) && !de.IsNotFound {
			text = "the name " + s.host + " could not be resolved"
		}
		e := &Error{Kind: NoName, Host: s.typed, Text: text, Err: err}
		if err != nil && de != nil {
			e.Detail = cleanText(de.Err, maxDetail)
		}
		return nil, e
	}
	var d net.Dialer
	if bind := s.first("bindaddress", ""); bind != "" {
		ip, err := netip.ParseAddr(bind)
		if err != nil {
			return nil, configError(s.typed, "BindAddress "+cleanLine(bind, 80)+": not an address", err)
		}
		d.LocalAddr = &net.TCPAddr{IP: ip.AsSlice(), Zone: ip.Zone()}
	}
	conn, err := race(ctx, interleave(addrs), func(ctx context.Context, ip netip.Addr) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", netip.AddrPortFrom(ip.Unmap(), uint16(s.port)).String())
	})
	if err != nil {
		return nil, s.unreachable(ctx, err)
	}
	return conn, nil
}

func (s *settings) unreachable(ctx context.Context, err error) *Error {
	e := &Error{Kind: Unreachable, Host: s.typed, Err: err}
	why := err.Error()
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		why = op.Err.Error()
		if i := strings.LastIndex(why, ": "); i >= 0 {
			why = why[i+2:]
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		why = "timed out"
	}
	e.Text = fmt.Sprintf("no ssh connection to %s port %d: %s", s.host, s.port, cleanLine(why, 200))
	return e
}

// interleave alternates address families, keeping the resolver's order within
// each and its first choice. Source: RFC 8305 section 4.
func interleave(addrs []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Unmap().Is4() == addrs[0].Unmap().Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	out := make([]netip.Addr, 0, len(addrs))
	for i := 0; i < max(len(first), len(second)); i++ {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out
}

// race connects to the first address that answers. A new attempt begins when the
// last failed or after attemptDelay; the losers are closed before it returns.
// Source: RFC 8305 section 5.
func race(ctx context.Context, addrs []netip.Addr, dial func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result) // every attempt sends once, every result is received
	var won net.Conn
	var first error
	next, running := 0, 0
	start := func() {
		a := addrs[next]
		next++
		running++
		go func() {
			c, err := dial(ctx, a)
			results <- result{c, err}
		}()
	}
	timer := time.NewTimer(attemptDelay)
	defer timer.Stop()
	start()
	for running > 0 {
		select {
		case <-timer.C:
			if won == nil && next < len(addrs) && ctx.Err() == nil {
				start()
				timer.Reset(attemptDelay)
			}
		case r := <-results:
			running--
			switch {
			case r.err == nil && won == nil:
				won = r.conn
				cancel()
			case r.err == nil:
				r.conn.Close()
			default:
				if first == nil {
					first = r.err
				}
				if won == nil && next < len(addrs) && ctx.Err() == nil {
					start()
					timer.Reset(attemptDelay)
				}
			}
		}
	}
	cancel()
	if won == nil {
		return nil, first
	}
	return won, nil
}
