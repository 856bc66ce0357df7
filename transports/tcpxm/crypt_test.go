package tcpxm

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/gomover/gomover/transports/seal"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// sealed makes a datagram.
func sealed(t *testing.T, s *sealer, plain string) []byte {
	t.Helper()
	b := append(make([]byte, segment.ShimLen, 256), plain...)
	b, err := s.seal(segment.Shim{Kind: segment.Pair}, b)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// opened opens a copy of a datagram.
func opened(o *opener, b []byte) (string, bool) {
	b = bytes.Clone(b)
	shim, _, err := segment.ParseShim(b)
	if err != nil {
		return "", false
	}
	plain, err := o.open(shim, b)
	return string(plain), err == nil
}

func TestSealing(t *testing.T) {
	for _, c := range []seal.Cipher{seal.CipherAES, seal.CipherChaCha} {
		k := keys{secret: Secret{1, 2}, role: fromSender, tag: 9, cipher: c}
		s := sealer{keys: k}
		b := sealed(t, &s, "hello")
		if plain, ok := opened(&opener{keys: k}, b); !ok || plain != "hello" {
			t.Errorf("%v: %q, %v", c, plain, ok)
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 4
			if _, ok := opened(&opener{keys: k}, bad); ok {
				t.Errorf("%v: byte %d changed, and it opens", c, i)
			}
		}
		for name, other := range map[string]keys{
			"secret": {Secret{1}, fromSender, 9, 0, c}, "role": {k.secret, fromReceiver, 9, 0, c},
			"tag": {k.secret, fromSender, 8, 0, c}, "epoch": {k.secret, fromSender, 9, 1, c},
		} {
			if _, ok := opened(&opener{keys: other}, b); ok {
				t.Errorf("%v: opens with another %s", c, name)
			}
		}
	}
}

func TestReplay(t *testing.T) {
	k := keys{secret: Secret{1}, role: toGroup, tag: 9, cipher: seal.CipherAES}
	s, o := sealer{keys: k}, opener{keys: k}
	var all [][]byte
	for range 3 * replayWindow {
		all = append(all, sealed(t, &s, "x"))
	}
	// In any order that stays within the window each opens once.
	r := rand.New(rand.NewPCG(1, 1))
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	for i := 0; i+1000 < len(order); i += 1000 {
		r.Shuffle(1000, func(a, b int) { order[i+a], order[i+b] = order[i+b], order[i+a] })
	}
	for _, i := range order {
		if _, ok := opened(&o, all[i]); !ok {
			t.Fatalf("number %d does not open", i)
		}
		if _, ok := opened(&o, all[i]); ok {
			t.Fatalf("number %d opens twice", i)
		}
	}
	for i := range all {
		if _, ok := opened(&o, all[i]); ok {
			t.Fatalf("number %d opens again", i)
		}
	}
	// One that comes beyond the window is not taken, and one just within it is.
	late := sealed(t, &s, "late")
	within := sealed(t, &s, "within")
	for range replayWindow - 65 {
		opened(&o, sealed(t, &s, "y"))
	}
	if _, ok := opened(&o, late); ok {
		t.Error("too late, and it opens")
	}
	if _, ok := opened(&o, within); !ok {
		t.Error("within the window, and it does not open")
	}
}

func TestKeysFollowEachOther(t *testing.T) {
	k := keys{secret: Secret{1}, role: fromSender, tag: 9, cipher: seal.CipherAES}
	s, o := sealer{keys: k}, opener{keys: k}
	opened(&o, sealed(t, &s, "first"))
	s.next = 1<<keyDatagrams - 1
	last := sealed(t, &s, "last")
	first := sealed(t, &s, "next")
	if plain, ok := opened(&o, first); !ok || plain != "next" {
		t.Error("the first of a new key does not open")
	}
	if plain, ok := opened(&o, last); !ok || plain != "last" {
		t.Error("the last of the old key, overtaken, does not open")
	}
	// What nobody has sealed makes no key.
	s.next = (keysAhead + 2) << keyDatagrams
	if _, ok := opened(&o, sealed(t, &s, "far")); ok {
		t.Error("opens with a key that is too far ahead")
	}
}
