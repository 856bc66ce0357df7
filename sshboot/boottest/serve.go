package boottest

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

func (s *Server) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// serve handles one connection until it ends and its commands have ended.
func (s *Server) serve(c net.Conn) {
	conn, chans, reqs, err := ssh.NewServerConn(c, s.cfg)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.logins++
	s.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() {
		for r := range reqs {
			// Unknown requests are refused, which is the answer that a
			// keep-alive wants.
			if r.WantReply && !s.o.NoKeepAlive {
				r.Reply(false, nil)
			}
		}
	})
	for n := range chans {
		switch n.ChannelType() {
		case "session":
			ch, requests, err := n.Accept()
			if err == nil {
				wg.Go(func() { s.session(conn, ch, requests) })
			}
		case "direct-tcpip":
			wg.Go(func() { forward(n) })
		default:
			n.Reject(ssh.UnknownChannelType, "unknown channel type")
		}
	}
	conn.Close()
	wg.Wait()
}

// session answers one session channel: a single command.
func (s *Server) session(conn ssh.Conn, ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer ch.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	started := false
	for r := range reqs {
		var msg struct{ Command string }
		ok := r.Type == "exec" && !started && !s.o.DenyExec && ssh.Unmarshal(r.Payload, &msg) == nil
		if r.WantReply {
			r.Reply(ok, nil)
		}
		if !ok {
			continue
		}
		started = true
		s.mu.Lock()
		s.execs++
		s.mu.Unlock()
		wg.Go(func() {
			time.Sleep(s.o.Delay)
			status := s.run(&wg, conn, ch, msg.Command)
			ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			ch.Close()
		})
	}
}

// run executes a command on the channel. Its standard input ends with the
// channel's, so also when the connection breaks; wg counts who copies it.
func (s *Server) run(wg *sync.WaitGroup, conn ssh.Conn, ch ssh.Channel, command string) uint32 {
	shell := s.o.Shell
	if shell == nil {
		shell = []string{"/bin/sh"}
	}
	env := s.o.Env
	if env == nil {
		env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	cmd := exec.CommandContext(s.ctx, shell[0], append(append([]string(nil), shell[1:]...), "-c", command)...)
	ownSession(cmd)
	cmd.WaitDelay = 10 * time.Second // for who reads what it printed last
	cmd.Dir = s.o.Home
	cmd.Env = append(append([]string(nil), env...), "HOME="+s.o.Home)
	cmd.Stdout = ch
	cmd.Stderr = ch.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return 126
	}
	if s.o.Banner != "" {
		io.WriteString(ch, s.o.Banner)
	}
	if err := cmd.Start(); err != nil {
		in.Close()
		io.WriteString(ch.Stderr(), "cannot start the shell\n")
		return 126
	}
	if s.o.DieAfterExec {
		conn.Close()
	}
	wg.Go(func() {
		io.Copy(in, ch) // ends with the channel
		in.Close()
	})
	err = cmd.Wait()
	ch.CloseWrite()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return uint32(exit.ExitCode())
	case err != nil:
		return 255
	}
	return 0
}

// forward carries a connection for a client that jumps through this host.
func forward(n ssh.NewChannel) {
	var to struct {
		Host   string
		Port   uint32
		Origin string
		From   uint32
	}
	if err := ssh.Unmarshal(n.ExtraData(), &to); err != nil || to.Port > 65535 {
		n.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	ip := net.ParseIP(to.Host)
	if ip == nil || !ip.IsLoopback() {
		n.Reject(ssh.Prohibited, "only loopback addresses")
		return
	}
	out, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: ip, Port: int(to.Port)})
	if err != nil {
		n.Reject(ssh.ConnectionFailed, "cannot connect")
		return
	}
	defer out.Close()
	ch, reqs, err := n.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	var wg sync.WaitGroup
	wg.Go(func() { ssh.DiscardRequests(reqs) })
	wg.Go(func() {
		io.Copy(out, ch)
		out.CloseWrite()
	})
	io.Copy(ch, out)
	ch.Close()
	wg.Wait()
}
