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
	disk  disk

	mu  sync.Mutex // guards src
	src store.Source
}

var _ tree.Source = (*localTree)(nil)

// Open opens the directory.
func (l *localTree) Open(ctx context.Context) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.src != nil {
		return 0, nil
	}
	src, err := ask(ctx, &l.disk, func() (store.Source, error) { return osfs.NewSource(l.path, osfs.SourceOptions{Links: l.links}) }, func(src store.Source) { src.Close() })
	if err != nil && ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err != nil {
		return 0, finalError{plainError(err)}
	}
	l.src = src
	return 0, nil
}

// close lets go of the directory. Nothing is asked for any more.
func (l *localTree) close() {
	if src := l.now(); src != nil {
		l.disk.whenIdle(func() { src.Close() })
	}
}

func (l *localTree) now() store.Source {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.src
}

// List walks the directory.
func (l *localTree) List(ctx context.Context, fn func(store.Entry) error) error {
	var mu sync.Mutex // guards over
	over := false     // nobody waits any more
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}()
	_, err := ask(ctx, &l.disk, func() (struct{}, error) {
		return struct{}{}, l.now().Walk(ctx, func(e store.Entry, err error) error {
			switch {
			case err != nil && e.Name == "":
				return finalError{plainError(err)}
			case err != nil:
				e = store.Entry{Name: e.Name}
			case e.Kind != store.File:
				e.Size = 0
			}
			e.Mode &= 0o7777
			mu.Lock()
			defer mu.Unlock()
			if over {
				return context.Canceled
			}
			return fn(e)
		})
	}, nil)
	return err
}

// Read reads bytes of a file.
func (l *localTree) Read(ctx context.Context, e store.Entry, off int64, data []byte, came func(int)) (integrity.Sum, error) {
	room, free := l.disk.room(len(data))
	sum, err := ask(ctx, &l.disk, func() (integrity.Sum, error) { return l.read(&e, off, room) }, nil)
	if err != nil {
		return sum, err // room may be read into still
	}
	copy(data, room)
	free()
	came(len(data))
	return sum, nil
}

// read fills data, and gives the sum.
func (l *localTree) read(e *store.Entry, off int64, data []byte) (sum integrity.Sum, err error) {
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
	return integrity.Block(data, off, e.Size), nil
}

// Sum hashes bytes of a file.
func (l *localTree) Sum(ctx context.Context, e store.Entry, off, n int64) (sum integrity.Sum, err error) {
	room, free := l.disk.room(int(n))
	sum, err = ask(ctx, &l.disk, func() (integrity.Sum, error) { return l.read(&e, off, room) }, nil)
	if err == nil {
		free()
	}
	return sum, err
}

// Several reads or hashes small files.
func (l *localTree) Several(ctx context.Context, files []store.Entry, data []byte, came func(int)) ([]tree.Answer, error) {
	out := make([]tree.Answer, len(files))
	for i := range files {
		n := files[i].Size
		if data == nil {
			out[i].Sum, out[i].Err = l.Sum(ctx, files[i], 0, n)
		} else {
			out[i].Sum, out[i].Err = l.Read(ctx, files[i], 0, data[:n:n], came)
			data = data[n:]
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx) // the disk does not answer, or nobody waits
		}
	}
	return out, nil
}
