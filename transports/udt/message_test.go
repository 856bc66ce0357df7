package udt

import (
	"testing"

	"github.com/gomover/gomover/internal/netsim"
)

// part is a packet of a message as the peer of c would send it.
func (c *core) part(pos int64, number msgNo, flags msgWord, body string) []byte {
	return append(dataHeader(c.recv.first.add(pos), flags|msgWord(number), 0, c.id).append(nil), body...)
}

// take gives a connection packets as if they had come from its peer.
func (e *end) take(t *testing.T, packets ...[]byte) {
	t.Helper()
	for _, p := range packets {
		h, body, err := parseHeader(p)
		if err != nil {
			t.Fatal(err)
		}
		e.c.receive(e.s.w.Now(), h, body)
		e.pump()
	}
}

// TestDropRequests: requests to give up packets leave whatever else has come, no
// matter what they name.
func TestDropRequests(t *testing.T) {
	full := string(noise(3, 1456))
	for _, tt := range []struct {
		name  string
		given func(c *core) [][]byte
		want  []string // messages that can be read in the end
	}{
		{"the first packet of all", func(c *core) [][]byte {
			return [][]byte{c.part(1, 2, partOnly|msgInOrder, "two"), c.drop(1, 0, 0)}
		}, []string{"two"}},
		{"what was before all", func(c *core) [][]byte {
			return [][]byte{c.part(0, 1, partOnly|msgInOrder, "one"), c.drop(9, -1, -1), c.drop(9, -40, -2), c.drop(9, -1<<29, -5)}
		}, []string{"one"}},
		{"one packet too many", func(c *core) [][]byte {
			return [][]byte{
				c.part(0, 1, partOnly|msgInOrder, "one"), c.part(3, 3, partOnly|msgInOrder, "three"), c.drop(2, 1, 3),
			}
		}, []string{"one", "three"}},
		{"a part that has come, behind a gap", func(c *core) [][]byte {
			return [][]byte{
				c.part(4, 3, partLast, "late"), c.drop(3, 3, 4), c.part(5, 4, partOnly, "four"),
				c.part(0, 1, partOnly, "one"), c.part(1, 2, partFirst, full), c.part(2, 2, partLast, "two"),
			}
		}, []string{"four", "one", full + "two"}},
		{"a part that comes too late", func(c *core) [][]byte {
			return [][]byte{
				c.part(0, 1, partFirst|msgInOrder, full), c.drop(1, 0, 1), c.part(1, 1, partLast|msgInOrder, "late"),
				c.part(2, 2, partOnly|msgInOrder, "two"),
			}
		}, []string{"two"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, b := made(t, 1, netsim.Params{}, Config{Messages: true})
			b.take(t, tt.given(b.c)...)
			buf := make([]byte, 4096)
			for _, want := range tt.want {
				n := b.c.readMessage(buf)
				mustEqual(t, "message", buf[:max(n, 0)], []byte(want))
			}
			if n := b.c.readMessage(buf); n >= 0 {
				t.Errorf("another message: %d bytes", n)
			}
		})
	}
}

// drop is a request of the peer of c to give up packets.
func (c *core) drop(number msgNo, first, last int64) []byte {
	return drop{number, seqRange{c.recv.first.add(first), c.recv.first.add(last)}}.append(nil, c.id)
}
