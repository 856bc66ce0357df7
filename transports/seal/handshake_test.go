package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gomover/gomover/transports"
)

var testSecret = [32]byte{0: 1, 31: 2}

func newGuard(t testing.TB, secret [32]byte, mode transports.Seal) *Guard {
	t.Helper()
	g, err := NewGuard(secret, mode)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// answer does the listener's part up to its reply.
func answer(g *Guard, conn io.ReadWriter) (*Caller, error) {
	a, err := g.Hear(conn)
	if err != nil {
		return nil, err
	}
	return a, a.Answer(conn)
}

// shake runs a whole handshake between two guards.
func shake(t testing.TB, dialler, listener *Guard, label uint32) (d, l *Protection, derr, lerr error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		var a *Caller
		if a, lerr = answer(listener, far); lerr == nil {
			l, lerr = a.Await(far)
		}
	}()
	var g *Greeting
	if g, derr = dialler.Greet(near, label); derr == nil {
		d, derr = g.Confirm(near)
	}
	near.Close()
	<-done
	return d, l, derr, lerr
}

func TestHandshake(t *testing.T) {
	other := testSecret
	other[5] = 9
	tests := []struct {
		name         string
		far          [32]byte
		near, farSet transports.Seal
		derr, lerr   error
	}{
		{"on", testSecret, transports.SealOn, transports.SealOn, nil, nil},
		{"auth", testSecret, transports.SealAuth, transports.SealAuth, nil, nil},
		{"off", testSecret, transports.SealOff, transports.SealOff, nil, nil},
		{"wrong secret", other, transports.SealOn, transports.SealOn, ErrNoAnswer, ErrStranger},
		{"weaker mode asked for", testSecret, transports.SealOff, transports.SealOn, ErrNoAnswer, ErrStranger},
		{"stronger mode asked for", testSecret, transports.SealOn, transports.SealAuth, ErrNoAnswer, ErrStranger},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, l, derr, lerr := shake(t, newGuard(t, testSecret, tt.near), newGuard(t, tt.far, tt.farSet), 7)
			if !errors.Is(derr, tt.derr) || !errors.Is(lerr, tt.lerr) {
				t.Fatalf("errors: %v, %v; want %v, %v", derr, lerr, tt.derr, tt.lerr)
			}
			if tt.derr == nil && (d.Label != 7 || l.Label != 7 || d.Cipher != l.Cipher) {
				t.Errorf("dialler has %d %v, listener %d %v", d.Label, d.Cipher, l.Label, l.Cipher)
			}
		})
	}
}

// tape is a connection on which the other end's words are recorded already.
type tape struct {
	io.Reader
	io.Writer
}

func TestReplayedGreeting(t *testing.T) {
	g := newGuard(t, testSecret, transports.SealOff)
	hello := g.keys.appendHello(nil, hello{mode: transports.SealOff, label: 1, nonce: [32]byte{4}})
	var said bytes.Buffer
	if _, err := answer(g, tape{bytes.NewReader(hello), &said}); err != nil || said.Len() != ReplyLen {
		t.Fatalf("first greeting: %v, %d bytes", err, said.Len())
	}
	said.Reset()
	if _, err := answer(g, tape{bytes.NewReader(hello), &said}); !errors.Is(err, ErrStranger) || said.Len() != 0 {
		t.Errorf("the same again: %v, %d bytes said; want ErrStranger and silence", err, said.Len())
	}
}

// TestRecordedConversation replays a whole recorded dialler to a listener that
// has forgotten its greeting: the confirmation fits another answer.
func TestRecordedConversation(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		if a, err := answer(newGuard(t, testSecret, transports.SealOff), far); err == nil {
			_, _ = a.Await(far)
		}
	}()
	var rec bytes.Buffer
	c := tape{near, io.MultiWriter(near, &rec)}
	gr, err := newGuard(t, testSecret, transports.SealOff).Greet(c, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gr.Confirm(c); err != nil {
		t.Fatal(err)
	}
	fresh := newGuard(t, testSecret, transports.SealOff)
	replay := tape{bytes.NewReader(rec.Bytes()), io.Discard}
	a, err := answer(fresh, replay)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Await(replay); !errors.Is(err, ErrStranger) {
		t.Errorf("a recorded confirmation: %v, want ErrStranger", err)
	}
}

func TestLabelOnce(t *testing.T) {
	d, l := newGuard(t, testSecret, transports.SealOn), newGuard(t, testSecret, transports.SealOn)
	if _, _, derr, lerr := shake(t, d, l, 5); derr != nil || lerr != nil {
		t.Fatal(derr, lerr)
	}
	if _, _, derr, lerr := shake(t, d, l, 5); !errors.Is(lerr, ErrStranger) || !errors.Is(derr, ErrNoAnswer) {
		t.Errorf("label 5 again: %v, %v", derr, lerr)
	}
	if _, _, derr, lerr := shake(t, d, l, 6); derr != nil || lerr != nil {
		t.Errorf("label 6: %v, %v", derr, lerr)
	}
}

// TestOwnGreeting: an end that reaches itself under an address it shares with
// the other end must not take itself for the other.
func TestOwnGreeting(t *testing.T) {
	g := newGuard(t, testSecret, transports.SealOn)
	if _, _, derr, lerr := shake(t, g, g, 1); !errors.Is(lerr, ErrStranger) || !errors.Is(derr, ErrNoAnswer) {
		t.Errorf("an end and itself: %v, %v", derr, lerr)
	}
}

func TestStrangerHearsNothing(t *testing.T) {
	g := newGuard(t, testSecret, transports.SealOn)
	good := g.keys.appendHello(nil, hello{label: 1})
	for name, b := range map[string][]byte{
		"nothing": {}, "http": []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + string(make([]byte, 80))),
		"one byte short": good[:HelloLen-1], "one bit off": flip(good, 13), "mac off": flip(good, HelloLen-1),
		"mode off": flip(good, 4), "version off": flip(good, 3),
	} {
		var said bytes.Buffer
		if _, err := answer(g, tape{bytes.NewReader(b), &said}); err == nil || said.Len() != 0 {
			t.Errorf("%s: error %v, %d bytes said", name, err, said.Len())
		}
	}
	if len(g.seen) != 0 {
		t.Errorf("%d entries kept for strangers", len(g.seen))
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func TestFalseReply(t *testing.T) {
	for _, at := range []int{0, 31, 32, 35, 36, ReplyLen - 1} {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			b := make([]byte, HelloLen)
			if _, err := io.ReadFull(far, b); err != nil {
				return
			}
			g := newGuard(t, testSecret, transports.SealOn)
			r := g.keys.appendReply(nil, b, reply{cipher: CipherAES})
			_, _ = far.Write(flip(r, at))
		}()
		_, err := newGuard(t, testSecret, transports.SealOn).Greet(near, 1)
		if !errors.Is(err, transports.ErrAuth) {
			t.Errorf("reply with byte %d changed: %v, want ErrAuth", at, err)
		}
		near.Close()
	}
}

// TestVectors holds the bytes of docs/wire-data.md.
func TestVectors(t *testing.T) {
	var secret [32]byte
	for i := range secret {
		secret[i] = byte(i)
	}
	h := hello{mode: transports.SealOn, abilities: abilityAES, label: 0x01020304}
	r := reply{cipher: CipherAES}
	for i := range h.nonce {
		h.nonce[i], r.nonce[i] = 0xa0, 0xb0
	}
	g := newGuard(t, secret, transports.SealOn)
	hb := g.keys.appendHello(nil, h)
	rb := g.keys.appendReply(nil, hb, r)
	cb := g.keys.confirmation(hb, rb)
	prot, err := g.protection(h.label, r.cipher, append(bytes.Clone(hb), rb...), true)
	if err != nil {
		t.Fatal(err)
	}
	f := transports.NewFrame(100)
	copy(f.Resize(5), "hello")
	rec, err := prot.Sealer.Seal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"hello", hb, vectorHello}, {"reply", rb, vectorReply}, {"confirm", cb, vectorConfirm}, {"record", rec, vectorRecord},
	} {
		if got := hex.EncodeToString(tt.got); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func FuzzHello(f *testing.F) {
	g := newGuard(f, testSecret, transports.SealOn)
	good := g.keys.appendHello(nil, hello{label: 1, nonce: [32]byte{7}})
	f.Add(good, false)
	f.Add(good[:40], true)
	f.Add(flip(good, 4), true)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		b = bytes.Clone(b)
		if sign && len(b) == HelloLen { // past the MAC, as a hostile peer gets
			b = append(b[:helloBody], mac(g.keys.hello, b[:helloBody])...)
		}
		h, err := g.keys.parseHello(b)
		if err != nil {
			return
		}
		if h.mode > transports.SealOff {
			t.Errorf("mode %d was taken", h.mode)
		}
		if got := g.keys.appendHello(nil, h); !bytes.Equal(got, b) {
			t.Errorf("hello %x came back as %x", b, got)
		}
	})
}

func FuzzReply(f *testing.F) {
	g := newGuard(f, testSecret, transports.SealOn)
	hb := g.keys.appendHello(nil, hello{label: 1})
	f.Add(g.keys.appendReply(nil, hb, reply{cipher: CipherAES}), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		b = bytes.Clone(b)
		if sign && len(b) == ReplyLen {
			b = append(b[:replyBody], mac(g.keys.reply, hb, b[:replyBody])...)
		}
		r, err := g.keys.parseReply(b, hb)
		if err != nil {
			return
		}
		if got := g.keys.appendReply(nil, hb, r); !bytes.Equal(got, b) {
			t.Errorf("reply %x came back as %x", b, got)
		}
	})
}

func TestGuardBounded(t *testing.T) {
	g := newGuard(t, testSecret, transports.SealOn)
	for i := range maxSeen {
		g.seen[[nonceLen]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}] = true
	}
	if g.admit(hello{nonce: [nonceLen]byte{9, 9, 9, 9}, label: 1}) {
		t.Errorf("a greeting beyond %d was admitted", maxSeen)
	}
}

func TestHandshakeDeadline(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if err := far.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := answer(newGuard(t, testSecret, transports.SealOn), far); err == nil || errors.Is(err, ErrStranger) {
		t.Errorf("a silent caller: %v, want the connection's own error", err)
	}
}
