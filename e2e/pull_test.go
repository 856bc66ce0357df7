package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomover/gomover/integrity"
)

// mirror is a web server with one file.
type mirror struct {
	*httptest.Server
	given atomic.Int64 // bytes
	left  atomic.Int64 // bytes after which it breaks every connection; negative: never
}

// newMirror serves data at /f, at so many bytes a second to all together.
func newMirror(t *testing.T, data []byte, rate int) *mirror {
	t.Helper()
	m := &mirror{}
	m.left.Store(-1)
	gate := make(chan struct{}, 1)
	tag := fmt.Sprintf("%q", integrity.Whole(data).String()[:16])
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		http.ServeContent(&pacedWriter{ResponseWriter: w, m: m, gate: gate, rate: rate}, r, "", time.Unix(1_600_000_000, 0), bytes.NewReader(data))
	}))
	t.Cleanup(m.Close)
	return m
}

// pacedWriter writes at the rate of its mirror.
type pacedWriter struct {
	http.ResponseWriter
	m    *mirror
	gate chan struct{}
	rate int
}

func (w *pacedWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), 16<<10)]
		w.gate <- struct{}{}
		time.Sleep(time.Duration(len(part)) * time.Second / time.Duration(w.rate))
		<-w.gate
		if left := w.m.left.Load(); left >= 0 && w.m.given.Load() > left {
			panic(http.ErrAbortHandler)
		}
		k, err := w.ResponseWriter.Write(part)
		n += k
		w.m.given.Add(int64(k))
		if err != nil {
			return n, err
		}
		p = p[len(part):]
	}
	return n, nil
}

const pullPiece = 256 << 10

// metalinkOf is a list with piece hashes of a file and its mirrors.
func metalinkOf(data []byte, mirrors ...*mirror) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="f"><size>%d</size><hash type="sha-256">%x</hash><pieces length="%d" type="sha-256">`, len(data), sha256.Sum256(data), pullPiece)
	for off := 0; off < len(data); off += pullPiece {
		fmt.Fprintf(&b, "<hash>%x</hash>", sha256.Sum256(data[off:min(len(data), off+pullPiece)]))
	}
	b.WriteString("</pieces>")
	for i, m := range mirrors {
		fmt.Fprintf(&b, `<url priority="%d">%s/f</url>`, i+1, m.URL)
	}
	b.WriteString("</file></metalink>")
	return b.String()
}

func TestPull(t *testing.T) {
	t.Parallel()
	w := newLocal(t)
	data := content(1, 24<<20+77)
	a, b, c := newMirror(t, data, 4<<20), newMirror(t, data, 8<<20), newMirror(t, data, 16<<20)
	put(t, filepath.Join(w.near, "f.meta4"), []byte(metalinkOf(data, a, b, c)))

	t.Log("# three mirrors of one list share the work by what they can give")
	r := w.ok("pull", "--json", "--metalink", "f.meta4", "./out/")
	holds(t, filepath.Join(w.near, "out", "f"), data)
	w.clean(w.near)
	l := checkEvents(t, r.out, 0)
	neverBack(t, l)
	end := l[len(l)-1]
	sources := end["sources"].([]any)
	if len(sources) != 3 {
		t.Fatalf("the end is %v", end)
	}
	shares := make([]float64, 3)
	for i, s := range sources {
		shares[i] = s.(map[string]any)["share"].(float64)
	}
	t.Logf("shares %.2f", shares)
	if shares[0] <= 0 || shares[1] <= shares[0] || shares[2] <= shares[1] {
		t.Errorf("shares %v of mirrors of 4, 8 and 16 MiB/s", shares)
	}
	told := make(map[string]float64) // what each has given so far
	for _, e := range l {
		if e["ev"] != "progress.source" {
			continue
		}
		name, done := e["source"].(string), e["done_bytes"].(float64)
		if done < told[name] {
			t.Errorf("%s has given %.0f bytes, and then %.0f", name, told[name], done)
		}
		told[name] = done
	}
	for _, s := range sources {
		if s := s.(map[string]any); told[s["source"].(string)] != s["bytes"].(float64) {
			t.Errorf("%s gave %.0f bytes and was last said to have given %.0f", s["source"], s["bytes"], told[s["source"].(string)])
		}
	}
	// What was on its way when another one was faster counts, too: half a second of each.
	if extra := a.given.Load() + b.given.Load() + c.given.Load() - int64(len(data)); extra > int64(len(data))/8 {
		t.Errorf("%d bytes came twice", extra)
	}

	t.Log("# again: it is here, and nobody is asked for it")
	before := a.given.Load() + b.given.Load() + c.given.Load()
	w.ok("pull", "f.meta4", "./out/")
	if n := a.given.Load() + b.given.Load() + c.given.Load() - before; n > 3*pullPiece {
		t.Errorf("%d bytes were fetched for what is here", n)
	}

	t.Log("# two mirrors without a list: one of them is used, or both if the whole can be checked")
	r = w.ok("pull", b.URL+"/f", c.URL+"/f", "plain")
	r.want(t, 0, "only "+b.URL+"/f is used")
	holds(t, filepath.Join(w.near, "plain"), data)
	before = b.given.Load()
	w.ok("pull", "--expect", "blake3:"+integrity.Whole(data).String(), b.URL+"/f", c.URL+"/f", "checked")
	holds(t, filepath.Join(w.near, "checked"), data)
	if n := b.given.Load() - before; n == 0 || n > int64(len(data))*3/4 {
		t.Errorf("the slower of two gave %d bytes", n)
	}

	t.Log("# a local copy beside a mirror")
	put(t, filepath.Join(w.near, "copy"), data)
	w.ok("pull", "--expect", "blake3:"+integrity.Whole(data).String(), "./copy", c.URL+"/f", "third")
	holds(t, filepath.Join(w.near, "third"), data)
}

func TestPullFromBadMirrors(t *testing.T) {
	t.Parallel()
	w := newLocal(t)
	data := content(2, 48<<20)
	flipped := bytes.Clone(data)
	flipped[3<<20] ^= 1
	bad, stale, short := newMirror(t, flipped, 32<<20), newMirror(t, content(3, 48<<20), 32<<20), newMirror(t, data[:5<<20], 32<<20)
	good := newMirror(t, data, 8<<20)
	put(t, filepath.Join(w.near, "f.meta4"), []byte(metalinkOf(data, bad, stale, short, good)))
	t.Log("# a flipped byte, a stale copy, a truncated one, and a good one")
	r := w.ok("pull", "f.meta4", "./")
	holds(t, filepath.Join(w.near, "f"), data)
	w.clean(w.near)
	r.want(t, 0, stale.URL+"/f left out: sends wrong bytes", short.URL+"/f left out: size 5242880, it should be 50331648")

	t.Log("# without the good one")
	put(t, filepath.Join(w.near, "bad.meta4"), []byte(metalinkOf(data, bad, stale, short)))
	w.fails(14, []string{stale.URL + "/f left out"}, "pull", "bad.meta4", "./other")
	missing(t, filepath.Join(w.near, "other"))

	t.Log("# two that differ, and nothing tells which is right")
	w.fails(14, []string{"the replicas differ"}, "pull", good.URL+"/f", short.URL+"/f", "./other")
	missing(t, filepath.Join(w.near, "other"))

	t.Log("# a list that wants to write elsewhere")
	put(t, filepath.Join(w.near, "evil.meta4"), []byte(strings.Replace(metalinkOf(data, good), `name="f"`, `name="../../etc/x"`, 1)))
	w.fails(1, []string{"../../etc/x", "leaves the destination"}, "pull", "evil.meta4", "./")
}

func TestPullInTrouble(t *testing.T) {
	t.Parallel()
	w := newLocal(t)
	data := content(4, 12<<20)
	dies, stays := newMirror(t, data, 8<<20), newMirror(t, data, 4<<20)
	dies.left.Store(3 << 20)
	put(t, filepath.Join(w.near, "f.meta4"), []byte(metalinkOf(data, dies, stays)))
	t.Log("# the faster mirror breaks after a quarter and stays broken")
	w.ok("pull", "f.meta4", "./")
	holds(t, filepath.Join(w.near, "f"), data)
	w.clean(w.near)

	t.Log("# the program is killed; the same file from another mirror goes on")
	slow, other := newMirror(t, data, 4<<20), newMirror(t, data, 16<<20)
	put(t, filepath.Join(w.near, "slow.meta4"), []byte(metalinkOf(data, slow)))
	put(t, filepath.Join(w.near, "other.meta4"), []byte(metalinkOf(data, other)))
	p := w.start("pull", "slow.meta4", "./g")
	await(t, patience, "half of it has come", func() bool { return slow.given.Load() > int64(len(data))/2 || !p.running() })
	// The journal is written once a second.
	await(t, patience, "more has come", func() bool { return slow.given.Load() > int64(len(data))*7/8 || !p.running() })
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait()
	missing(t, filepath.Join(w.near, "g"))
	w.ok("pull", "other.meta4", "./g")
	holds(t, filepath.Join(w.near, "g"), data)
	w.clean(w.near)
	if n := other.given.Load(); n > int64(len(data))*3/4 {
		t.Errorf("%d of %d bytes were fetched again", n, len(data))
	}
}
