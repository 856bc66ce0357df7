package sshboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// parseJump reads one hop: [user@]host[:port], [v6]:port or ssh://...
func parseJump(hop string) (Target, error) {
	text, uri := strings.CutPrefix(strings.TrimSpace(hop), "ssh://")
	if uri {
		text = strings.TrimSuffix(text, "/")
	}
	var t Target
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		t.User, text = text[:i], text[i+1:]
		if t.User == "" {
			return t, fmt.Errorf("jump host %q: empty user", cleanLine(hop, 80))
		}
	}
	t.Host = text
	if host, port, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return t, fmt.Errorf("jump host %q: port must be 1 to 65535", cleanLine(hop, 80))
		}
		t.Host, t.Port = host, n
	} else {
		t.Host = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	}
	if err := checkName("host", t.Host); err != nil {
		return t, fmt.Errorf("jump %w", err)
	}
	return t, nil
}

// connectJump logs in to the last hop of the chain, through the hops before it,
// and opens the connection there. As with ssh, hops are configured by ssh_config
// alone: identities and -o of the command line are for the target.
func (s *settings) connectJump(ctx context.Context, o *Options, chain string, limit time.Duration, depth int) (net.Conn, *builtin, error) {
	before, last := "", chain
	if i := strings.LastIndexByte(chain, ','); i >= 0 {
		before, last = chain[:i], chain[i+1:]
	}
	t, err := parseJump(last)
	if err != nil {
		return nil, nil, configError(s.typed, err.Error(), err)
	}
	hop := *o
	hop.Identities, hop.Extra, hop.Jump = nil, nil, before
	via, err := dialBuiltin(ctx, t, hop, depth+1)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := via.client.DialContext(ctx, "tcp", net.JoinHostPort(s.host, strconv.Itoa(s.port)))
	if err != nil {
		via.Close()
		return nil, nil, &Error{
			Kind: Unreachable, Host: s.typed, Err: err, Detail: cleanText(err.Error(), maxDetail),
			Text: fmt.Sprintf("jump host %s cannot reach %s port %d", t.Host, s.host, s.port),
		}
	}
	return conn, via, nil
}

// connectProxy starts a ProxyCommand and talks through its input and output.
func (s *settings) connectProxy(command string) (net.Conn, error) {
	line, err := expandWith(command, s.tokens())
	if err != nil {
		return nil, configError(s.typed, "ProxyCommand: "+err.Error(), err)
	}
	p, err := startChild(shellCommand("exec " + line))
	if err != nil {
		return nil, &Error{Kind: Unreachable, Host: s.typed, Text: "starting the proxy command: " + err.Error(), Err: err}
	}
	return &pipeConn{child: p}, nil
}

// child is a local process with pipes, its own process group, and somebody who
// waits for it.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr tail
	once   sync.Once
	done   chan struct{} // closed by the reaper once wait is set
	wait   error
}

// startChild starts the command and a goroutine that reaps it.
//
// The output pipes are ours, not the library's: Wait would close them under the
// readers.
func startChild(cmd *exec.Cmd) (*child, error) {
	c := &child{cmd: cmd, done: make(chan struct{})}
	ownGroup(cmd)
	var err error
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r, w, err := osPipe()
	if err != nil {
		c.in.Close()
		return nil, err
	}
	said, saying, err := osPipe()
	if err != nil {
		c.in.Close()
		r.Close()
		w.Close()
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, saying
	c.out = r
	err = cmd.Start()
	w.Close()
	saying.Close()
	if err != nil {
		r.Close()
		said.Close()
		return nil, err
	}
	heard := make(chan struct{})
	go func() {
		_, _ = io.Copy(&c.stderr, said) // ends with the last who may say something
		close(heard)
	}()
	go func() {
		c.wait = cmd.Wait()
		hearOut(heard)
		said.Close()
		close(c.done)
	}()
	return c, nil
}

// hearOut waits until all is heard that a process that has ended said, for two seconds:
// a grandchild that keeps standard error open must not hold up the reaper. The time
// passes in steps, so that a machine that stood still for long takes away only one.
func hearOut(heard <-chan struct{}) {
	for range 20 {
		select {
		case <-heard:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// end kills the process group and waits until the process is reaped.
func (c *child) end() {
	c.once.Do(func() {
		c.in.Close()
		select {
		case <-c.done:
		default:
			killGroup(c.cmd)
			<-c.done
		}
		c.out.Close()
	})
}

// pipeConn is a net.Conn over a child's pipes. Deadlines are not supported; the
// login clock closes the connection instead.
type pipeConn struct {
	child *child
	ended atomic.Bool // the command closed its output
}

var _ net.Conn = (*pipeConn)(nil)

var errNoDeadline = errors.New("deadlines are not supported on a proxy command")

func (p *pipeConn) Read(b []byte) (int, error) {
	n, err := p.child.out.Read(b)
	if errors.Is(err, io.EOF) {
		p.ended.Store(true)
	}
	return n, err
}

// Close ends the command; one that closed its output by itself may first say
// why.
func (p *pipeConn) Close() error {
	if p.ended.Load() {
		timer := time.NewTimer(lastWords)
		defer timer.Stop()
		select {
		case <-p.child.done:
		case <-timer.C:
		}
	}
	p.child.end()
	return nil
}

func (p *pipeConn) Write(b []byte) (int, error)      { return p.child.in.Write(b) }
func (p *pipeConn) LocalAddr() net.Addr              { return pipeAddr{} }
func (p *pipeConn) RemoteAddr() net.Addr             { return pipeAddr{} }
func (p *pipeConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (p *pipeConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (p *pipeConn) SetWriteDeadline(time.Time) error { return errNoDeadline }

// lastWords is how long a proxy command that closed its output may take to say
// why and end.
const lastWords = time.Second

// words ends the command and returns what it said on standard error.
func (p *pipeConn) words() string {
	p.Close()
	return p.child.stderr.String()
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "proxy" }
func (pipeAddr) String() string  { return "proxy command" }
