package mover

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/wire"
)

// serving is an agent that serves one file to a pull, with streams over loopback.
type serving struct {
	t       *testing.T
	content []byte
	c       *hostConn
	tuner   *hostTuner
	file    *peer.File
}

func newServing(t *testing.T) *serving {
	t.Helper()
	s := &serving{t: t, content: make([]byte, 1<<20+3)}
	if _, err := rand.Read(s.content); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, s.content, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := netip.MustParseAddr("127.0.0.1")
	ep, err := newEndpoint(t.Context(), params{secret: make([]byte, 32), tcp: true, spare: true, streams: udtOptions(&engine.Options{}), maxBody: wire.MaxServeFrame, bind: loop, warn: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	link, ctx := framing.New(near), context.WithoutCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		st := &start{Secret: make([]byte, 32), Serve: &serveSpec{Roots: []sourceSpec{{Path: []byte(path)}}}, TCP: true, Spare: true, Listen: true}
		_ = serveFiles(ctx, AgentEnv{Server: loop}, framing.New(far), st, nil) // ends with its client
	}()
	var rd ready
	if err := recvKind(link, wire.KindReady, &rd); err != nil {
		t.Fatal(err)
	}
	offer, err := parseOffer(rd.Offer, loop)
	if err != nil {
		t.Fatal(err)
	}
	d := newDirector(&Job{TCP: true, Spare: true}, nil)
	h := &pullHost{all: &pullHosts{d: d}, name: "h"}
	s.c = &hostConn{h: h, link: agentLink{Link: link, close: func() { near.Close() }}, client: peer.NewClient(link), ep: ep, far: offer, streams: 2}
	t.Cleanup(func() {
		s.c.close()
		<-ended
	})
	s.tuner = newHostTuner(s.c, "")
	if err := s.c.makeStreams(); err != nil {
		t.Fatal(err)
	}
	if s.file, err = s.c.client.Open(t.Context(), 0, ""); err != nil {
		t.Fatal(err)
	}
	return s
}

// flows counts the streams of a transport that are in use.
func (s *serving) flows(way string) (n int) {
	for _, f := range s.c.client.Flows() {
		if f.Transport == way && !f.Leaving {
			n++
		}
	}
	return n
}

// await waits until there are n streams of a transport.
func (s *serving) await(way string, n int) {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); s.flows(way) != n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%d streams over %s, want %d", s.flows(way), way, n)
		}
	}
}

// read reads the file over as many lanes as there are streams, and compares it.
func (s *serving) read() {
	s.t.Helper()
	const part = 256 << 10
	var wg sync.WaitGroup
	for off := int64(0); off < int64(len(s.content)); off += part {
		want := s.content[off:min(off+part, int64(len(s.content)))]
		wg.Go(func() {
			r, err := s.file.Range(s.t.Context(), off, int64(len(want)), part)
			if err != nil {
				s.t.Error(err)
				return
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
				s.t.Errorf("at %d: %d bytes, %v", off, len(got), err)
			}
		})
	}
	wg.Wait()
}

// TestSwitchTransport: a host whose streams lose packets is read over another transport
// beside TCP; then either over that alone, or over TCP as before.
func TestSwitchTransport(t *testing.T) {
	t.Parallel()
	d := choice.Decision{Action: choice.Try, Setting: choice.Setting{Transport: "udt", Streams: 1}, Reason: "a test"}
	for _, better := range []bool{true, false} {
		s := newServing(t)
		s.await("tcp", 2)
		s.read()
		s.tuner.try(t.Context(), d, 2)
		s.await("udt", 1)
		s.read()
		if better {
			s.tuner.commit(d)
			s.await("tcp", 0)
		} else {
			s.tuner.giveUp(t.Context(), d, 2)
			s.await("udt", 0)
		}
		s.read()
		s.c.client.Sweep()
		s.read()
		if !better {
			// What is made from now on is TCP again.
			s.tuner.make(t.Context(), 1)
			s.await("tcp", 3)
			s.read()
			continue
		}
		s.tuner.make(t.Context(), 1)
		s.await("udt", 2)
		s.read()
		if n, way := s.c.client.Streams(); n != 2 || way != "udt" {
			t.Errorf("%d streams over %s", n, way)
		}
	}
}
