package mover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/replica/pull"
)

// sshSource is a replica on a host that is reached over ssh. Its file must stay what
// it was when it was opened first.
type sshSource struct {
	h    *pullHost
	root int
	name string // below the root

	mu      sync.Mutex // guards what follows
	version string     // of the first opening; "" before
	file    *peer.File // of conn
	conn    *hostConn
}

var (
	_ pull.Summer   = (*sshSource)(nil)
	_ pull.Attester = (*sshSource)(nil)
	_ pull.Piper    = (*sshSource)(nil)
	_ pull.Elastic  = (*sshSource)(nil)
)

// Open logs in, unless that was done, and asks for the facts.
func (s *sshSource) Open(ctx context.Context) (pull.Facts, error) {
	c, err := s.h.connect(ctx)
	if err != nil {
		return pull.Facts{}, err
	}
	f, err := c.client.Open(ctx, s.root, s.name)
	if err != nil {
		return pull.Facts{}, err
	}
	version := fmt.Sprintf("%d %d %d", f.Size, f.ModTime, f.Ino)
	s.mu.Lock()
	old := s.file
	switch {
	case s.version != "" && s.version != version:
		s.mu.Unlock()
		f.Close()
		return pull.Facts{}, errFileChanged
	case s.conn == c && old != nil:
		// Who reads the one that is open goes on with it.
		s.mu.Unlock()
		f.Close()
		f = old
	default:
		s.version, s.file, s.conn = version, f, c
		s.mu.Unlock()
	}
	if err := c.ways(ctx, f.Size); err != nil {
		return pull.Facts{}, err
	}
	return pull.Facts{Size: f.Size, Ranges: true, Version: version, ModTime: f.ModTime, Latency: c.rtt, Connections: c.connections()}, nil
}

// errNotOpen means that a replica is asked before it was opened.
var errNotOpen = errors.New("not connected")

// now is the open file.
func (s *sshSource) now() (*peer.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil, errNotOpen
	}
	return s.file, nil
}

// Connections is how many streams there are to be asked on.
func (s *sshSource) Connections() int {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	if c == nil {
		return 0
	}
	n := 0
	for _, f := range c.client.Flows() {
		if !f.Leaving {
			n++
		}
	}
	return n
}

// heldBy is what holds the streams of the host back; "" if that is not known.
func (s *sshSource) heldBy() string {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	if c == nil {
		return ""
	}
	return c.heldBy()
}

// Range reads a part of the file.
func (s *sshSource) Range(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
	f, err := s.now()
	if err != nil {
		return nil, err
	}
	return f.Range(ctx, offset, n, 0)
}

// Pipe gives a connection for parts of the file.
func (s *sshSource) Pipe(ctx context.Context) pull.Pipe { return s.Attest(ctx, 0) }

// Attest gives a connection for whole blocks, which come with their sums.
func (s *sshSource) Attest(ctx context.Context, block int64) pull.Pipe {
	return &sshPipe{ctx: ctx, s: s, block: block}
}

// sshPipe is one stream to a host.
type sshPipe struct {
	ctx   context.Context
	s     *sshSource
	block int64
	lane  *peer.Lane // nil before the first request
	asked []*peer.Body
	now   *peer.Body // that Next gave last; nil before
}

// Ask implements pull.Pipe.
func (p *sshPipe) Ask(offset, n int64) error {
	if p.lane != nil && p.lane.Leaving() {
		p.lane.Close() // what was asked for still comes there
		p.lane = nil
	}
	if p.lane == nil {
		f, err := p.s.now()
		if err != nil {
			return err
		}
		if p.lane, err = f.Lane(); err != nil {
			return err
		}
	}
	b, err := p.lane.Range(p.ctx, offset, n, p.block)
	if err == nil {
		p.asked = append(p.asked, b)
	}
	return err
}

// Next implements pull.Pipe.
func (p *sshPipe) Next() (io.Reader, error) {
	if len(p.asked) == 0 {
		return nil, errNotAsked
	}
	if p.now != nil {
		p.now.Close()
	}
	p.now, p.asked = p.asked[0], p.asked[1:]
	if p.block == 0 {
		return struct{ io.Reader }{p.now}, nil // it has no sums to give
	}
	return p.now, nil
}

var errNotAsked = errors.New("nothing was asked for")

// Close implements pull.Pipe.
func (p *sshPipe) Close() error {
	if p.now != nil {
		p.now.Close()
	}
	for _, b := range p.asked {
		b.Close()
	}
	if p.lane != nil {
		p.lane.Close()
		p.lane = nil
	}
	p.now, p.asked = nil, nil
	return nil
}

// Sums has the host hash blocks of the file.
func (s *sshSource) Sums(ctx context.Context, block, first int64, count int) ([]integrity.Sum, error) {
	f, err := s.now()
	if err != nil {
		return nil, err
	}
	return f.Sums(ctx, block, first, count)
}
