package sshboot

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"
)

// Target is one host as the user wrote it.
//
// The zero value of User and Port means: from the configuration, else the local
// user and port 22. Host may be an alias of ssh_config.
type Target struct {
	User string
	Host string
	Port int // 0 or 1..65535
}

// Options says how to log in. All fields are values: the package reads no
// environment variables of its own accord.
type Options struct {
	// ConfigFiles are ssh_config files in order of precedence. A single file
	// must exist; of several, missing ones are passed over. "none" reads none.
	ConfigFiles []string
	// Home is the local home directory, for "~" and default files.
	Home string
	// LocalUser is the name of the local user, the default remote user.
	LocalUser string
	// LookupEnv answers ${NAME} in paths of ssh_config; nil makes such a
	// reference an error of Kind Config.
	LookupEnv func(name string) (string, bool)

	// Identities are private key files, tried first (ssh -i).
	Identities []string
	// Jump is a comma-separated chain of [user@]host[:port] (ssh -J).
	Jump string
	// Extra are "Key=Value" settings that win over every file (ssh -o).
	Extra []string
	// AgentSocket is the path of the key agent's socket; "" means none.
	AgentSocket string
	// Program is "" or "builtin" for the built-in client, else the command line
	// of an external client, split at blanks; quotes are honoured.
	Program string
	// ConnectTimeout bounds one attempt from the first packet to the login,
	// time spent waiting for a person excluded. 0 means ConnectTimeout of the
	// configuration, and 20 s where that has none.
	ConnectTimeout time.Duration
	// IPv4 and IPv6 restrict the address family when exactly one is set.
	IPv4, IPv6 bool
	// Prompt asks the person; nil means nobody can be asked.
	Prompt Prompter
	// Verbose receives one line per decision; nil discards them. It may be
	// called from several goroutines.
	Verbose func(string)

	// carrier opens the byte stream to the server instead of TCP: the seam
	// where a simulated network comes in. nil means TCP.
	carrier func(context.Context) (net.Conn, error)
}

// Prompter asks a person. An error means that nobody can be asked.
//
// Calls are made one at a time per Dial. Text from the far host that is part of
// a question was cleaned of control characters.
type Prompter interface {
	// Ask returns one line; secret hides the input.
	Ask(ctx context.Context, question string, secret bool) (string, error)
	// Confirm asks a yes/no question.
	Confirm(ctx context.Context, question string) (bool, error)
}

// A Shell reaches one host. Its methods may be called concurrently.
type Shell interface {
	// Run executes cmd by the login shell and returns its standard output, at
	// most 1 MiB. in may be nil. With an external program each call is a login
	// of its own.
	Run(ctx context.Context, cmd string, in io.Reader) (out []byte, err error)
	// Start executes cmd by the login shell. The process ends with ctx.
	Start(ctx context.Context, cmd string) (Process, error)
	// Remote is the address the TCP connection really goes to; the zero value
	// when it is not known (proxy, jump host, external program).
	Remote() netip.AddrPort
	// HostKey is the marshalled public host key that was verified (of a
	// certificate: the certified key), nil for an external program.
	HostKey() []byte
	// Canonical is the login after ssh_config; of an external program it is what
	// the user wrote.
	Canonical() (user, host string, port int)
	// Close ends every process and the connection. It may be called twice.
	Close() error
}

// A Process is one remote command. Read takes from its standard output, Write
// goes to its standard input. One reader and one writer may run at once.
type Process interface {
	io.ReadWriteCloser
	// CloseWrite ends the standard input.
	CloseWrite() error
	// Stderr is the end of the standard error, at most 32 KiB, with control
	// bytes removed.
	Stderr() string
	// Wait blocks until the command ended. An *ExitError tells its status.
	// All of standard output must have been read, or Close called.
	Wait() error
}

// ExitError tells how a remote command ended.
type ExitError struct {
	Status int    // exit status, -1 when a signal ended it or none was sent
	Signal string // name without SIG, "" for none
}

// Error names the status or the signal.
func (e *ExitError) Error() string {
	switch {
	case e.Signal != "":
		return "remote command ended by signal " + e.Signal
	case e.Status < 0:
		return "remote command ended without a status"
	}
	return "remote command ended with status " + itoa(e.Status)
}

// Our own limits.
const (
	// defaultConnectTimeout bounds one login attempt. Source: command-line
	// contract, --connect-timeout.
	defaultConnectTimeout = 20 * time.Second
	// maxStderr is how much of a process's standard error is kept, in bytes.
	maxStderr = 32 << 10
	// maxRunOutput is how much output Run collects, in bytes. A command that
	// prints more is an error: Run is for answers, not for data.
	maxRunOutput = 1 << 20
)

func (o *Options) timeout() time.Duration {
	if o.ConnectTimeout > 0 {
		return o.ConnectTimeout
	}
	return defaultConnectTimeout
}

func (o *Options) verbose(text string) {
	if o.Verbose != nil {
		o.Verbose(text)
	}
}
