package mover

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
)

// hungSource is a directory on a file system that does not answer until gate is closed.
type hungSource struct {
	store.Source
	asked  chan struct{} // gets an element for each question
	gate   chan struct{}
	closed chan struct{}
}

func (h *hungSource) hang() {
	h.asked <- struct{}{}
	<-h.gate
}

func (h *hungSource) Open(name string) (store.ReadFile, error) {
	h.hang()
	return h.Source.Open(name)
}

func (h *hungSource) Walk(ctx context.Context, fn store.WalkFunc) error {
	h.hang()
	return h.Source.Walk(context.WithoutCancel(ctx), fn)
}

func (h *hungSource) Close() error {
	close(h.closed)
	return h.Source.Close()
}

// TestDiskHangs: nobody waits for ever for a replica on a file system that does not
// answer, and what it answers later is nobody's any more.
func TestDiskHangs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := osfs.NewSource(dir, osfs.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := &hungSource{src, make(chan struct{}), make(chan struct{}), make(chan struct{})}
	l := &localTree{src: h}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	data := make([]byte, 7)
	wrong := func(int) { t.Error("bytes have come") }
	for what, do := range map[string]func() error{
		"Read": func() error {
			_, err := l.Read(ctx, store.Entry{Name: "f", Size: 7}, 0, data, wrong)
			return err
		},
		"Sum": func() error {
			_, err := l.Sum(ctx, store.Entry{Name: "f", Size: 7}, 0, 7)
			return err
		},
		"Several": func() error {
			_, err := l.Several(ctx, []store.Entry{{Name: "f", Size: 7}}, data, wrong)
			return err
		},
		"List": func() error {
			return l.List(ctx, func(e store.Entry) error {
				t.Errorf("%q is listed", e.Name)
				return nil
			})
		},
	} {
		wg.Go(func() {
			if err := do(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", what, err)
			}
		})
		<-h.asked
	}
	cancel()
	wg.Wait()
	l.close()
	select {
	case <-h.closed:
		t.Error("it is closed while it is read")
	default:
	}
	close(h.gate)
	<-h.closed
	if !bytes.Equal(data, make([]byte, 7)) {
		t.Errorf("%q has come", data)
	}
}

// A directory that answers is read as ever, many questions at once.
func TestDiskAnswers(t *testing.T) {
	dir, content := t.TempDir(), []byte("content")
	if err := os.WriteFile(filepath.Join(dir, "f"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	l := &localTree{path: dir}
	if _, err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer l.close()
	var f store.Entry
	if err := l.List(t.Context(), func(e store.Entry) error {
		if e.Name == "f" {
			f = e
		}
		return nil
	}); err != nil || f.Size != 7 {
		t.Fatalf("%+v, %v", f, err)
	}
	var wg sync.WaitGroup
	for range 2 * mostAtDisk {
		wg.Go(func() {
			data, n := make([]byte, 7), 0
			sum, err := l.Read(t.Context(), f, 0, data, func(k int) { n += k })
			if err != nil || !bytes.Equal(data, content) || n != 7 || sum != integrity.Whole(content) {
				t.Errorf("%q, %d bytes told, %v", data, n, err)
			}
			if sum, err := l.Sum(t.Context(), f, 0, 7); err != nil || sum != integrity.Whole(content) {
				t.Errorf("another sum, or %v", err)
			}
		})
	}
	wg.Wait()
	gone := &localTree{path: filepath.Join(dir, "none")}
	defer gone.close()
	var final finalError
	if _, err := gone.Open(t.Context()); !errors.As(err, &final) {
		t.Errorf("a directory that is not there: %v", err)
	}
}
