package httpsource_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomover/gomover/replica/httpsource"
)

// fetch asks for ranges, ahead of each other by so many, and compares what comes.
func fetch(p *httpsource.Pipe, ahead int, parts ...[2]int64) error {
	asked := 0
	for i, part := range parts {
		for ; asked < len(parts) && asked <= i+ahead; asked++ {
			if err := p.Ask(parts[asked][0], parts[asked][1]); err != nil {
				return err
			}
		}
		r, err := p.Next()
		if err != nil {
			return err
		}
		got, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, content[part[0]:part[0]+part[1]]) {
			return fmt.Errorf("other bytes at %d", part[0])
		}
	}
	return nil
}

var someParts = [][2]int64{{0, 1000}, {1000, 70_000}, {71_000, 1}, {200_000, 100_000}, {5, 5}, {0, 300_000}, {150_000, 65_536}}

// pipe opens a source and makes a pipe.
func pipe(t *testing.T, s *httpsource.Source) *httpsource.Pipe {
	t.Helper()
	open(t, s)
	p := s.Pipe(t.Context())
	t.Cleanup(func() { p.Close() })
	return p
}

func TestPipe(t *testing.T) {
	var connections, at, most atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), at.Add(1)))
		good(`"v"`, content)(w, r)
		at.Add(-1)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	for ahead := range 4 {
		p := pipe(t, source(t, srv.URL+"/f", httpsource.Config{}))
		connections.Store(0)
		if err := fetch(p, ahead, someParts...); err != nil {
			t.Errorf("%d ahead: %v", ahead, err)
		}
		if n := connections.Load(); n != 1 {
			t.Errorf("%d ahead: %d connections", ahead, n)
		}
	}
	p := pipe(t, source(t, srv.URL+"/f", httpsource.Config{}))
	for _, part := range [][2]int64{{-1, 5}, {0, 0}, {299_999, 2}, {0, 1 << 62}} {
		if err := p.Ask(part[0], part[1]); err == nil {
			t.Errorf("%v can be asked for", part)
		}
	}
	if _, err := p.Next(); err == nil {
		t.Error("nothing was asked for, and something comes")
	}
}

func TestPipeOverTLS(t *testing.T) {
	srv := httptest.NewTLSServer(good(`"v"`, content))
	defer srv.Close()
	s := source(t, srv.URL+"/f", httpsource.Config{TLS: srv.Client().Transport.(*http.Transport).TLSClientConfig})
	if err := fetch(pipe(t, s), 2, someParts...); err != nil {
		t.Error(err)
	}
	// A certificate that nobody knows is refused.
	other := source(t, srv.URL+"/f", httpsource.Config{})
	if _, err := other.Open(t.Context()); err == nil {
		t.Error("an unknown certificate is taken")
	}
}

// byHand serves connections by hand: answer gets each request with its number on the
// connection, and says whether to go on.
func byHand(t *testing.T, answer func(out *bufio.Writer, r *http.Request, n int) bool) string {
	t.Helper()
	return listen(t, func(c net.Conn) {
		in, out := bufio.NewReader(c), bufio.NewWriter(c)
		for n := 0; ; n++ {
			r, err := http.ReadRequest(in)
			if err != nil || !answer(out, r, n) || out.Flush() != nil {
				out.Flush()
				linger(c)
				return
			}
		}
	})
}

// listen has serve take each connection, which is closed when it returns, until the
// test's end, and gives the address of a file there.
func listen(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String() + "/f"
}

// linger closes a connection such that the other end reads all that was sent: one
// that is closed with bytes unread is reset.
func linger(c net.Conn) {
	_ = c.(*net.TCPConn).CloseWrite()                       // it may be closed already
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // the same
	_, _ = io.Copy(io.Discard, c)                           // until the other end closes
}

// answer writes what a good server says.
func answer(out io.Writer, r *http.Request, more string) {
	var lo, hi int
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &lo, &hi); err != nil {
		return
	}
	fmt.Fprintf(out, "HTTP/1.1 206 Partial Content\r\nETag: \"v\"\r\nContent-Range: bytes %d-%d/%d\r\n%s", lo, hi, len(content), more)
	if strings.Contains(more, "chunked") {
		half := (hi + 1 - lo) / 2
		fmt.Fprint(out, "\r\n")
		for _, part := range [][]byte{content[lo : lo+half], content[lo+half : hi+1]} {
			if len(part) > 0 {
				fmt.Fprintf(out, "%x\r\n%s\r\n", len(part), part)
			}
		}
		fmt.Fprint(out, "0\r\n\r\n")
		return
	}
	fmt.Fprintf(out, "Content-Length: %d\r\n\r\n%s", hi+1-lo, content[lo:hi+1])
}

func TestPipeOfOddServers(t *testing.T) {
	tests := []struct {
		name   string
		answer func(out *bufio.Writer, r *http.Request, n int) bool
	}{
		{"chunks", func(out *bufio.Writer, r *http.Request, _ int) bool {
			answer(out, r, "Transfer-Encoding: chunked\r\n")
			return true
		}},
		{"interim answers", func(out *bufio.Writer, r *http.Request, _ int) bool {
			fmt.Fprint(out, "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
			answer(out, r, "")
			return true
		}},
		{"one answer for each connection, said", func(out *bufio.Writer, r *http.Request, _ int) bool {
			answer(out, r, "Connection: close\r\n")
			return false
		}},
		{"two answers for each connection, unsaid", func(out *bufio.Writer, r *http.Request, n int) bool {
			answer(out, r, "")
			return n < 1
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, ahead := range []int{0, 3} {
				if err := fetch(pipe(t, source(t, byHand(t, tt.answer), httpsource.Config{})), ahead, someParts...); err != nil {
					t.Errorf("%d ahead: %v", ahead, err)
				}
			}
		})
	}
}

func TestPipeOfWrongServers(t *testing.T) {
	tests := []struct {
		name   string
		answer func(out *bufio.Writer, r *http.Request) // to the third request
		final  bool
	}{
		{"another version", func(out *bufio.Writer, _ *http.Request) {
			fmt.Fprintf(out, "HTTP/1.1 206 Partial Content\r\nETag: \"w\"\r\nContent-Range: bytes 71000-71000/%d\r\nContent-Length: 1\r\n\r\n.", len(content))
		}, true},
		{"another range", func(out *bufio.Writer, _ *http.Request) {
			fmt.Fprintf(out, "HTTP/1.1 206 Partial Content\r\nETag: \"v\"\r\nContent-Range: bytes 1-1/%d\r\nContent-Length: 1\r\n\r\n.", len(content))
		}, true},
		{"no such object", func(out *bufio.Writer, _ *http.Request) {
			fmt.Fprint(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		}, true},
		{"busy", func(out *bufio.Writer, _ *http.Request) {
			fmt.Fprint(out, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
		}, false},
		{"an endless header", func(out *bufio.Writer, _ *http.Request) {
			fmt.Fprint(out, "HTTP/1.1 206 Partial Content\r\n")
			for range 10_000 {
				fmt.Fprint(out, "X: 0123456789012345678901234567890123456789\r\n")
			}
		}, true},
		{"interim answers without end", func(out *bufio.Writer, _ *http.Request) {
			for range 100 {
				fmt.Fprint(out, "HTTP/1.1 100 Continue\r\n\r\n")
			}
		}, true},
		{"compressed", func(out *bufio.Writer, r *http.Request) { answer(out, r, "Content-Encoding: gzip\r\n") }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := byHand(t, func(out *bufio.Writer, r *http.Request, n int) bool {
				if n == 2 {
					tt.answer(out, r)
				} else {
					answer(out, r, "")
				}
				return true
			})
			err := fetch(pipe(t, source(t, at, httpsource.Config{})), 3, someParts...)
			var f interface{ Final() bool }
			if err == nil || (errors.As(err, &f) && f.Final()) != tt.final {
				t.Errorf("%v; want an error, final: %t", err, tt.final)
			}
		})
	}
}

func TestPipeIsCutOff(t *testing.T) {
	// In the middle of an answer.
	at := byHand(t, func(out *bufio.Writer, r *http.Request, n int) bool {
		if r.Header.Get("Range") == "bytes=0-0" {
			answer(out, r, "")
			return true
		}
		fmt.Fprintf(out, "HTTP/1.1 206 Partial Content\r\nETag: \"v\"\r\nContent-Range: bytes 0-999/%d\r\nContent-Length: 1000\r\n\r\nabc", len(content))
		return false
	})
	if err := fetch(pipe(t, source(t, at, httpsource.Config{})), 1, someParts...); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	// Whoever waits is told why it ends.
	at = byHand(t, func(out *bufio.Writer, r *http.Request, n int) bool {
		answer(out, r, "")
		return true
	})
	s := source(t, at, httpsource.Config{})
	open(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	p := s.Pipe(ctx)
	defer p.Close()
	cancel(errStopped)
	if err := fetch(p, 1, someParts...); !errors.Is(err, errStopped) {
		t.Errorf("%v, want the cause of the end", err)
	}
}

var errStopped = errors.New("stopped")

func TestPipeOfWhoForgetsEarlyRequests(t *testing.T) {
	// It throws away what came before it had answered.
	at := forgetful(t)
	s := source(t, at, httpsource.Config{})
	p := pipe(t, s)
	s.SetEarly(200 * time.Millisecond)
	if err := fetch(p, 2, someParts...); err != nil {
		t.Error(err)
	}
	if !s.OneByOne() {
		t.Error("it is still sent requests early")
	}
}

func TestNoPipeThroughProxies(t *testing.T) {
	proxy := httptest.NewServer(good(`"v"`, content))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := source(t, "http://mirror.invalid/f", httpsource.Config{Proxy: func(*http.Request) (*url.URL, error) { return at, nil }})
	if s.Pipe(t.Context()) != nil {
		t.Error("a pipe before the object is known")
	}
	open(t, s)
	if s.Pipe(t.Context()) != nil {
		t.Error("a pipe through a proxy")
	}
}

// forgetful serves one request after the other and forgets what came early.
func forgetful(t *testing.T) string {
	t.Helper()
	return listen(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond) // so that early ones are here
			if _, err := in.Discard(in.Buffered()); err != nil {
				return
			}
			// What is in the socket, too.
			if c.SetReadDeadline(time.Now().Add(10*time.Millisecond)) == nil {
				_, _ = io.Copy(io.Discard, c) // until the deadline
			}
			_ = c.SetReadDeadline(time.Time{}) // the connection may have ended
			out := bufio.NewWriter(c)
			answer(out, r, "")
			if out.Flush() != nil {
				return
			}
		}
	})
}
