package sshboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// BootOptions says which agent to start and where a copy may come from.
type BootOptions struct {
	// Version is the program's version, for the name of the copy and to
	// recognise an installed program of the same release.
	Version string
	// Protocol, unless 0, must be what the agent's greeting says.
	Protocol int
	// Hash is the lower-case hex SHA-256 of the program.
	Hash string
	// GOOS and GOARCH tell where the program runs.
	GOOS, GOARCH string
	// Program opens the program and gives its size in bytes. It is called only
	// when an upload is needed.
	Program func() (io.ReadCloser, int64, error)
	// Uploads is where what is sent is kept as long as somebody needs it, for boots
	// on several hosts at the same time; their Program must be the same. nil: each
	// makes its own.
	Uploads *Uploads
	// Command, unless "", is run by the login shell with Args behind it;
	// nothing is searched or uploaded.
	Command string
	// Dir is the first directory tried for an uploaded copy; "~/" is the remote
	// home directory. "" means automatic.
	Dir string
	// Keep leaves an uploaded copy for the next time.
	Keep bool
	// Args are the agent's arguments, words of letters, digits and ./:=,@%+-_
	Args []string
	// Timeout bounds each wait for the far side without any progress. 0 means
	// 30 s.
	Timeout time.Duration
}

// Booted is a greeted agent. Reading starts with the byte behind the greeting.
type Booted struct {
	Process
	Greeting Greeting
	Banner   string // text that came before the greeting, cleaned
	Uploaded bool   // this Boot brought the program there
	Path     string // directory the program was uploaded to, "" if it was not
}

// defaultBootTimeout is how long the far side may say nothing. A loaded machine
// needs seconds to start a login shell; a person gives up after half a minute.
const defaultBootTimeout = 30 * time.Second

// writeChunk is how much of the program goes into one Write, in bytes: large
// against an SSH packet, small against what a slow line moves within the timeout.
const writeChunk = 256 << 10

// Boot starts an agent on the host and waits for its greeting.
//
// It uses one exec request, and one more when somebody has removed the copy there between
// its check and its start, as another agent does that keeps none. On error nothing runs
// there any more and no partial copy is left. Errors: *Error, or one wrapping ctx's error.
// The agent ends with ctx.
func Boot(ctx context.Context, sh Shell, o BootOptions) (*Booted, error) {
	b, err := bootOnce(ctx, sh, o)
	var e *Error
	if errors.As(err, &e) && e.gone && ctx.Err() == nil {
		return bootOnce(ctx, sh, o)
	}
	return b, err
}

func bootOnce(ctx context.Context, sh Shell, o BootOptions) (*Booted, error) {
	b := &booter{host: hostName(sh), sh: sh, o: &o}
	cmd := o.Command
	if cmd == "" {
		var err error
		if cmd, err = bootCommand(&o); err != nil {
			return nil, b.fail(Config, err.Error(), err)
		}
	} else {
		args, err := wordList(o.Args)
		if err != nil {
			return nil, b.fail(Config, err.Error(), err)
		}
		cmd += " " + args
	}
	p, err := sh.Start(ctx, cmd)
	if err != nil {
		return nil, err
	}
	b.p = p
	b.lines = &lineReader{r: p}
	limit := o.Timeout
	if limit <= 0 {
		limit = defaultBootTimeout
	}
	b.dog = newWatchdog(limit, func() { p.Close() })
	booted, err := b.talk()
	if b.up != nil {
		o.Uploads.leave()
	}
	late := b.dog.stop()
	if err == nil && !late {
		return booted, nil
	}
	p.Close()
	if ctx.Err() != nil {
		return nil, &Error{Kind: Lost, Host: b.host, Text: "starting the agent was interrupted", Err: context.Cause(ctx)}
	}
	if late {
		return nil, b.silent(limit)
	}
	return nil, err
}

// named is a Shell that knows what the user called its host.
type named interface{ typedHost() string }

// explainer is a Shell that can tell from a process's end what went wrong before
// the far side's own words began.
type explainer interface {
	explain(wait error, stderr string) *Error
}

func hostName(sh Shell) string {
	if n, ok := sh.(named); ok {
		return n.typedHost()
	}
	_, host, _ := sh.Canonical()
	return host
}

// booter is the state of one Boot; one goroutine uses it.
type booter struct {
	host  string
	sh    Shell
	o     *BootOptions
	p     Process
	lines *lineReader
	dog   *watchdog
	up    *payload
	path  string
}

// talk follows the far side until the greeting.
func (b *booter) talk() (*Booted, error) {
	for {
		line, err := b.lines.next()
		b.dog.feed()
		if err != nil {
			return nil, b.ended(err)
		}
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case word == "hello":
			return b.greeted(line)
		case b.o.Command != "":
			return nil, b.noisy()
		case word == "need" && b.up == nil:
			err = b.need(rest)
		case word == "send" && b.up != nil:
			err = b.send(rest)
		case word == "none" && b.up != nil:
			return nil, b.nowhere(rest)
		default:
			return nil, b.noisy()
		}
		if err != nil {
			return nil, err
		}
	}
}

func (b *booter) greeted(line string) (*Booted, error) {
	g, err := parseGreeting(line)
	if err != nil {
		return nil, b.fail(WrongVersion, "the agent's greeting cannot be read", err)
	}
	if b.o.Protocol != 0 && g.Protocol != b.o.Protocol {
		e := b.fail(WrongVersion, fmt.Sprintf("agent speaks protocol %d, this program %d", g.Protocol, b.o.Protocol), nil)
		if b.o.Command != "" {
			e.Hints = []string{"remove --agent to let gomover bring its own"}
		}
		return nil, e
	}
	return &Booted{
		Process:  &resumed{Process: b.p, head: b.lines.buf},
		Greeting: g,
		Banner:   cleanText(string(b.lines.banner), maxBanner),
		Uploaded: b.path != "",
		Path:     b.path,
	}, nil
}

// need answers the report of stage 1 with stage 2.
func (b *booter) need(rest string) error {
	f := strings.Fields(rest)
	if len(f) != 3 {
		return b.noisy()
	}
	farOS, farArch := platform(f[0], f[1])
	if !runsOn(b.o.GOOS, b.o.GOARCH, farOS, farArch) {
		e := b.fail(WrongPlatform, fmt.Sprintf("runs %s/%s, but this program is for %s/%s", farOS, farArch, b.o.GOOS, b.o.GOARCH), nil)
		e.Hints = []string{"install gomover there and use --agent PATH"}
		return e
	}
	if b.o.Uploads == nil {
		b.o.Uploads = new(Uploads)
	}
	var up *payload
	var err error
	// The far side waits for us meanwhile: that is none of its silence.
	b.dog.rest(func() { up, err = b.o.Uploads.get(b.o.Program, f[2] == "gz") })
	if err != nil {
		return b.fail(CannotExecute, err.Error(), err)
	}
	b.up = up
	if _, err := io.WriteString(b.p, uploadScript(b.o, up, randomName())); err != nil {
		return b.ended(err)
	}
	return nil
}

// send uploads the program to the directory that the far side named.
func (b *booter) send(dir string) error {
	b.path = cleanLine(dir, 1024)
	for data := b.up.data; len(data) > 0; {
		n := min(len(data), writeChunk)
		if _, err := b.p.Write(data[:n]); err != nil {
			return b.ended(err)
		}
		b.dog.feed()
		data = data[n:]
	}
	return nil
}

func (b *booter) fail(k Kind, text string, cause error) *Error {
	return &Error{Kind: k, Host: b.host, Text: text, Err: cause}
}

func (b *booter) nowhere(reasons string) error {
	tried := strings.TrimRight(cleanLine(reasons, 1024), "; ")
	e := b.fail(CannotExecute, "no directory allows running the agent", nil)
	if tried != "" {
		e.Text += " (tried " + tried + ")"
	}
	e.Hints = []string{"--agent-dir DIR, or install gomover there and use --agent PATH"}
	return e
}

func (b *booter) noisy() *Error {
	banner := string(b.lines.banner)
	if strings.TrimSpace(banner) == "" {
		banner = string(b.lines.buf)
	}
	e := b.fail(Noisy, fmt.Sprintf("unexpected text before the agent's greeting: %q", cleanLine(banner, 60)), nil)
	e.Hints = []string{fmt.Sprintf("the login files print text when there is no terminal; make them silent for \"ssh %s true\"", b.host)}
	return e
}

func (b *booter) silent(limit time.Duration) *Error {
	if len(strings.TrimSpace(string(b.lines.banner)+string(b.lines.buf))) > 0 {
		return b.noisy()
	}
	e := b.fail(Lost, fmt.Sprintf("the agent said nothing for %v", limit), nil)
	e.Detail = cleanText(b.p.Stderr(), maxDetail)
	return e
}

// ended classifies a stream that stopped before the greeting. Ours is the one
// place that does so for the agent's start.
func (b *booter) ended(err error) *Error {
	if errors.Is(err, errNoise) {
		return b.noisy()
	}
	// The status tells more than the closed stream; the watchdog bounds the wait.
	_ = b.p.CloseWrite()
	wait := b.p.Wait()
	stderr := b.p.Stderr()
	if x, ok := b.sh.(explainer); ok {
		if e := x.explain(wait, stderr); e != nil {
			return e
		}
	}
	var e *Error
	var exit *ExitError
	switch status := errors.As(wait, &exit); {
	case strings.TrimSpace(string(b.lines.banner)) != "":
		e = b.noisy()
	case status && exit.Status == 127 && b.o.Command != "":
		e = b.fail(NotInstalled, "the agent command was not found: "+cleanLine(b.o.Command, 200), wait)
		e.Hints = []string{"remove --agent to let gomover bring its own"}
	case status && exit.Status == 127 && (b.up != nil || strings.Contains(stderr, b.o.copyName())):
		// A shell did run; who cleans up there took the copy between its check and its start.
		e = b.fail(Lost, "the agent was gone when it was to be started", wait)
		e.gone = true
	case status && exit.Status == 127:
		e = b.fail(NotInstalled, "the login shell found no sh to run", wait)
	case status && exit.Status == 126:
		e = b.fail(CannotExecute, "the agent cannot be executed", wait)
	case wait != nil:
		e = b.fail(Lost, "the agent ended before its greeting", wait)
	default:
		e = b.fail(Lost, "the agent ended before its greeting", err)
	}
	e.Detail = cleanText(stderr, maxDetail)
	return e
}

// resumed gives first the bytes that came in one read with the greeting.
type resumed struct {
	Process
	head []byte
}

func (r *resumed) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.Process.Read(p)
}

// watchdog calls bite once when it is not fed for limit.
type watchdog struct {
	limit time.Duration
	timer *time.Timer
	bit   chan struct{} // closed by the timer before bite
}

func newWatchdog(limit time.Duration, bite func()) *watchdog {
	w := &watchdog{limit: limit, bit: make(chan struct{})}
	w.timer = time.AfterFunc(limit, func() {
		close(w.bit)
		bite()
	})
	return w
}

// feed starts the limit anew, unless it is over.
func (w *watchdog) feed() {
	if w.timer.Stop() {
		w.timer.Reset(w.limit)
	}
}

// rest keeps the watch from counting while f runs; the limit starts anew behind it.
func (w *watchdog) rest(f func()) {
	awake := w.timer.Stop()
	f()
	if awake {
		w.timer.Reset(w.limit)
	}
}

// stop ends the watch and reports whether bite was called.
func (w *watchdog) stop() bool {
	if w.timer.Stop() {
		return false
	}
	<-w.bit
	return true
}
