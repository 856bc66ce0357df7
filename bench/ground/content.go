package ground

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// MakeFile writes a file of size bytes that no compression makes smaller.
func MakeFile(path string, size int64, seed byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{seed}), size)
	return errors.Join(err, f.Close())
}

// MakeTree writes files of size bytes each, evenly in directories below root.
func MakeTree(root string, directories, files int, size int64) error {
	random := rand.NewChaCha8([32]byte{7})
	data := make([]byte, size)
	for i := range files {
		dir := filepath.Join(root, fmt.Sprintf("d%04d", i%directories))
		if i < directories {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		random.Read(data)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%06d", i)), data, 0o644); err != nil {
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
		case errA == io.EOF || errA == io.ErrUnexpectedEOF:
			if errB != errA {
				return fmt.Errorf("%s: %w", b, errB)
			}
			return nil
		case errA != nil:
			return errA
		case errB != nil:
			return errB
		}
	}
}

// SameTree says whether two trees have the same names and bytes.
func SameTree(a, b string) error {
	names := func(root string) (map[string]bool, error) {
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
