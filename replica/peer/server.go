package peer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// Bounds of what one client can ask for. Ours.
const (
	maxFiles    = 1024             // open at once
	maxCalls    = 16               // messages that are being answered
	maxQueued   = 512              // requests of one stream that wait
	listBatch   = 1024             // entries in a message
	silence     = 60 * time.Second // nothing is heard: the client is gone
	maxListName = 1 << 20          // bytes of names in a message
)

// Root is a file or a directory that a server gives.
type Root struct {
	Shown string // as the user wrote it
	// Open opens it. It is called once, when the root is first asked for.
	Open func() (store.Source, error)
}

// Server answers what one client asks for. It serves the stream inside its link
// by itself; others are given to Serve.
type Server struct {
	link  Link
	roots []Root
	// Dial makes n more streams to the client and gives them to Serve. It is
	// called by several goroutines. nil: not possible. Set before Run.
	Dial func(ctx context.Context, n int) error
	// Use has streams made and taken another way, a word of --transport, from now on.
	// nil: there is none. Set before Run.
	Use func(way string) error
	// CCs are the congestion controls that streams may be given. Set before Run.
	CCs []string

	inside *inside
	calls  chan struct{} // has one element for each message that is being answered
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	files  map[uint32]*file
	open   map[int]store.Source
	tuning tuning
}

// file is an open file as it was when it was opened. It is closed when nobody reads it.
type file struct {
	store.ReadFile
	e store.Entry

	gate sync.RWMutex // held to read by who uses the file, to write by who closes it
	shut bool         // guarded by gate
}

// Ahead implements store.ReadFile.
func (f *file) Ahead(off, n int64) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	if !f.shut {
		f.ReadFile.Ahead(off, n)
	}
}

// Close implements store.ReadFile. It waits for who reads the file.
func (f *file) Close() error {
	f.gate.Lock()
	defer f.gate.Unlock()
	f.shut = true
	return f.ReadFile.Close()
}

// NewServer makes a server of roots at the end of a link.
func NewServer(l Link, roots []Root) *Server {
	return &Server{link: l, roots: roots, inside: newInside(l), calls: make(chan struct{}, maxCalls), files: make(map[uint32]*file), open: make(map[int]store.Source)}
}

// Run answers until the link or ctx ends, and closes the link. Streams that Serve
// was given must be ended by the caller.
//
// Errors: a *wire.Fail of class Lost when the link ended, of class Protocol when
// the client broke the rules, or the cause of ctx's end.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.close()
	defer s.wg.Wait()
	defer cancel()
	defer s.inside.Close()
	defer s.link.Close()
	defer context.AfterFunc(ctx, func() { s.link.Close() })()
	quiet := time.AfterFunc(silence, func() { s.link.Close() })
	defer quiet.Stop()
	s.wg.Go(func() { s.Serve(ctx, s.inside) })
	for {
		msg, err := s.link.Recv()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return wire.Failf(wire.ClassLost, "the connection ended: %v", err)
		}
		quiet.Reset(silence)
		if err := s.take(ctx, msg); err != nil {
			f := wire.Failf(wire.ClassProtocol, "the other end broke the protocol: %v", err)
			if b, err := wire.AppendJSON(nil, wire.KindFail, f); err == nil {
				_ = s.link.Send(b) // it ends anyway
			}
			return f
		}
	}
}

// close lets go of all files.
func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		f.Close()
	}
	for _, r := range s.open {
		r.Close()
	}
	clear(s.files)
	clear(s.open)
}

// errKind means a message that a server does not take.
var errKind = fmt.Errorf("%w: a message of this kind is not for a server", wire.ErrMalformed)

// take begins to answer a message.
func (s *Server) take(ctx context.Context, msg []byte) error {
	k, body, err := wire.Split(msg)
	if err != nil {
		return err
	}
	switch k {
	case wire.KindData:
		s.inside.deliver(body)
	case wire.KindPing:
		s.send(append([]byte{byte(wire.KindPong)}, body...))
	case wire.KindPong:
	case wire.KindOpen:
		m, err := wire.ParseOpen(body)
		if err != nil {
			return err
		}
		s.answer(ctx, func() { s.openFile(m) })
	case wire.KindClose:
		m, err := wire.ParseNumber(k, body)
		if err != nil {
			return err
		}
		s.closeFile(m.ID)
	case wire.KindList:
		m, err := wire.ParseNumber(k, body)
		if err != nil {
			return err
		}
		s.answer(ctx, func() { s.list(ctx, m) })
	case wire.KindSums:
		m, err := wire.ParseSums(body)
		if err != nil {
			return err
		}
		s.answer(ctx, func() { s.sums(ctx, m) })
	case wire.KindTune:
		var m wire.Tune
		if err := wire.ParseJSON(body, &m); err != nil {
			return err
		}
		s.answer(ctx, func() { s.tune(ctx, m) })
	case wire.KindStreams:
		var m wire.Streams
		if err := wire.ParseJSON(body, &m); err != nil {
			return err
		}
		s.answer(ctx, func() { s.dial(ctx, m) })
	default:
		return errKind
	}
	return nil
}

// answer does something beside the link's reader, of few things at a time: who
// asks faster waits.
func (s *Server) answer(ctx context.Context, do func()) {
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		return
	}
	s.wg.Go(func() {
		defer func() { <-s.calls }()
		do()
	})
}

// send sends a message; when that does not work the link ends by itself.
func (s *Server) send(b []byte) { _ = s.link.Send(b) }

func (s *Server) refuse(id uint32, err error) {
	s.send(wire.Refused{ID: id, Class: classOf(err), Text: reason(err)}.Append(nil))
}

// root gives an open root.
func (s *Server) root(i int) (store.Source, error) {
	if i >= len(s.roots) {
		return nil, wire.Failf(wire.ClassProtocol, "there is no root %d", i)
	}
	s.mu.Lock()
	r := s.open[i]
	s.mu.Unlock()
	if r != nil {
		return r, nil
	}
	r, err := s.roots[i].Open()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.open[i]; other != nil { // asked for twice at once
		r.Close()
		return other, nil
	}
	s.open[i] = r
	return r, nil
}

func (s *Server) openFile(m wire.Open) {
	r, err := s.root(m.Root)
	if err != nil {
		s.refuse(m.ID, err)
		return
	}
	f, err := r.Open(m.Name)
	if err != nil {
		s.refuse(m.ID, err)
		return
	}
	e, err := f.Stat()
	if err == nil {
		s.mu.Lock()
		switch {
		case s.files[m.ID] != nil:
			err = wire.Failf(wire.ClassProtocol, "number %d is in use", m.ID)
		case len(s.files) >= maxFiles:
			err = wire.Failf(wire.ClassProtocol, "%d files are open", maxFiles)
		default:
			s.files[m.ID] = &file{ReadFile: f, e: e}
		}
		s.mu.Unlock()
	}
	if err != nil {
		f.Close()
		s.refuse(m.ID, err)
		return
	}
	s.send(wire.Opened{ID: m.ID, Size: e.Size, ModTime: e.ModTime, Ino: e.Ino, Mode: e.Mode & 0o7777}.Append(nil))
}

func (s *Server) closeFile(id uint32) {
	s.mu.Lock()
	f := s.files[id]
	delete(s.files, id)
	s.mu.Unlock()
	if f != nil {
		s.wg.Go(func() { f.Close() })
	}
}

func (s *Server) file(id uint32) (*file, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[id]; f != nil {
		return f, nil
	}
	return nil, wire.Failf(wire.ClassProtocol, "file %d is not open", id)
}

// list sends all that is below a root. What cannot be read has no kind; a directory
// that can be read in part only comes a second time like this.
func (s *Server) list(ctx context.Context, m wire.Number) {
	r, err := s.root(m.Root)
	if err != nil {
		s.refuse(m.ID, err)
		return
	}
	out := wire.Listed{ID: m.ID}
	names := 0
	err = r.Walk(ctx, func(e store.Entry, err error) error {
		switch {
		case err != nil && e.Name == "":
			return err
		case err != nil:
			e = store.Entry{Name: e.Name} // something is there and cannot be read
		case e.Kind != store.File:
			e.Size = 0
		}
		out.Entries = append(out.Entries, wire.Entry{Name: e.Name, Kind: byte(e.Kind), Mode: e.Mode & 0o7777, Size: e.Size, ModTime: e.ModTime, UID: e.UID, GID: e.GID, Ino: e.Ino, Target: e.Target})
		if names += len(e.Name) + len(e.Target); len(out.Entries) < listBatch && names < maxListName {
			return nil
		}
		b := out.Append(nil)
		out.Entries, names = out.Entries[:0], 0
		return s.link.Send(b)
	})
	if err != nil {
		s.refuse(m.ID, err)
		return
	}
	out.Last = true
	s.send(out.Append(nil))
}

// sums hashes blocks of a file.
func (s *Server) sums(ctx context.Context, m wire.Sums) {
	f, err := s.file(m.File)
	if err == nil && !integrity.ValidBlockSize(m.Block) {
		err = wire.Failf(wire.ClassProtocol, "blocks of %d bytes have no sums", m.Block)
	}
	if err != nil {
		s.refuse(m.ID, err)
		return
	}
	out := wire.Summed{ID: m.ID}
	buf := make([]byte, min(m.Block, f.e.Size))
	for b := m.First; b < m.First+int64(m.Count) && ctx.Err() == nil; b++ {
		off := b * m.Block
		if off >= f.e.Size {
			break
		}
		data := buf[:min(m.Block, f.e.Size-off)]
		if err := f.read(data, off); err != nil {
			s.refuse(m.ID, err)
			return
		}
		out.Sums = append(out.Sums, integrity.Block(data, off, f.e.Size))
	}
	s.send(out.Append(nil))
}

// dial makes streams and tells how that went.
func (s *Server) dial(ctx context.Context, m wire.Streams) {
	err := errors.New("not permitted")
	if s.Dial != nil {
		err = s.Dial(ctx, min(max(m.Count, 1), maxStreams))
	}
	out := wire.Streams{Count: m.Count}
	if err != nil {
		out.Error = err.Error()
	}
	if b, err := wire.AppendJSON(nil, wire.KindStreams, out); err == nil {
		s.send(b)
	}
}

// errChanged means that a file is not what it was when it was opened.
var errChanged = &wire.Fail{Class: wire.ClassChanged, Text: "it changed while it was read"}

// read fills b with what is at off, if the file is still what it was after that.
func (f *file) read(b []byte, off int64) error {
	f.gate.RLock()
	defer f.gate.RUnlock()
	if f.shut {
		return fs.ErrClosed
	}
	n, err := f.ReadAt(b, off)
	now, serr := f.Stat()
	switch {
	case serr != nil:
		return serr
	case now.Size != f.e.Size || now.ModTime != f.e.ModTime || now.Ino != f.e.Ino:
		return errChanged
	case n < len(b) && err == nil:
		return errChanged
	case n < len(b):
		return err
	}
	return nil
}

// classOf says whose trouble an error is.
func classOf(err error) wire.Class {
	var f *wire.Fail
	if errors.As(err, &f) {
		return f.Class
	}
	return wire.ClassSource
}

// reason is an error without the path, which the other end knows.
func reason(err error) string {
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file or directory"
	case errors.As(err, &pe):
		return pe.Err.Error()
	}
	return err.Error()
}

// maxStreams is how many streams a client can ask for. Ours.
const maxStreams = 256
