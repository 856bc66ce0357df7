package seal

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/gomover/gomover/transports"
)

// Errors of the handshake which callers tell apart.
var (
	// ErrStranger means that what came is no greeting of this job, or a
	// recorded one. The connection is to be closed without a word.
	ErrStranger = errors.New("a stranger")
	// ErrNoAnswer means that the connection was closed before the other end
	// proved anything: a stranger, or a listener that has no time.
	ErrNoAnswer = errors.New("closed without an answer")
)

// maxSeen bounds the memory for greetings and labels of a job.
//
// Unit: entries. Ours: a job has at most 256 streams at a time, and each may be
// replaced often; only an end that holds the secret can add entries.
const maxSeen = 1 << 18

// A Guard is one end's memory of a job's handshakes; it is what makes
// recordings worthless. Use one per endpoint. Safe for concurrent use.
type Guard struct {
	keys *Keys
	mode transports.Seal

	mu     sync.Mutex              // guards the maps
	seen   map[[nonceLen]byte]bool // nonces of greetings which were answered
	own    map[[nonceLen]byte]bool // nonces of our own greetings under way
	labels map[uint32]bool         // labels in use or used
}

// NewGuard returns a guard for the job with this secret; mode must be the same
// at both ends.
func NewGuard(secret [32]byte, mode transports.Seal) (*Guard, error) {
	keys, err := NewKeys(secret)
	if err != nil {
		return nil, err
	}
	return &Guard{
		keys: keys, mode: mode,
		seen:   map[[nonceLen]byte]bool{},
		own:    map[[nonceLen]byte]bool{},
		labels: map[uint32]bool{},
	}, nil
}

// Protection is what a finished handshake yields: how to send and receive on
// this connection.
type Protection struct {
	Label  uint32 // the dialler's name for the stream
	Cipher Cipher
	Sealer *Sealer // for frames to the other end
	Opener *Opener // for frames from it
}

// A Greeting is a dialler's handshake that waits for its last step: the other
// end has proved itself and does not use the connection before Confirm.
type Greeting struct {
	guard *Guard
	hello hello
	rep   reply
	bytes []byte // hello and reply
}

// Greet speaks first on conn and checks the answer. The caller sets deadlines.
// Several greetings for one label may be under way on different connections,
// but only one of them may be confirmed.
//
// Errors: transports.ErrAuth when the answer is not this job's; ErrNoAnswer when
// the connection was closed instead; else conn's.
func (g *Guard) Greet(conn io.ReadWriter, label uint32) (*Greeting, error) {
	h := hello{mode: g.mode, label: label}
	if hardwareAES() {
		h.abilities |= abilityAES
	}
	if _, err := rand.Read(h.nonce[:]); err != nil {
		return nil, fmt.Errorf("making a nonce: %w", err)
	}
	g.mu.Lock()
	g.own[h.nonce] = true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.own, h.nonce)
		g.mu.Unlock()
	}()

	b := g.keys.appendHello(make([]byte, 0, HelloLen+ReplyLen), h)
	if _, err := conn.Write(b); err != nil {
		return nil, noAnswer(err)
	}
	b = b[:HelloLen+ReplyLen]
	if _, err := io.ReadFull(conn, b[HelloLen:]); err != nil {
		return nil, noAnswer(err)
	}
	r, err := g.keys.parseReply(b[HelloLen:], b[:HelloLen])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", transports.ErrAuth, err)
	}
	if !fits(g.mode, r.cipher) {
		return nil, fmt.Errorf("%w: cipher %v does not fit --encrypt=%v", transports.ErrAuth, r.cipher, g.mode)
	}
	return &Greeting{guard: g, hello: h, rep: r, bytes: b}, nil
}

// noAnswer adds ErrNoAnswer to an error that only says that the other end hung
// up; see closedByPeer.
func noAnswer(err error) error {
	if closedByPeer(err) {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return err
}

// Confirm ends the handshake: it writes the last message to conn and returns
// the protection of its records. The dialler may send at once.
func (gr *Greeting) Confirm(conn io.Writer) (*Protection, error) {
	c := gr.guard.keys.confirmation(gr.bytes[:HelloLen], gr.bytes[HelloLen:])
	if _, err := conn.Write(c); err != nil {
		return nil, noAnswer(err)
	}
	return gr.guard.protection(gr.hello.label, gr.rep.cipher, gr.bytes, true)
}

// A Caller is the listener's side of a handshake whose greeting proved that it
// was made with the secret, perhaps earlier and by somebody else than who sent
// it now. Answer and then Await finish the handshake.
type Caller struct {
	guard *Guard
	hello hello
	rep   reply
	bytes []byte // hello and reply
}

// Hear reads a greeting from conn and checks that it is one of this job's and
// new. It says nothing. The caller sets deadlines. Errors: ErrStranger, or
// conn's.
func (g *Guard) Hear(conn io.Reader) (*Caller, error) {
	b := make([]byte, HelloLen, HelloLen+ReplyLen)
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, err
	}
	h, err := g.keys.parseHello(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStranger, err)
	}
	if h.mode != g.mode {
		return nil, fmt.Errorf("%w: protection %v is asked for, this end is set to %v", ErrStranger, h.mode, g.mode)
	}
	if !g.admit(h) {
		return nil, fmt.Errorf("%w: a repeated greeting", ErrStranger)
	}
	return &Caller{guard: g, hello: h, bytes: b}, nil
}

// Answer proves this end to the caller. From here on the caller may take the
// stream for established, so the connection must not be given up for others.
func (a *Caller) Answer(conn io.Writer) error {
	a.rep = reply{cipher: choose(a.hello.mode, a.hello.abilities)}
	if _, err := rand.Read(a.rep.nonce[:]); err != nil {
		return fmt.Errorf("making a nonce: %w", err)
	}
	a.bytes = a.guard.keys.appendReply(a.bytes[:HelloLen], a.bytes[:HelloLen], a.rep)
	_, err := conn.Write(a.bytes[HelloLen:])
	return err
}

// admit notes a greeting and says whether it is new, for a free label, and not
// our own: two ends with the same private address, such as a container
// bridge's, would otherwise shake hands with themselves.
func (g *Guard) admit(h hello) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seen[h.nonce] || g.own[h.nonce] || g.labels[h.label] || len(g.seen) >= maxSeen {
		return false
	}
	g.seen[h.nonce] = true
	return true
}

// Await reads the confirmation from conn and claims the label. The caller sets
// deadlines. Errors: ErrStranger, or conn's.
func (a *Caller) Await(conn io.Reader) (*Protection, error) {
	var c [ConfirmLen]byte
	if _, err := io.ReadFull(conn, c[:]); err != nil {
		return nil, err
	}
	want := a.guard.keys.confirmation(a.bytes[:HelloLen], a.bytes[HelloLen:])
	if subtle.ConstantTimeCompare(want, c[:]) != 1 {
		return nil, fmt.Errorf("%w: %w", ErrStranger, errConfirm)
	}
	if !a.guard.claim(a.hello.label) {
		return nil, fmt.Errorf("%w: stream %d exists already", ErrStranger, a.hello.label)
	}
	return a.guard.protection(a.hello.label, a.rep.cipher, a.bytes, false)
}

// claim takes a label for good; false if it was taken.
func (g *Guard) claim(label uint32) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.labels[label] {
		return false
	}
	g.labels[label] = true
	return true
}
