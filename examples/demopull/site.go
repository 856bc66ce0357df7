package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// site is a web server that has the file, with a rate that all its connections
// share and a time until it answers.
type site struct {
	name    string
	rate    float64 // bytes per second, at the start
	latency time.Duration

	file   *os.File
	server *http.Server
	at     string

	mu    sync.Mutex // guards what follows
	now   float64    // bytes per second
	free  time.Time  // until then the link is busy
	begun time.Time  // of the first answer
	bytes int64
	last  time.Time // of the last byte
}

// burst is how far a site may be ahead of its rate after it was idle; most is what
// it sends at once. Shorter sleeps than these take would not be kept.
const (
	burst = 20 * time.Millisecond
	most  = 64 << 10 // bytes
)

// start begins to serve a file on loopback.
func (s *site) start(path string) (err error) {
	if s.file, err = os.Open(path); err != nil {
		return err
	}
	info, err := s.file.Stat()
	if err != nil {
		s.file.Close()
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.file.Close()
		return fmt.Errorf("listening on loopback: %w", err)
	}
	s.now, s.at = s.rate, l.Addr().String()
	s.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(s.latency) // what the demo is about: sites that are far away
		s.answer()
		http.ServeContent(&paced{w, s}, r, fileName, info.ModTime(), io.NewSectionReader(s.file, 0, info.Size()))
	})}
	go func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintf(os.Stderr, "demopull: site %s: %v\n", s.name, err)
		}
	}()
	return nil
}

// close ends the server and its connections.
func (s *site) close() {
	s.server.Close()
	s.file.Close()
}

func (s *site) url() string { return "http://" + s.at + "/" + s.name + "/" + fileName }

// setRate changes the rate, in bytes per second.
func (s *site) setRate(r float64) {
	s.mu.Lock()
	s.now = r
	s.mu.Unlock()
}

// answer notes when the first answer was given.
func (s *site) answer() {
	s.mu.Lock()
	if s.begun.IsZero() {
		s.begun = time.Now()
	}
	s.mu.Unlock()
}

// first is when the first answer was given.
func (s *site) first() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// sent is how many bytes went out, and when the last one did.
func (s *site) sent() (int64, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes, s.last
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

// paced is a response at the site's rate.
type paced struct {
	http.ResponseWriter
	s *site
}

// Write sends p at the site's rate.
func (p *paced) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		part := b[n:min(len(b), n+most)]
		time.Sleep(p.s.turn(len(part)))
		var k int
		k, err = p.ResponseWriter.Write(part)
		n += k
		p.s.mu.Lock()
		p.s.bytes += int64(k)
		p.s.last = time.Now()
		p.s.mu.Unlock()
	}
	return n, err
}
