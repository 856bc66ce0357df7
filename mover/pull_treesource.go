package mover

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/replica/tree"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/wire"
)

// hostTree is a tree on a host that is reached over ssh.
type hostTree struct {
	h    *pullHost
	root int

	mu   sync.Mutex // guards conn
	conn *hostConn  // nil before the first opening
}

var _ tree.Source = (*hostTree)(nil)

// Open logs in, unless that was done.
func (s *hostTree) Open(ctx context.Context) (time.Duration, error) {
	c, err := s.h.connect(ctx)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	again := s.conn != nil
	s.conn = c
	s.mu.Unlock()
	if again {
		// What was asked for before got lost with the ways to here.
		return c.rtt, c.ways(ctx, math.MaxInt64)
	}
	if c.ep == nil {
		return c.rtt, c.ways(ctx, math.MaxInt64)
	}
	return c.rtt, nil
}

// now is the present connection.
func (s *hostTree) now() *hostConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// List asks for what is below the root.
func (s *hostTree) List(ctx context.Context, fn func(store.Entry) error) error {
	return fileError(s.now().client.List(ctx, s.root, func(e wire.Entry) error {
		return fn(store.Entry{Name: e.Name, Kind: store.Kind(e.Kind), Size: e.Size, Mode: e.Mode, ModTime: e.ModTime, UID: e.UID, GID: e.GID, Ino: e.Ino, Target: e.Target})
	}))
}

// Read asks for bytes.
func (s *hostTree) Read(ctx context.Context, e store.Entry, off int64, data []byte, came func(int)) (integrity.Sum, error) {
	return s.fetch(ctx, &e, off, int64(len(data)), data, came)
}

// Sum asks for a sum.
func (s *hostTree) Sum(ctx context.Context, e store.Entry, off, n int64) (integrity.Sum, error) {
	return s.fetch(ctx, &e, off, n, nil, nil)
}

func (s *hostTree) fetch(ctx context.Context, e *store.Entry, off, n int64, data []byte, came func(int)) (sum integrity.Sum, err error) {
	c := s.now()
	m := wire.Fetch{Root: s.root, Name: e.Name, Size: e.Size, ModTime: e.ModTime, Ino: e.Ino, Offset: off, Length: n, SumOnly: data == nil}
	sum, err = c.client.Fetch(ctx, m, data, came)
	if errors.Is(err, peer.ErrNoStream) {
		if err = c.ways(ctx, math.MaxInt64); err == nil {
			sum, err = c.client.Fetch(ctx, m, data, came)
		}
	}
	return sum, fileError(err)
}

// Several asks for small files at once.
func (s *hostTree) Several(ctx context.Context, files []store.Entry, data []byte, came func(int)) ([]tree.Answer, error) {
	c := s.now()
	m := wire.Batch{Root: s.root, SumOnly: data == nil, Files: make([]wire.BatchFile, len(files))}
	for i := range files {
		e := &files[i]
		m.Files[i] = wire.BatchFile{Name: e.Name, Size: e.Size, ModTime: e.ModTime, Ino: e.Ino}
	}
	got, err := c.client.FetchBatch(ctx, m, data, came)
	if errors.Is(err, peer.ErrNoStream) {
		if err = c.ways(ctx, math.MaxInt64); err == nil {
			got, err = c.client.FetchBatch(ctx, m, data, came)
		}
	}
	if err != nil {
		return nil, fileError(err)
	}
	out := make([]tree.Answer, len(got))
	for i := range got {
		out[i] = tree.Answer{Sum: got[i].Sum, Err: got[i].Err}
	}
	return out, nil
}

// fileError tells what is wrong with a file from what is wrong with a host.
func fileError(err error) error {
	var r *peer.Refused
	if errors.As(err, &r) && (r.Class == wire.ClassSource || r.Class == wire.ClassChanged) {
		return &tree.FileError{Text: r.Text, Changed: r.Class == wire.ClassChanged}
	}
	return err
}

// localTree is a tree on this machine.
type localTree struct {
	path  string
	links osfs.Links

	mu  sync.Mutex // guards src
	src store.Source
}

var _ tree.Source = (*localTree)(nil)

// Open opens the directory.
func (l *localTree) Open(context.Context) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.src != nil {
		return 0, nil
	}
	src, err := osfs.NewSource(l.path, osfs.SourceOptions{Links: l.links})
	if err != nil {
		return 0, finalError{plainError(err)}
	}
	l.src = src
	return 0, nil
}

// close lets go of the directory.
func (l *localTree) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.src != nil {
		l.src.Close()
	}
}

func (l *localTree) now() store.Source {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.src
}

// List walks the directory.
func (l *localTree) List(ctx context.Context, fn func(store.Entry) error) error {
	return l.now().Walk(ctx, func(e store.Entry, err error) error {
		switch {
		case err != nil && e.Name == "":
			return finalError{plainError(err)}
		case err != nil:
			e = store.Entry{Name: e.Name}
		case e.Kind != store.File:
			e.Size = 0
		}
		e.Mode &= 0o7777
		return fn(e)
	})
}

// Read reads bytes of a file.
func (l *localTree) Read(_ context.Context, e store.Entry, off int64, data []byte, came func(int)) (sum integrity.Sum, err error) {
	f, err := l.now().Open(e.Name)
	if err != nil {
		return sum, &tree.FileError{Text: plainError(err)}
	}
	defer f.Close()
	n, err := f.ReadAt(data, off)
	now, serr := f.Stat()
	switch {
	case serr != nil:
		return sum, &tree.FileError{Text: plainError(serr)}
	case now.Size != e.Size || now.ModTime != e.ModTime || now.Ino != e.Ino:
		return sum, &tree.FileError{Text: "it has changed since it was listed", Changed: true}
	case n < len(data) && (err == nil || err == io.EOF):
		return sum, &tree.FileError{Text: "it became shorter", Changed: true}
	case n < len(data):
		return sum, &tree.FileError{Text: plainError(err)}
	}
	came(n)
	return integrity.Block(data, off, e.Size), nil
}

// Sum hashes bytes of a file.
func (l *localTree) Sum(ctx context.Context, e store.Entry, off, n int64) (integrity.Sum, error) {
	return l.Read(ctx, e, off, make([]byte, n), func(int) {})
}

// Several reads or hashes small files.
func (l *localTree) Several(ctx context.Context, files []store.Entry, data []byte, came func(int)) ([]tree.Answer, error) {
	out := make([]tree.Answer, len(files))
	for i := range files {
		n := files[i].Size
		if data == nil {
			out[i].Sum, out[i].Err = l.Sum(ctx, files[i], 0, n)
			continue
		}
		out[i].Sum, out[i].Err = l.Read(ctx, files[i], 0, data[:n:n], came)
		data = data[n:]
	}
	return out, nil
}
