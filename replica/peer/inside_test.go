package peer_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
)

// hanging is a source whose disk does not answer until gate is closed.
type hanging struct {
	store.Source
	gate chan struct{}
}

func (h hanging) Open(name string) (store.ReadFile, error) {
	f, err := h.Source.Open(name)
	return hangingFile{f, h.gate}, err
}

type hangingFile struct {
	store.ReadFile
	gate chan struct{}
}

func (h hangingFile) ReadAt(p []byte, off int64) (int, error) {
	<-h.gate
	return h.ReadFile.ReadAt(p, off)
}

// TestInsideStays: the stream inside the link, of which there is only one, outlives a disk
// that does not answer for a while, and being out of use.
func TestInsideStays(t *testing.T) {
	dir, data := t.TempDir(), content(3*block)
	if err := os.WriteFile(filepath.Join(dir, "f"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	answers := sync.OnceFunc(func() { close(gate) })
	a, b := net.Pipe()
	server := peer.NewServer(framing.New(a), []peer.Root{{Open: func() (store.Source, error) {
		src, err := osfs.NewSource(dir, osfs.SourceOptions{})
		return hanging{src, gate}, err
	}}})
	c := peer.NewClient(framing.New(b))
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Run(context.Background()) }) // it ends with the link
	defer wg.Wait()
	defer c.Close()
	defer answers()
	c.AddInside()
	f, err := c.Open(t.Context(), 0, "f")
	if err != nil {
		t.Fatal(err)
	}
	read := func() {
		t.Helper()
		r, err := f.Range(t.Context(), 0, f.Size, block)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := f.Range(ctx, 0, f.Size, block)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	r.Close()
	if n := c.DropStalled(0); n > 0 {
		t.Errorf("%d streams were closed", n)
	}
	answers()
	c.AddInside()
	read()

	c.Leave(func(peer.Flow) bool { return true })
	// It goes out of use when the end of what was taken back has come.
	for n := 1; n > 0; n, _ = c.Streams() {
		c.Sweep()
	}
	c.AddInside()
	if l := c.Flows(); len(l) != 1 || l[0].Leaving {
		t.Errorf("%+v", l)
	}
	read()
}
