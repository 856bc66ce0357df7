package httpsource_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/leak"
	"github.com/gomover/gomover/replica/httpsource"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// content is what the servers have.
var content = func() []byte {
	b := make([]byte, 300_000)
	for i := range b {
		b[i] = byte(i * i >> 5)
	}
	return b
}()

var day = time.Date(2020, 2, 2, 2, 2, 2, 0, time.UTC)

// good serves content as http.ServeContent does, with a tag unless it is "".
func good(tag string, data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		http.ServeContent(w, r, "", day, bytes.NewReader(data))
	}
}

// serve starts a server and makes a source of a path on it.
func serve(t *testing.T, h http.Handler, c httpsource.Config) *httpsource.Source {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return source(t, srv.URL+"/f", c)
}

func source(t *testing.T, at string, c httpsource.Config) *httpsource.Source {
	t.Helper()
	s, err := httpsource.New(at, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, s *httpsource.Source) httpsource.Facts {
	t.Helper()
	f, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// read reads a range whole.
func read(ctx context.Context, s *httpsource.Source, offset, n int64) ([]byte, error) {
	r, err := s.Range(ctx, offset, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestReadsRanges(t *testing.T) {
	for _, tag := range []string{`"v1"`, `W/"v1"`, ""} {
		s := serve(t, good(tag, content), httpsource.Config{Streams: 3})
		f := open(t, s)
		if f.Size != int64(len(content)) || !f.Ranges || f.Validator == "" || (tag == `"v1"`) != (f.Validator == tag) || f.Latency <= 0 {
			t.Errorf("tag %s: %+v", tag, f)
		}
		var wg sync.WaitGroup
		for _, part := range [][2]int64{{0, 1}, {0, 300_000}, {299_999, 1}, {1000, 70_000}, {65_536, 65_536}} {
			wg.Go(func() {
				got, err := read(t.Context(), s, part[0], part[1])
				if err != nil || !bytes.Equal(got, content[part[0]:part[0]+part[1]]) {
					t.Errorf("tag %s, %v: %d bytes, %v", tag, part, len(got), err)
				}
			})
		}
		wg.Wait()
		for _, part := range [][2]int64{{-1, 5}, {0, 0}, {299_999, 2}, {0, 1 << 62}} {
			if _, err := s.Range(t.Context(), part[0], part[1]); err == nil {
				t.Errorf("%v can be read", part)
			}
		}
	}
}

func TestEmptyAndWhole(t *testing.T) {
	if f := open(t, serve(t, good(`"e"`, nil), httpsource.Config{})); f.Size != 0 {
		t.Errorf("an empty object: %+v", f)
	}
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content) // the client may have gone
	}), httpsource.Config{})
	if f := open(t, s); f.Size != int64(len(content)) || f.Ranges || f.Validator != "" {
		t.Errorf("without ranges: %+v", f)
	}
	if got, err := read(t.Context(), s, 0, int64(len(content))); err != nil || !bytes.Equal(got, content) {
		t.Errorf("all of it: %d bytes, %v", len(got), err)
	}
	if _, err := read(t.Context(), s, 5, 10); err == nil {
		t.Error("a part of what can only be had as a whole")
	}
}

func TestChanged(t *testing.T) {
	newer := content[:200_000]
	var mu sync.Mutex
	h := good(`"v1"`, content)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now := h
		mu.Unlock()
		now(w, r)
	}), httpsource.Config{})
	set := func(next http.HandlerFunc) {
		mu.Lock()
		h = next
		mu.Unlock()
	}
	open(t, s)
	// A server that ignores If-Range is caught by what its answer says.
	ignoring := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("If-Range")
			h(w, r)
		}
	}
	for name, next := range map[string]http.HandlerFunc{"another tag": good(`"v2"`, content), "shorter": good(`"v1"`, newer), "no tag": good("", content), "much shorter": good(`"v1"`, content[:10])} {
		for _, now := range []http.HandlerFunc{next, ignoring(next)} {
			set(now)
			if _, err := read(t.Context(), s, 100_000, 1000); !errors.Is(err, httpsource.ErrChanged) {
				t.Errorf("%s: %v", name, err)
			} else if final, ok := errors.AsType[interface {
				error
				Final() bool
			}](err); !ok || !final.Final() {
				t.Errorf("%s: %v is not final", name, err)
			}
		}
		if _, err := s.Open(t.Context()); !errors.Is(err, httpsource.ErrChanged) {
			t.Errorf("%s, opened again: %v", name, err)
		}
	}
	set(good(`"v1"`, content))
	if _, err := s.Open(t.Context()); err != nil {
		t.Errorf("the same, opened again: %v", err)
	}
	if got, err := read(t.Context(), s, 100_000, 1000); err != nil || !bytes.Equal(got, content[100_000:101_000]) {
		t.Errorf("the same again: %v", err)
	}
}

// raw is a server that says what it likes, after the first, good answer.
func raw(t *testing.T, answer string) *httpsource.Source {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	wg.Go(func() {
		for i := 0; ; i++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 4096)); err != nil {
					return
				}
				text := answer
				if i == 0 {
					text = "HTTP/1.1 206 ok\r\nConnection: close\r\nETag: \"a\"\r\nContent-Range: bytes 0-0/1000\r\nContent-Length: 1\r\n\r\nx"
				}
				_, _ = io.WriteString(conn, text) // the client may have seen enough
			})
		}
	})
	return source(t, "http://"+l.Addr().String()+"/f", httpsource.Config{})
}

func TestHostileAnswers(t *testing.T) {
	const ok = "HTTP/1.1 206 ok\r\nETag: \"a\"\r\n"
	tests := []struct{ name, answer, want string }{
		{"another range", ok + "Content-Range: bytes 0-9/1000\r\nContent-Length: 10\r\n\r\n0123456789", "the server gives bytes 0-9"},
		{"more than asked", ok + "Content-Range: bytes 100-119/1000\r\nContent-Length: 20\r\n\r\n01234567890123456789", "the server gives bytes 100-119"},
		{"less than asked", ok + "Content-Range: bytes 100-104/1000\r\nContent-Length: 5\r\n\r\n01234", "the server gives bytes 100-104"},
		{"no range", ok + "Content-Length: 10\r\n\r\n0123456789", "without saying which"},
		{"odd range", ok + "Content-Range: bytes 100-/1000\r\n\r\n", "without saying which"},
		{"reversed range", ok + "Content-Range: bytes 109-100/1000\r\n\r\n", "without saying which"},
		{"unknown size", ok + "Content-Range: bytes 100-109/*\r\n\r\n0123456789", "without saying which"},
		{"negative", ok + "Content-Range: bytes -5-4/1000\r\n\r\n", "without saying which"},
		{"huge", ok + "Content-Range: bytes 100-109/99999999999999999999\r\n\r\n", "without saying which"},
		{"range beyond its size", ok + "Content-Range: bytes 100-109/105\r\n\r\n", "without saying which"},
		{"several ranges", ok + "Content-Type: multipart/byteranges; boundary=x\r\nContent-Range: bytes 100-109/1000\r\n\r\n", "several ranges"},
		{"wrong length", ok + "Content-Range: bytes 100-109/1000\r\nContent-Length: 1000\r\n\r\n", "the server gives 1000 bytes"},
		{"compressed", ok + "Content-Encoding: gzip\r\nContent-Range: bytes 100-109/1000\r\nContent-Length: 10\r\n\r\n0123456789", "compresses"},
		{"ends early", ok + "Content-Range: bytes 100-109/1000\r\nContent-Length: 10\r\n\r\n01234", "unexpected EOF"},
		{"ends early, no length", ok + "Content-Range: bytes 100-109/1000\r\nConnection: close\r\n\r\n01234", "unexpected EOF"},
		{"nothing", "", "EOF"},
		{"no HTTP", "hello\r\n\r\n", "malformed"},
		{"endless header", "HTTP/1.1 206 ok\r\nX: " + strings.Repeat("x", 1<<20), "exceeded"},
		{"late redirect", "HTTP/1.1 302 x\r\nLocation: /g\r\nContent-Length: 0\r\n\r\n", "302 (found)"},
		{"gone", "HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n", "404 (not found)"},
		{"strange code", "HTTP/1.1 299 x\r\nContent-Length: 0\r\n\r\n", "the server answers 299"},
	}
	for _, test := range tests {
		s := raw(t, test.answer)
		open(t, s)
		got, err := read(t.Context(), s, 100, 10)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
		if len(got) > 10 {
			t.Errorf("%s: %d bytes", test.name, len(got))
		}
	}
	// What comes behind the range does not reach the reader.
	s := raw(t, ok+"Content-Range: bytes 100-109/1000\r\nConnection: close\r\n\r\n0123456789and more")
	open(t, s)
	if got, err := read(t.Context(), s, 100, 10); err != nil || string(got) != "0123456789" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestHostileFirstAnswers(t *testing.T) {
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   string
		final  bool
	}{
		{"unknown size", func(w http.ResponseWriter) { _, _ = w.Write(content) }, "does not tell the size", true},
		{"another range", func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 5-6/10")
			w.WriteHeader(206)
		}, "another range", true},
		{"forbidden", func(w http.ResponseWriter) { w.WriteHeader(403) }, "403 (forbidden)", true},
		{"busy", func(w http.ResponseWriter) { w.WriteHeader(503) }, "503 (service unavailable)", false},
		{"too many", func(w http.ResponseWriter) { w.WriteHeader(429) }, "429 (too many requests)", false},
		{"not satisfiable", func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes */5")
			w.WriteHeader(416)
		}, "416", true},
		{"redirect to nowhere", func(w http.ResponseWriter) { w.WriteHeader(302) }, "to nowhere", true},
		{"redirect to a file", func(w http.ResponseWriter) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(302)
		}, "not HTTP", true},
	}
	for _, test := range tests {
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { test.answer(w) }), httpsource.Config{})
		_, err := s.Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		var answer *httpsource.StatusError
		if !errors.As(err, &answer) || answer.Final() != test.final {
			t.Errorf("%s: final %t, want %t: %v", test.name, answer != nil && answer.Final(), test.final, err)
		}
	}
	s := source(t, "http://127.0.0.1:1/f", httpsource.Config{})
	if _, err := s.Range(t.Context(), 0, 1); err == nil {
		t.Error("bytes of what was never opened")
	}
	var answer *httpsource.StatusError
	if _, err := s.Open(t.Context()); err == nil || errors.As(err, &answer) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestRedirects(t *testing.T) {
	hops := func(n int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var at int
			_, _ = fmt.Sscanf(r.URL.Path, "/hop%d", &at)
			if at < n {
				http.Redirect(w, r, fmt.Sprintf("/hop%d", at+1), http.StatusFound)
				return
			}
			good(`"v"`, content)(w, r)
		})
	}
	s := serve(t, hops(5), httpsource.Config{})
	open(t, s)
	if got, err := read(t.Context(), s, 7, 9); err != nil || !bytes.Equal(got, content[7:16]) {
		t.Errorf("behind five redirects: %q, %v", got, err)
	}
	if _, err := serve(t, hops(6), httpsource.Config{}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 5 redirects") {
		t.Errorf("six redirects: %v", err)
	}
}

// secure starts a TLS server and returns what trusts it.
func secure(t *testing.T, h http.Handler) (string, *tls.Config) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return srv.URL, &tls.Config{RootCAs: pool}
}

func TestTLS(t *testing.T) {
	at, trust := secure(t, good(`"v"`, content))
	s := source(t, at+"/f", httpsource.Config{TLS: trust})
	open(t, s)
	from := serve(t, http.RedirectHandler(at+"/f", http.StatusFound), httpsource.Config{TLS: trust})
	if from.Secure() || !s.Secure() {
		t.Error("http is said to be secure, or https is not")
	}
	if open(t, from); !from.Secure() {
		t.Error("where http leads to https is not said to be secure")
	}
	if got, err := read(t.Context(), s, 7, 9); err != nil || !bytes.Equal(got, content[7:16]) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := source(t, at+"/f", httpsource.Config{}).Open(t.Context()); err == nil {
		t.Error("a certificate that nobody trusts is taken")
	}
	plain := httptest.NewServer(good(`"v"`, content))
	defer plain.Close()
	at, trust = secure(t, http.RedirectHandler(plain.URL+"/f", http.StatusFound))
	if _, err := source(t, at, httpsource.Config{TLS: trust}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("from https to http: %v", err)
	}
}

func TestPasswordsStayAtTheirHost(t *testing.T) {
	type seen struct{ first, second string }
	var mu sync.Mutex
	var got seen
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got.second = r.Header.Get("Authorization") + r.Header.Get("Referer")
		mu.Unlock()
		good(`"v"`, content)(w, r)
	}))
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		mu.Lock()
		got.first = name + ":" + password
		mu.Unlock()
		http.Redirect(w, r, other.URL+"/g", http.StatusFound)
	}))
	defer first.Close()
	at := strings.Replace(first.URL, "http://", "http://me:secret@", 1) + "/f"
	login := func(host string) (string, string, bool) { return "you", "hidden", host == "127.0.0.1" }
	for _, c := range []struct {
		at, want string
		config   httpsource.Config
	}{{at, "me:secret", httpsource.Config{Login: login}}, {first.URL + "/f", "you:hidden", httpsource.Config{Login: login}}} {
		s := source(t, c.at, c.config)
		f := open(t, s)
		if want := (seen{first: c.want}); got != want || "http://"+f.Host != other.URL {
			t.Errorf("%+v, want %+v, from %s", got, want, f.Host)
		}
		if strings.Contains(s.String(), "secret") {
			t.Errorf("%s shows the password", s)
		}
	}
	first.Close()
	s := source(t, at, httpsource.Config{})
	if _, err := s.Open(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"http://me:secret@h:x/", "ftp://me:secret@h/", "http:///f", "f", "http://me:secret@%zz/"} {
		if _, err := httpsource.New(bad, httpsource.Config{}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "mirror.example" {
			w.WriteHeader(400)
			return
		}
		good(`"v"`, content)(w, r)
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	if f := open(t, source(t, "http://mirror.example/f", httpsource.Config{Proxy: http.ProxyURL(at)})); f.Size != int64(len(content)) {
		t.Errorf("%+v", f)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	srv := httptest.NewUnstartedServer(good(`"v"`, content))
	srv.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch st {
		case http.StateNew:
			now++
			most = max(most, now)
		case http.StateClosed:
			now--
		}
	}
	srv.Start()
	defer srv.Close()
	s := source(t, srv.URL, httpsource.Config{Streams: 2})
	open(t, s)
	var wg sync.WaitGroup
	for i := range int64(20) {
		wg.Go(func() {
			if got, err := read(t.Context(), s, i*1000, 1000); err != nil || !bytes.Equal(got, content[i*1000:i*1000+1000]) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if most > 2 {
		t.Errorf("%d connections at once", most)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Range") == "" {
			good(`"v"`, content)(w, r)
			return
		}
		w.Header().Set("ETag", `"v"`)
		w.Header().Set("Content-Range", "bytes 0-99/300000")
		w.WriteHeader(206)
		_, _ = w.Write(content[:50])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	}), httpsource.Config{})
	open(t, s)
	if _, err := read(ctx, s, 0, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("bytes 100-109/1000", `"a"`, 206, int64(10))
	f.Add("bytes */0", "", 416, int64(0))
	f.Add("bytes 0-0/1000", "W/x", 200, int64(-1))
	f.Fuzz(func(t *testing.T, span, tag string, code int, length int64) {
		httpsource.CheckAnswer(t, span, tag, code, length)
	})
}
