package peer

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// Small is what came of one of several small files that were asked for at once.
type Small struct {
	Sum integrity.Sum // that the server says the file has
	Err error         // Refused: why the server does not give it; nil: it does
}

// batch is the answer to a request for several small files.
type batch struct {
	m    wire.Batch
	at   int           // files that have come; the stream's
	done chan struct{} // closed when nothing more comes
	err  error         // why, if that is not the end; set before done is closed

	mu   sync.Mutex // guards what follows
	over bool       // nobody waits any more: data and came are not touched
	data []byte     // room for what has not come
	came func(n int)
	got  []Small
}

var _ pending = (*batch)(nil)

func (b *batch) number() uint32 { return b.m.ID }

func (b *batch) request() []byte { return b.m.Append(nil) }

func (b *batch) finish(err error) {
	b.err = err
	close(b.done)
}

// take implements pending.
func (b *batch) take(f *transports.Frame) (kept, last bool, err error) {
	m, err := wire.ParseGiven(f.Body())
	if err != nil || m.ID != b.m.ID || m.First != b.at || m.First+len(m.Files) > len(b.m.Files) {
		return false, false, ErrBreach
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for i := range m.Files {
		g, asked := &m.Files[i], &b.m.Files[b.at+i]
		size := int(asked.Size)
		if b.m.SumOnly {
			size = 0
		}
		switch {
		case g.Class == wire.ClassNone && len(g.Data) != size:
			return false, false, ErrBreach
		case b.over:
		case g.Class != wire.ClassNone:
			b.got = append(b.got, Small{Err: &Refused{g.Class, g.Text}})
		default:
			b.got = append(b.got, Small{Sum: g.Sum})
			n += copy(b.data, g.Data)
		}
		if !b.over && !b.m.SumOnly {
			b.data = b.data[size:]
		}
	}
	b.at += len(m.Files)
	if whole := b.at == len(b.m.Files); whole != m.Last && !(m.Last && b.over) || len(m.Files) == 0 && !m.Last {
		return false, false, ErrBreach
	}
	if n > 0 {
		b.came(n)
	}
	return false, m.Last, nil
}

// close says that nobody waits any more.
func (b *batch) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over, b.data, b.came = true, nil, nil
}

// errBatch means that a batch is beyond what may be asked for at once.
var errBatch = errors.New("too much for one request")

// fits tells whether files can be asked for at once.
func fits(m *wire.Batch) (bytes int64, ok bool) {
	names := 0
	for i := range m.Files {
		f := &m.Files[i]
		if f.Size < 1 || f.Size > wire.MaxBatchFile {
			return 0, false
		}
		bytes, names = bytes+f.Size, names+len(f.Name)
	}
	n := len(m.Files)
	return bytes, n > 0 && n <= wire.MaxBatch && bytes <= wire.MaxBatchBytes && wire.BatchHead+n*wire.BatchFileLen+names <= wire.MaxServeRequest
}

// FetchBatch fills data with small files, one behind the other, and tells what came of
// each; of one that the server does not give, its part of data stays as it is. came is
// told of bytes as they come, by another goroutine. With m.SumOnly there are no data.
// m.ID is set here. It waits when too much is asked for at once.
//
// Errors: ErrNoStream, ErrBreach, the cause of the context's end, those of the stream.
func (c *Client) FetchBatch(ctx context.Context, m wire.Batch, data []byte, came func(n int)) ([]Small, error) {
	bytes, ok := fits(&m)
	if !ok || !m.SumOnly && int64(len(data)) != bytes {
		return nil, errBatch
	}
	s, id, off, err := c.turn(ctx, m.SumOnly, bytes)
	if err != nil {
		return nil, err
	}
	defer off()
	m.ID = id
	b := &batch{m: m, done: make(chan struct{}), data: data, came: came, got: make([]Small, 0, len(m.Files))}
	defer b.close()
	if !s.ask(b) {
		return nil, ErrNoStream
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		b.close()
		s.cancel(id)
		return nil, context.Cause(ctx)
	}
	switch {
	case b.err != nil:
		return nil, b.err
	case len(b.got) < len(m.Files):
		return nil, io.ErrUnexpectedEOF
	}
	return b.got, nil
}
