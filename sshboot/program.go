package sshboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// program reaches the host by an external client. Every Start is one process and
// one login; Boot makes do with a single one.
//
// Concurrency: mu guards live and closed.
type program struct {
	t    Target
	o    Options
	argv []string // command and options, without host and remote command

	mu     sync.Mutex
	live   map[*childProcess]bool
	closed bool
}

var _ Shell = (*program)(nil)

// newProgram composes the command line: CMD [options] [user@]host command.
func newProgram(t Target, o Options) (*program, error) {
	argv, err := commandWords(o.Program)
	if err != nil {
		return nil, &Error{Kind: Config, Host: t.Host, Text: "--ssh: " + err.Error(), Err: err}
	}
	if t.User != "" {
		if err := checkName("user", t.User); err != nil {
			return nil, &Error{Kind: Config, Host: t.Host, Text: err.Error()}
		}
	}
	if name := filepath.Base(argv[0]); name == "ssh" || name == "ssh.exe" {
		// Settings that make sense for a terminal would spoil the byte stream.
		argv = append(argv, "-T", "-oClearAllForwardings=yes")
		if o.Prompt == nil {
			argv = append(argv, "-oBatchMode=yes")
		}
		if limit := programTimeout(t, o); limit > 0 {
			argv = append(argv, "-oConnectTimeout="+strconv.Itoa(max(1, int(limit.Seconds()))))
		}
	}
	if t.Port != 0 {
		argv = append(argv, "-p", strconv.Itoa(t.Port))
	}
	for _, f := range o.ConfigFiles {
		if len(o.ConfigFiles) == 1 {
			argv = append(argv, "-F", f)
		}
	}
	for _, f := range o.Identities {
		argv = append(argv, "-i", f)
	}
	if o.Jump != "" {
		argv = append(argv, "-J", o.Jump)
	}
	for _, x := range o.Extra {
		argv = append(argv, "-o", x)
	}
	switch {
	case o.IPv4 && !o.IPv6:
		argv = append(argv, "-4")
	case o.IPv6 && !o.IPv4:
		argv = append(argv, "-6")
	}
	host := t.Host
	if t.User != "" {
		host = t.User + "@" + host
	}
	argv = append(argv, host)
	return &program{t: t, o: o, argv: argv, live: make(map[*childProcess]bool)}, nil
}

// programTimeout is the limit that an ssh program is told, which wins over its
// files; 0 leaves it to them: they set one, or hold what is not understood here.
func programTimeout(t Target, o Options) time.Duration {
	if o.ConnectTimeout > 0 {
		return o.ConnectTimeout
	}
	s, err := loadSettings(t, &o)
	if err != nil || len(s.notes) > 0 {
		return 0
	}
	limit, err := s.connectLimit(&o)
	if err != nil || s.first("connecttimeout", "") != "" {
		return 0
	}
	return limit
}

func (s *program) Remote() netip.AddrPort           { return netip.AddrPort{} }
func (s *program) HostKey() []byte                  { return nil }
func (s *program) Canonical() (string, string, int) { return s.t.User, s.t.Host, s.t.Port }
func (s *program) typedHost() string                { return s.t.Host }

func (s *program) Start(ctx context.Context, cmd string) (Process, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, &Error{Kind: Lost, Host: s.t.Host, Text: "the ssh program was closed"}
	}
	argv := append(append([]string(nil), s.argv...), cmd)
	c, err := startChild(exec.Command(argv[0], argv[1:]...))
	if err != nil {
		return nil, &Error{Kind: Config, Host: s.t.Host, Text: fmt.Sprintf("--ssh %s: %v", cleanLine(argv[0], 200), err), Err: err}
	}
	p := &childProcess{child: c, shell: s}
	p.undo = context.AfterFunc(ctx, c.end)
	s.mu.Lock()
	s.live[p] = true
	closed = s.closed
	s.mu.Unlock()
	if closed {
		p.Close()
	}
	return p, nil
}

func (s *program) Run(ctx context.Context, cmd string, in io.Reader) ([]byte, error) {
	return run(ctx, s, cmd, in)
}

func (s *program) Close() error {
	s.mu.Lock()
	s.closed = true
	live := s.live
	s.live = make(map[*childProcess]bool)
	s.mu.Unlock()
	for p := range live {
		p.Close()
	}
	return nil
}

// externalFailures are ssh's own words for what went wrong before a login, in
// the order in which they decide. Source: the messages of OpenSSH and dropbear.
var externalFailures = []struct {
	words string
	kind  Kind
	text  string
}{
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", HostKeyChanged, "ssh refused the host key: it has changed"},
	{"host key has changed", HostKeyChanged, "ssh refused the host key: it has changed"},
	{"Host key verification failed", HostKeyUnknown, "ssh refused the host key"},
	{"Permission denied", NoLogin, "ssh could not log in"},
	{"Too many authentication failures", NoLogin, "ssh could not log in"},
	{"Could not resolve hostname", NoName, "the name has no address"},
	{"Connection refused", Unreachable, "no ssh connection"},
	{"timed out", Unreachable, "no ssh connection"},
	{"No route to host", Unreachable, "no ssh connection"},
	{"Network is unreachable", Unreachable, "no ssh connection"},
	{"Connection closed by", Unreachable, "no ssh connection"},
	{"Connection reset by", Unreachable, "no ssh connection"},
	{"kex_exchange_identification", Unreachable, "no ssh connection"},
	{"Bad configuration option", Config, "ssh refused its options"},
	{"unknown option", Config, "ssh refused its options"},
}

// explain reads status 255 and the words of the client. Source: ssh(1), EXIT
// STATUS.
func (s *program) explain(wait error, stderr string) *Error {
	var exit *ExitError
	if !errors.As(wait, &exit) || exit.Status != 255 {
		return nil
	}
	e := &Error{Kind: Unreachable, Host: s.t.Host, Text: "ssh ended before the agent's greeting", Err: wait, Detail: cleanText(stderr, maxDetail)}
	for _, f := range externalFailures {
		if strings.Contains(stderr, f.words) {
			e.Kind, e.Text = f.kind, f.text
			break
		}
	}
	switch e.Kind {
	case HostKeyUnknown:
		e.Hints = []string{fmt.Sprintf("run \"ssh %s true\" once and check the fingerprint", s.t.Host)}
	case NoLogin:
		e.Hints = []string{fmt.Sprintf("gomover uses your ssh settings; try \"ssh %s true\"", s.t.Host)}
	}
	return e
}

// childProcess is a remote command behind a local client process.
type childProcess struct {
	child *child
	shell *program
	undo  func() bool
	mu    sync.Mutex // guards ended
	ended bool
}

var _ Process = (*childProcess)(nil)

func (p *childProcess) Read(b []byte) (int, error)  { return p.child.out.Read(b) }
func (p *childProcess) Write(b []byte) (int, error) { return p.child.in.Write(b) }
func (p *childProcess) CloseWrite() error           { return p.child.in.Close() }
func (p *childProcess) Stderr() string              { return p.child.stderr.String() }

func (p *childProcess) Close() error {
	p.mu.Lock()
	first := !p.ended
	p.ended = true
	p.mu.Unlock()
	if !first {
		return nil
	}
	p.undo()
	p.child.end()
	p.shell.mu.Lock()
	delete(p.shell.live, p)
	p.shell.mu.Unlock()
	return nil
}

func (p *childProcess) Wait() error {
	<-p.child.done
	var exit *exec.ExitError
	if errors.As(p.child.wait, &exit) {
		return &ExitError{Status: exit.ExitCode()}
	}
	return p.child.wait
}
