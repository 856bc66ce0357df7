package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gomover/gomover/sshboot/boottest"
)

// site is a place that has the file, with a rate that all its connections share: a host
// that is reached over ssh, or a web server with a time until it answers.
type site struct {
	name    string
	rate    float64 // bytes per second, at the start
	mirror  bool    // a web server
	latency time.Duration

	address string
	config  string // of ssh, for a host
	close   func() // ends it

	mu    sync.Mutex // guards what follows
	now   float64    // bytes per second
	free  time.Time  // until then the link is busy
	bytes int64
	first time.Time // when the first MiB was out; zero before
	last  time.Time // when data went out last
	flows func()    // is called then, unless nil
}

// burst is how far a site may be ahead of its rate after it was idle; most is what
// it sends at once. Shorter sleeps than these take would not be kept. What is shorter
// than little is no data.
const (
	burst  = 20 * time.Millisecond
	most   = 64 << 10 // bytes
	little = 4 << 10  // bytes
)

// start begins to serve a file on loopback. A host has its home below dir, and what a
// user needs to log in below keys.
func (s *site) start(path, dir, keys string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening on loopback: %w", err)
	}
	s.now, s.address = s.rate, l.Addr().String()
	if s.mirror {
		err = s.web(&pacedListener{l, s}, path)
	} else {
		err = s.login(&pacedListener{l, s}, path, filepath.Join(dir, s.name), filepath.Join(keys, s.name))
	}
	if err != nil {
		l.Close()
	}
	return err
}

// web starts a web server.
func (s *site) web(l net.Listener, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(s.latency) // what the demo is about: sites that are far away
		http.ServeContent(w, r, fileName, info.ModTime(), io.NewSectionReader(file, 0, info.Size()))
	})}
	s.close = func() {
		server.Close()
		file.Close()
	}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintf(os.Stderr, "demopull: site %s: %v\n", s.name, err)
		}
	}()
	return nil
}

// login starts an ssh server with the file in its home.
func (s *site) login(l net.Listener, path, home, keys string) error {
	if err := os.Mkdir(home, 0o700); err != nil {
		return fmt.Errorf("making a home directory: %w", err)
	}
	if err := os.Link(path, filepath.Join(home, fileName)); err != nil {
		return fmt.Errorf("giving the file to a host: %w", err)
	}
	server, err := boottest.Start(l, boottest.Options{Home: home})
	if err != nil {
		return err
	}
	s.close = func() { server.Close() }
	if s.config, err = server.WriteClient(keys, s.name); err != nil {
		server.Close()
	}
	return err
}

// where is how a command names the file there.
func (s *site) where() string {
	if s.mirror {
		return "http://" + s.address + "/" + s.name + "/" + fileName
	}
	return s.name + ":" + fileName
}

// what says what a site is.
func (s *site) what() string {
	if s.mirror {
		return "a web server"
	}
	return "a host behind ssh"
}

// setRate changes the rate, in bytes per second.
func (s *site) setRate(r float64) {
	s.mu.Lock()
	s.now = r
	s.mu.Unlock()
}

// began has do called when the first MiB is out: then it is data that flows, and no login.
func (s *site) began(do func()) {
	s.mu.Lock()
	s.flows = do
	s.mu.Unlock()
}

// sent is how many bytes went out, when the first MiB and when the last data.
func (s *site) sent() (n int64, first, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes, s.first, s.last
}

// count notes that n bytes went out.
func (s *site) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += int64(n)
	if n >= little {
		s.last = time.Now()
	}
	if s.bytes >= 1<<20 && s.first.IsZero() {
		s.first = time.Now()
		if s.flows != nil {
			s.flows()
		}
	}
}

// turn is how long to wait until n bytes may go out.
func (s *site) turn(n int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if earliest := now.Add(-burst); s.free.Before(earliest) {
		s.free = earliest
	}
	s.free = s.free.Add(time.Duration(float64(n) / s.now * float64(time.Second)))
	return s.free.Sub(now)
}

// pacedListener gives connections that send at a site's rate.
type pacedListener struct {
	net.Listener
	s *site
}

// Accept waits for a connection.
func (l *pacedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &paced{c, l.s}, nil
}

// paced is a connection at the site's rate.
type paced struct {
	net.Conn
	s *site
}

// Write sends b at the site's rate.
func (p *paced) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		part := b[n:min(len(b), n+most)]
		time.Sleep(p.s.turn(len(part)))
		var k int
		k, err = p.Conn.Write(part)
		n += k
		p.s.count(k)
	}
	return n, err
}
