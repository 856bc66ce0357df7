// Package boottest is a small SSH server for tests and demonstrations. It stands
// in for a far host on a machine without an SSH service: it runs real commands
// with /bin/sh in a home directory of the caller's choice, and nothing else of a
// host. It is not a server for strangers: whoever holds the client key acts as
// the user that runs it, so it belongs on loopback.
//
// Start generates the host key and the one client key that may log in; Server
// writes both, and a configuration that names them, where a client finds them.
package boottest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Options says how the server behaves. The zero value of each field but Home is
// the behaviour of a good host.
type Options struct {
	// Home is the working directory and HOME of commands. It must exist.
	Home string
	// Env is the environment of commands, HOME excepted. nil means PATH alone,
	// with the usual directories.
	Env []string
	// Shell runs a command as "Shell... -c COMMAND". nil means /bin/sh.
	Shell []string
	// Banner is printed on standard output before each command, as a noisy
	// login file does.
	Banner string
	// DenyExec refuses every command.
	DenyExec bool
	// Delay is waited before each command is started.
	Delay time.Duration
	// Password, unless "", is accepted by keyboard-interactive and password
	// logins.
	Password string
	// WrongHostKey makes KnownHosts name another key than the server shows.
	WrongHostKey bool
	// HostKeys replace the generated host key.
	HostKeys []ssh.Signer
	// NoKeepAlive leaves keep-alive requests unanswered, as a dead host would.
	NoKeepAlive bool
	// DieAfterExec closes the connection as soon as a command was started.
	DieAfterExec bool
}

// Server is a running server. All methods may be called concurrently.
type Server struct {
	l      net.Listener
	o      Options
	cfg    *ssh.ServerConfig
	host   ssh.PublicKey
	client ed25519.PrivateKey
	signer ssh.Signer
	wg     sync.WaitGroup
	ctx    context.Context // ends commands that outlive Close
	kill   context.CancelFunc

	mu     sync.Mutex // guards what follows
	conns  map[net.Conn]bool
	closed bool
	logins int
	execs  int
}

// Start serves connections of l until Close.
func Start(l net.Listener, o Options) (*Server, error) {
	if st, err := os.Stat(o.Home); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("starting ssh server: home %q is not a directory", o.Home)
	}
	s := &Server{l: l, o: o, conns: make(map[net.Conn]bool)}
	s.ctx, s.kill = context.WithCancel(context.Background())
	_, client, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the client key: %w", err)
	}
	s.client = client
	if s.signer, err = ssh.NewSignerFromKey(client); err != nil {
		return nil, fmt.Errorf("making the client key: %w", err)
	}
	host, err := newSigner()
	if err != nil {
		return nil, err
	}
	keys := o.HostKeys
	if len(keys) == 0 {
		keys = []ssh.Signer{host}
	}
	s.host = keys[0].PublicKey()
	if o.WrongHostKey {
		other, err := newSigner()
		if err != nil {
			return nil, err
		}
		s.host = other.PublicKey()
	}
	s.cfg = s.serverConfig()
	for _, k := range keys {
		s.cfg.AddHostKey(k)
	}
	s.wg.Go(s.accept)
	return s, nil
}

func newSigner() (ssh.Signer, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a host key: %w", err)
	}
	return ssh.NewSignerFromKey(priv)
}

var errDenied = errors.New("permission denied")

func (s *Server) serverConfig() *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(s.signer.PublicKey().Marshal()) {
				return nil, errDenied
			}
			return nil, nil
		},
	}
	if s.o.Password == "" {
		return cfg
	}
	cfg.PasswordCallback = func(_ ssh.ConnMetadata, pass []byte) (*ssh.Permissions, error) {
		if string(pass) != s.o.Password {
			return nil, errDenied
		}
		return nil, nil
	}
	cfg.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		answers, err := ask("", "", []string{"Password: "}, []bool{false})
		if err != nil || len(answers) != 1 || answers[0] != s.o.Password {
			return nil, errDenied
		}
		return nil, nil
	}
	return cfg
}

// Addr is the address to connect to.
func (s *Server) Addr() net.Addr { return s.l.Addr() }

// HostKey is the key that KnownHosts names.
func (s *Server) HostKey() ssh.PublicKey { return s.host }

// KnownHosts is a line for a known_hosts file.
func (s *Server) KnownHosts() string {
	host, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		host, port = s.Addr().String(), "22" // a listener in memory
	}
	return fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(s.host))
}

// WriteClient writes key, known_hosts and an ssh_config into dir (mode 0700, made
// if missing), so that "ssh -F dir/config ALIAS" reaches the server. It returns
// the path of the configuration.
func (s *Server) WriteClient(dir, alias string) (string, error) {
	host, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		return "", fmt.Errorf("writing client files: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(s.client, "")
	if err != nil {
		return "", fmt.Errorf("writing client files: %w", err)
	}
	key, known, config := filepath.Join(dir, "id_ed25519"), filepath.Join(dir, "known_hosts"), filepath.Join(dir, "config")
	lines := []string{
		"Host " + alias, "HostName " + host, "Port " + port,
		`IdentityFile "` + key + `"`, "IdentitiesOnly yes", "IdentityAgent none",
		`UserKnownHostsFile "` + known + `"`, "GlobalKnownHostsFile none", "StrictHostKeyChecking yes",
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("writing client files: %w", err)
	}
	for _, f := range []struct{ path, text string }{
		{key, string(pem.EncodeToMemory(block))}, {known, s.KnownHosts()}, {config, strings.Join(lines, "\n") + "\n"},
	} {
		if err := os.WriteFile(f.path, []byte(f.text), 0o600); err != nil {
			return "", fmt.Errorf("writing client files: %w", err)
		}
	}
	return config, nil
}

// Logins and Execs count what was granted so far.
func (s *Server) Logins() int { return s.count(&s.logins) }

// Execs counts the commands that were asked for after login.
func (s *Server) Execs() int { return s.count(&s.execs) }

func (s *Server) count(n *int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *n
}

// CloseConnections cuts every connection, as a broken network does; the server
// goes on.
func (s *Server) CloseConnections() {
	s.mu.Lock()
	conns := make([]net.Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// closeGrace is how long commands may take to end by themselves after Close; an
// agent does so within 2 s, where the machine has not much else to do.
const closeGrace = 30 * time.Second

// Close stops listening, cuts all connections and waits for the commands, whose
// standard input ends. Those that do not care are killed after 30 s.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	err := s.l.Close()
	s.CloseConnections()
	timer := time.AfterFunc(closeGrace, s.kill)
	s.wg.Wait()
	timer.Stop()
	s.kill()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}
