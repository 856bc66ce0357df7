package sshboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// builtin is a login by the ssh library.
//
// Concurrency: the library's client may be used by several goroutines; wg counts
// the keep-alive goroutine.
type builtin struct {
	s      *settings
	client *ssh.Client
	key    []byte
	remote netip.AddrPort
	via    *builtin // jump host that carries this connection
	wg     sync.WaitGroup
	once   sync.Once
	err    error
}

var _ Shell = (*builtin)(nil)

func (b *builtin) Remote() netip.AddrPort           { return b.remote }
func (b *builtin) HostKey() []byte                  { return slices.Clone(b.key) }
func (b *builtin) Canonical() (string, string, int) { return b.s.user, b.s.host, b.s.port }
func (b *builtin) typedHost() string                { return b.s.typed }

func (b *builtin) Close() error {
	b.once.Do(func() {
		b.err = b.client.Close()
		b.wg.Wait()
		if b.via != nil {
			b.via.Close()
		}
	})
	return b.err
}

// aliveInterval is ServerAliveInterval when nobody has set it. A person at a
// terminal sees that a connection is dead; a transfer must find it out. Ours:
// three missed answers are well below the time after which a run gives up.
const aliveInterval = 15 * time.Second

// keepAlive sends questions that any server answers, as ServerAliveInterval
// wants, and closes the connection after ServerAliveCountMax unanswered ones.
func (b *builtin) keepAlive() error {
	every, err := b.s.span("serveraliveinterval", aliveInterval)
	if err != nil {
		return err
	}
	limit, err := b.s.number("serveralivecountmax", 3)
	if err != nil {
		return err
	}
	if every <= 0 {
		return nil
	}
	gone := make(chan struct{}) // closed when the connection ended
	answers := make(chan struct{})
	b.wg.Go(func() {
		_ = b.client.Wait()
		close(gone)
	})
	b.wg.Go(func() {
		missed, asked := 0, false
		var asking sync.WaitGroup
		defer asking.Wait()
		timer := time.NewTimer(every)
		defer timer.Stop()
		for {
			select {
			case <-gone:
				return
			case <-answers:
				missed, asked = 0, false
			case <-timer.C:
				if asked {
					if missed++; missed >= max(limit, 1) {
						b.client.Close()
						return
					}
				} else {
					asked = true
					asking.Go(func() {
						if _, _, err := b.client.SendRequest("keepalive@openssh.com", true, nil); err == nil {
							select {
							case answers <- struct{}{}:
							case <-gone:
							}
						}
					})
				}
				timer.Reset(every)
			}
		}
	})
	return nil
}

func (b *builtin) Start(ctx context.Context, cmd string) (Process, error) {
	sess, err := b.client.NewSession()
	if err != nil {
		return nil, b.refused(err)
	}
	p := &session{sess: sess, client: b.client, done: make(chan struct{})}
	if p.in, err = sess.StdinPipe(); err == nil {
		p.out, err = sess.StdoutPipe()
	}
	sess.Stderr = &p.stderr
	if err == nil {
		err = sess.Start(cmd)
	}
	if err != nil {
		sess.Close()
		return nil, b.refused(err)
	}
	p.undo = context.AfterFunc(ctx, func() { p.Close() })
	go p.reap()
	return p, nil
}

// refused is a session that the server did not open.
func (b *builtin) refused(err error) *Error {
	e := &Error{Kind: CannotExecute, Host: b.s.typed, Text: "the ssh server refused to run a command", Detail: cleanText(err.Error(), maxDetail), Err: err}
	if errors.Is(err, io.EOF) {
		e.Kind, e.Text = Lost, "the ssh connection ended"
	}
	return e
}

func (b *builtin) Run(ctx context.Context, cmd string, in io.Reader) ([]byte, error) {
	return run(ctx, b, cmd, in)
}

// run is Shell.Run in terms of Start.
func run(ctx context.Context, sh Shell, cmd string, in io.Reader) ([]byte, error) {
	p, err := sh.Start(ctx, cmd)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if in != nil {
			_, _ = io.Copy(p, in) // a command need not read its input
		}
		_ = p.CloseWrite()
	})
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(p, maxRunOutput+1))
	if n > maxRunOutput {
		err = fmt.Errorf("running a command: more than %d bytes of output", maxRunOutput)
	}
	if err != nil {
		p.Close()
		wg.Wait()
		return nil, err
	}
	err = p.Wait()
	p.Close()
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return out.Bytes(), err
}

// session is a process of the ssh library.
//
// Concurrency: as Process says; once and done guard the end.
type session struct {
	sess   *ssh.Session
	client *ssh.Client
	once   sync.Once
	in     io.WriteCloser
	out    io.Reader
	stderr tail
	undo   func() bool
	done   chan struct{} // closed by reap once wait is set
	wait   error
}

var _ Process = (*session)(nil)

func (p *session) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p *session) Write(b []byte) (int, error) { return p.in.Write(b) }
func (p *session) CloseWrite() error           { return p.in.Close() }
func (p *session) Stderr() string              { return p.stderr.String() }

// closeGrace is how long a server may take to confirm the end of a session. A
// server that takes longer is gone, and only the end of the connection frees
// whoever reads from it.
const closeGrace = 2 * time.Second

// Close ends the session; the server ends the command's input and output.
func (p *session) Close() error {
	var err error
	p.once.Do(func() {
		select {
		case <-p.done:
			return
		default:
		}
		timer := time.AfterFunc(closeGrace, func() {
			select {
			case <-p.done:
			default:
				p.client.Close()
			}
		})
		if err = p.sess.Close(); err != nil {
			timer.Stop() // the connection has ended, or the session has
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	})
	return err
}

// reap waits for the end, so that it is known even if nobody calls Wait.
func (p *session) reap() {
	p.wait = exitError(p.sess.Wait())
	p.undo()
	close(p.done)
}

func (p *session) Wait() error {
	<-p.done
	return p.wait
}

func exitError(err error) error {
	var exit *ssh.ExitError
	var missing *ssh.ExitMissingError
	switch {
	case errors.As(err, &exit) && exit.Signal() != "":
		return &ExitError{Status: -1, Signal: cleanLine(exit.Signal(), 20)}
	case errors.As(err, &exit):
		return &ExitError{Status: exit.ExitStatus()}
	case errors.As(err, &missing):
		return &ExitError{Status: -1}
	}
	return err
}

// clientConfig turns settings into the library's form.
func (s *settings) clientConfig(check *keyCheck) (*ssh.ClientConfig, error) {
	good, weak := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	cfg := &ssh.ClientConfig{User: s.user, HostKeyCallback: check.verify}
	cfg.ClientVersion = "SSH-2.0-Go-gomover"
	var err error
	choose := func(key string, dst *[]string, good, weak []string) {
		list := s.first(key, "")
		if list == "" || err != nil {
			return
		}
		if *dst = chooseAlgorithms(list, good, append(slices.Clone(good), weak...)); len(*dst) == 0 {
			err = configError(s.typed, key+" "+cleanLine(list, 80)+": the built-in ssh client knows none of these", nil)
		}
	}
	choose("ciphers", &cfg.Ciphers, good.Ciphers, weak.Ciphers)
	choose("macs", &cfg.MACs, good.MACs, weak.MACs)
	choose("kexalgorithms", &cfg.KeyExchanges, good.KeyExchanges, weak.KeyExchanges)
	cfg.HostKeyAlgorithms = check.algorithms()
	choose("hostkeyalgorithms", &cfg.HostKeyAlgorithms, cfg.HostKeyAlgorithms, weak.HostKeys)
	return cfg, err
}

// chooseAlgorithms applies a list of ssh_config to the defaults: "+" appends,
// "-" removes, "^" puts first, otherwise the list replaces them. Names that are
// not in all are left out. Source: ssh_config(5), Ciphers.
func chooseAlgorithms(list string, defaults, all []string) []string {
	mode := byte(0)
	if strings.IndexByte("+-^", list[0]) >= 0 {
		mode, list = list[0], list[1:]
	}
	var named []string
	for p := range strings.SplitSeq(list, ",") {
		for _, a := range all {
			if ok, err := path.Match(strings.TrimSpace(p), a); ok && err == nil && !slices.Contains(named, a) {
				named = append(named, a)
			}
		}
	}
	rest := slices.DeleteFunc(slices.Clone(defaults), func(a string) bool { return slices.Contains(named, a) })
	switch mode {
	case '+':
		return append(slices.Clone(defaults), slices.DeleteFunc(named, func(a string) bool { return slices.Contains(defaults, a) })...)
	case '-':
		return rest
	case '^':
		return append(named, rest...)
	}
	return named
}
