package mover

import (
	"context"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica/pull"
)

// localSource is a replica on this machine. Its file must stay what it was when it
// was opened first: as a web server names a version, so do its size and time.
type localSource struct {
	path string
	disk disk

	mu    sync.Mutex  // guards what follows
	first fs.FileInfo // nil before Open
}

var _ pull.Summer = (*localSource)(nil)

// errFileChanged means that a local replica is not what it was.
var errFileChanged = finalError{"it changed while it was read"}

// Open looks at the file.
func (l *localSource) Open(ctx context.Context) (pull.Facts, error) {
	info, err := ask(ctx, &l.disk, func() (fs.FileInfo, error) { return os.Stat(l.path) }, nil)
	switch {
	case ctx.Err() != nil:
		return pull.Facts{}, context.Cause(ctx)
	case err != nil:
		return pull.Facts{}, finalError{plainError(err)}
	case !info.Mode().IsRegular():
		return pull.Facts{}, finalError{"is not a file"}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = info
	} else if !sameVersion(l.first, info) {
		return pull.Facts{}, errFileChanged
	}
	return pull.Facts{Size: info.Size(), Ranges: true, Version: info.ModTime().UTC().Format(time.RFC3339Nano), ModTime: info.ModTime().UnixNano()}, nil
}

// Range reads a part of the file.
func (l *localSource) Range(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
	l.mu.Lock()
	first := l.first
	l.mu.Unlock()
	f, err := ask(ctx, &l.disk, func() (*os.File, error) { return os.Open(l.path) }, func(f *os.File) { f.Close() })
	switch {
	case ctx.Err() != nil:
		if err == nil {
			f.Close()
		}
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, finalError{plainError(err)}
	}
	return &section{ctx, &l.disk, f, offset, offset + n, first}, nil
}

// Sums hashes blocks of the file.
func (l *localSource) Sums(ctx context.Context, block, first int64, count int) (sums []integrity.Sum, err error) {
	l.mu.Lock()
	size := l.first.Size()
	l.mu.Unlock()
	r, err := l.Range(ctx, first*block, int64(count)*block)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, min(block, size))
	for b := first; b < first+int64(count); b++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		off := b * block
		part := data[:max(0, min(block, size-off))]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, err
		}
		sums = append(sums, integrity.Block(part, off, size))
	}
	return sums, nil
}

func sameVersion(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// section is a part of a file that must not change.
type section struct {
	ctx   context.Context
	disk  *disk
	file  *os.File
	at    int64 // next byte
	end   int64
	first fs.FileInfo
}

// Read reads the next bytes, which count if the file is the same after that.
func (s *section) Read(p []byte) (int, error) {
	if s.at >= s.end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.end-s.at)]
	room, free := s.disk.room(len(p))
	n, err := ask(s.ctx, s.disk, func() (int, error) {
		n, err := s.file.ReadAt(room, s.at)
		info, serr := s.file.Stat()
		switch {
		case serr != nil:
			return 0, serr
		case !sameVersion(s.first, info):
			return 0, errFileChanged
		case n == 0:
			return 0, err
		}
		return n, nil
	}, nil)
	if err != nil {
		return 0, err // room may be read into still
	}
	n = copy(p, room[:n])
	free()
	s.at += int64(n)
	return n, nil
}

// Close closes the file.
func (s *section) Close() error { return s.file.Close() }

// finalError is an error after which a replica is not asked again.
type finalError struct{ text string }

// Error is the reason.
func (e finalError) Error() string { return e.text }

// Final tells that asking again is of no use.
func (finalError) Final() bool { return true }
