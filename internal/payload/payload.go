// Package payload makes files to be moved and compares what has arrived with them.
// Content is random, so that nothing can be saved by compressing it, and the same
// for the same seed; a shorter file is the beginning of a longer one.
package payload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Random is a source of content for Write. One goroutine.
func Random(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// MakeFile writes a file of size bytes. Errors: those of the file, and the cause of
// ctx's end.
func MakeFile(ctx context.Context, path string, size int64, seed byte) error {
	return Write(ctx, path, size, Random(seed))
}

// Write makes a file of the next size bytes of random. Errors: those of the file,
// and the cause of ctx's end.
func Write(ctx context.Context, path string, size int64, random io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("making a file to move: %w", err)
	}
	const piece = 1 << 20 // bytes between two looks at ctx
	for left := size; left > 0 && err == nil; left -= piece {
		if err = context.Cause(ctx); err == nil {
			_, err = io.CopyN(f, random, min(left, piece))
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("making a file to move: %w", err)
	}
	return nil
}

// MakeTree writes files of size bytes each, evenly in directories below root.
// Errors: those of the files, and the cause of ctx's end.
func MakeTree(ctx context.Context, root string, directories, files int, size int64) error {
	random := Random(7)
	for i := range files {
		dir := filepath.Join(root, fmt.Sprintf("d%04d", i%directories))
		if i < directories {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("making a tree to move: %w", err)
			}
		}
		if err := Write(ctx, filepath.Join(dir, fmt.Sprintf("f%06d", i)), size, random); err != nil {
			return err
		}
	}
	return nil
}

// comparer compares files; its buffers serve all of a tree.
type comparer struct{ a, b []byte }

func newComparer() *comparer {
	const length = 1 << 20
	return &comparer{make([]byte, length), make([]byte, length)}
}

// SameFile says whether two files have the same bytes; an error says where not.
func SameFile(a, b string) error { return newComparer().files(a, b) }

// files is SameFile.
func (c *comparer) files(a, b string) error {
	fa, err := os.Open(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	for offset := int64(0); ; {
		na, errA := io.ReadFull(fa, c.a)
		nb, errB := io.ReadFull(fb, c.b)
		if !bytes.Equal(c.a[:na], c.b[:nb]) {
			return fmt.Errorf("%s and %s differ in the MiB at offset %d", a, b, offset)
		}
		offset += int64(na)
		switch {
		case ended(errA) && ended(errB):
			return nil
		case errA != nil && !ended(errA):
			return errA
		case errB != nil:
			return fmt.Errorf("%s: %w", b, errB)
		}
	}
}

// ended says whether a piece that was read is a file's last.
func ended(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// SameTree says whether two trees have the same names, and files of the same bytes;
// an error says where not.
func SameTree(a, b string) error {
	inA, err := names(a)
	if err != nil {
		return err
	}
	inB, err := names(b)
	if err != nil {
		return err
	}
	if len(inA) != len(inB) {
		return fmt.Errorf("%s has %d names, %s has %d", a, len(inA), b, len(inB))
	}
	c := newComparer()
	for name, dir := range inA {
		if other, ok := inB[name]; !ok || other != dir {
			return fmt.Errorf("%s is not in %s", name, b)
		}
		if dir {
			continue
		}
		if err := c.files(filepath.Join(a, name), filepath.Join(b, name)); err != nil {
			return err
		}
	}
	return nil
}

// names lists a tree, relative to its root, with what is a directory.
func names(root string) (map[string]bool, error) {
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		found[rel] = e.IsDir()
		return err
	})
	return found, err
}
