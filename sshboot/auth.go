package sshboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// auth chooses login methods as the server allows them. One login uses it, from
// one goroutine.
type auth struct {
	ctx   context.Context
	s     *settings
	o     *Options
	pause func() func()

	order   []string // methods, preferred first
	tries   int      // password attempts per method
	used    map[string]int
	allowed []string // what the server offered last
	notes   []string // why a key could not be used
	agent   net.Conn
	signers []ssh.Signer
}

// maxPasswordTries is the default of NumberOfPasswordPrompts. Source:
// ssh_config(5).
const maxPasswordTries = 3

func newAuth(ctx context.Context, s *settings, o *Options) (*auth, error) {
	a := &auth{ctx: ctx, s: s, o: o, used: make(map[string]int)}
	var err error
	if a.tries, err = s.number("numberofpasswordprompts", maxPasswordTries); err != nil {
		return nil, err
	}
	kbd := s.yes("kbdinteractiveauthentication", s.yes("challengeresponseauthentication", true))
	enabled := map[string]bool{
		"publickey":            !slices.Contains([]string{"no", "false"}, strings.ToLower(s.first("pubkeyauthentication", "yes"))),
		"keyboard-interactive": kbd && a.canAsk(),
		"password":             s.yes("passwordauthentication", true) && a.canAsk(),
	}
	for m := range strings.SplitSeq(s.first("preferredauthentications", "publickey,keyboard-interactive,password"), ",") {
		if m = strings.TrimSpace(m); enabled[m] {
			a.order = append(a.order, m)
		}
	}
	if slices.Contains(a.order, "publickey") {
		if err := a.loadKeys(); err != nil {
			a.close()
			return nil, err
		}
	}
	return a, nil
}

func (a *auth) canAsk() bool { return a.o.Prompt != nil && !a.s.yes("batchmode", false) }

func (a *auth) close() {
	if a.agent != nil {
		a.agent.Close()
	}
}

func (a *auth) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.notes = append(a.notes, text)
	a.o.verbose(text)
}

// next is the ssh.ClientAuthCallback: the first preferred method that the server
// allows and that was not used up.
func (a *auth) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	if err := a.ctx.Err(); err != nil {
		return nil, err
	}
	a.allowed = slices.Clone(c.AllowedMethods)
	for _, m := range a.order {
		if !slices.Contains(c.AllowedMethods, m) {
			continue
		}
		limit := a.tries
		if m == "publickey" {
			// A server may want two keys; each round offers all of them.
			limit = 1 + count(c.PartialSuccessMethods, m)
		}
		if a.used[m] >= limit {
			continue
		}
		a.used[m]++
		switch m {
		case "publickey":
			if len(a.signers) > 0 {
				return ssh.PublicKeysCallback(func() ([]ssh.Signer, error) { return a.signers, nil }), nil
			}
		case "keyboard-interactive":
			return ssh.KeyboardInteractive(a.challenge), nil
		case "password":
			return ssh.PasswordCallback(func() (string, error) {
				return a.ask(fmt.Sprintf("%s@%s's password", a.s.user, a.s.host), true)
			}), nil
		}
	}
	return nil, nil
}

func count(list []string, want string) int {
	n := 0
	for _, s := range list {
		if s == want {
			n++
		}
	}
	return n
}

func (a *auth) ask(question string, secret bool) (string, error) {
	resume := a.pause()
	defer resume()
	return a.o.Prompt.Ask(a.ctx, question, secret)
}

// maxQuestions bounds what one keyboard-interactive round may ask; real ones ask
// one or two.
const maxQuestions = 16

func (a *auth) challenge(name, instruction string, questions []string, echos []bool) ([]string, error) {
	if len(questions) > maxQuestions {
		return nil, fmt.Errorf("keyboard-interactive: %d questions at once", len(questions))
	}
	var head string
	for _, t := range []string{name, instruction} {
		if t = cleanText(t, maxDetail); t != "" {
			head += t + "\n"
		}
	}
	answers := make([]string, len(questions))
	for i, q := range questions {
		text := fmt.Sprintf("%s(%s@%s) %s", head, a.s.user, a.s.host, strings.TrimSuffix(cleanLine(q, 512), ":"))
		head = ""
		var err error
		if answers[i], err = a.ask(text, !echos[i]); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// refusal describes a failed login in the words people know from ssh.
func (a *auth) refusal(cause error) *Error {
	detail := fmt.Sprintf("%s@%s: Permission denied (%s).", a.s.user, a.s.host, cleanLine(strings.Join(a.allowed, ","), 200))
	if len(a.notes) > 0 {
		detail += "\n" + cleanText(strings.Join(a.notes, "\n"), maxDetail)
	}
	return &Error{
		Kind: NoLogin, Host: a.s.typed, Text: "ssh could not log in", Detail: detail,
		Hints: []string{fmt.Sprintf("gomover uses your ssh settings; try \"ssh %s true\"", a.s.typed)},
		Err:   cause,
	}
}

// openAgent connects to the key agent, if there is one.
func (a *auth) openAgent() agent.ExtendedAgent {
	path := a.o.AgentSocket
	switch v := a.s.first("identityagent", ""); {
	case v == "" || v == "SSH_AUTH_SOCK":
	case isNone(v):
		return nil
	default:
		if rest, ok := strings.CutPrefix(v, "$"); ok && !strings.HasPrefix(rest, "{") {
			v = "${" + rest + "}"
		}
		p, err := a.s.path(v)
		if err != nil {
			a.note("IdentityAgent: %v", err)
			return nil
		}
		path = p
	}
	if path == "" {
		return nil
	}
	conn, err := (&net.Dialer{Timeout: a.o.timeout()}).DialContext(a.ctx, "unix", path)
	if err != nil {
		a.note("key agent: %v", err)
		return nil
	}
	a.agent = conn
	return agent.NewClient(conn)
}

// lazySigner is a key whose private part costs a question: it is read only when
// the server accepts the public part.
type lazySigner struct {
	pub  ssh.PublicKey
	load func() (ssh.Signer, error)
	got  ssh.Signer
}

var _ ssh.AlgorithmSigner = (*lazySigner)(nil)

func (l *lazySigner) PublicKey() ssh.PublicKey { return l.pub }

func (l *lazySigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return l.SignWithAlgorithm(rand, data, "")
}

func (l *lazySigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if l.got == nil {
		s, err := l.load()
		if err != nil {
			return nil, err
		}
		l.got = s
	}
	if as, ok := l.got.(ssh.AlgorithmSigner); ok && algorithm != "" {
		return as.SignWithAlgorithm(rand, data, algorithm)
	}
	return l.got.Sign(rand, data)
}

var errNoPassphrase = errors.New("no passphrase was given")
