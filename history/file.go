package history

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Bounds of the file.
const (
	maxPairs = 1000
	// maxName is the greatest length of the names of a pair.
	maxName = 1024
	// maxRecord is the greatest length of a record in bytes.
	maxRecord = 128 << 10
	// maxFile is the greatest size of a file that is opened. 1000 pairs with 24
	// jobs each take some 20 MiB.
	maxFile = 256 << 20
	// patience is how long another process is waited for.
	patience = 2 * time.Second
)

// The buckets of the file.
var (
	records = []byte("pairs-1") // key of a pair: its record as JSON
	used    = []byte("used-1")  // key of a pair: when it was used, 8 bytes, nanoseconds
)

// ErrBusy says that another process has the file for too long.
var ErrBusy = errors.New("in use by another process")

// errDamaged is anything that shows that the file is not what was written.
var errDamaged = errors.New("damaged")

// File is a history on disk. The zero value is of no use, see At. Its methods may
// be called by several goroutines and processes at once.
type File struct {
	path string
}

// At is the history at path. Neither the file nor its folder need to exist.
func At(path string) *File { return &File{path: path} }

// Load returns what is known of a pair: an empty record when nothing is. Errors:
// ErrBusy, and those of the file system; the record is empty then, too.
func (f *File) Load(p Pair) (Record, error) {
	r := Record{Pair: p}
	err := f.open(true, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket(records); b != nil {
				r = decode(p, b.Get(key(p)))
			}
			return nil
		})
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		r = Record{Pair: p}
	}
	return r, err
}

// Pairs returns all pairs, in the order of their names.
func (f *File) Pairs() ([]Pair, error) {
	var l []Pair
	err := f.open(true, func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket(records)
			if b == nil {
				return nil
			}
			return b.ForEach(func(_, v []byte) error {
				var r Record
				if json.Unmarshal(v, &r) == nil {
					l = append(l, r.Pair)
				}
				return nil
			})
		})
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Change lets change alter what is known of a pair, and writes it. The record is
// safe on disk when Change returns. When there are too many pairs, the one that
// was not used for the longest time goes. Errors: ErrBusy, and those of the file
// system.
func (f *File) Change(p Pair, now time.Time, change func(*Record)) error {
	return f.ChangeAll([]Pair{p}, now, func(_ int, r *Record) { change(r) })
}

// ChangeAll is Change for several pairs, all or none of which are written; change is
// called with the number of each.
func (f *File) ChangeAll(pairs []Pair, now time.Time, change func(int, *Record)) error {
	for _, p := range pairs {
		if len(p.From)+len(p.To) > maxName {
			return fmt.Errorf("remembering a pair of hosts with names of %d bytes: too long", len(p.From)+len(p.To))
		}
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return fmt.Errorf("making a folder for the history: %w", err)
	}
	return f.open(false, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(records)
			if err != nil {
				return err
			}
			u, err := tx.CreateBucketIfNotExists(used)
			if err != nil {
				return err
			}
			for i, p := range pairs {
				if err := alter(b, u, p, now, func(r *Record) { change(i, r) }); err != nil {
					return err
				}
			}
			return drop(b, u)
		})
	})
}

// alter changes the record of one pair.
func alter(b, u *bbolt.Bucket, p Pair, now time.Time, change func(*Record)) error {
	k := key(p)
	r := decode(p, b.Get(k))
	change(&r)
	r.Pair, r.Used = p, now.UTC()
	v, err := encode(&r)
	if err != nil {
		return err
	}
	if err := b.Put(k, v); err != nil {
		return err
	}
	return u.Put(k, binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano())))
}

// encode writes a record, with fewer jobs if it gets too long.
func encode(r *Record) ([]byte, error) {
	for {
		v, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("writing what is known of %s and %s: %w", r.Pair.From, r.Pair.To, err)
		}
		switch {
		case len(v) <= maxRecord:
			return v, nil
		case len(r.Jobs) > 0:
			r.Jobs = r.Jobs[(len(r.Jobs)+1)/2:]
		case r.Facts != nil:
			r.Facts = nil
		default:
			return nil, fmt.Errorf("writing what is known of %s and %s: %d bytes are too many", r.Pair.From, r.Pair.To, len(v))
		}
	}
}

// decode reads a record. One that cannot be read is as good as none.
func decode(p Pair, v []byte) Record {
	var r Record
	if len(v) > maxRecord || len(v) == 0 || json.Unmarshal(v, &r) != nil || r.Pair != p {
		return Record{Pair: p}
	}
	r.Jobs = r.Jobs[max(0, len(r.Jobs)-maxJobs):]
	// Hours that no week has would leave no room for jobs.
	maps.DeleteFunc(r.Hours, func(h int, _ Hour) bool { return h < 0 || h >= 7*24 })
	return r
}

// drop removes pairs beyond maxPairs.
func drop(b, u *bbolt.Bucket) error {
	n := 0
	if err := u.ForEach(func(_, _ []byte) error { n++; return nil }); err != nil {
		return err
	}
	for ; n > maxPairs; n-- {
		var oldest []byte
		least := ^uint64(0)
		c := u.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			at := uint64(0)
			if len(v) == 8 {
				at = binary.BigEndian.Uint64(v)
			}
			if oldest == nil || at < least {
				oldest, least = k, at
			}
		}
		oldest = append([]byte(nil), oldest...)
		if err := b.Delete(oldest); err != nil {
			return err
		}
		if err := u.Delete(oldest); err != nil {
			return err
		}
	}
	return nil
}

func key(p Pair) []byte {
	return append(append([]byte(p.From), 0), p.To...)
}

// open runs act on the open file. A damaged file is set aside; a change then
// begins a new one.
func (f *File) open(readOnly bool, act func(*bbolt.DB) error) error {
	for range 3 {
		info, err := f.try(readOnly, act)
		if !errors.Is(err, errDamaged) {
			return f.explain(err)
		}
		// Another process may have done so meanwhile: what is there now may be
		// whole.
		if now, err := os.Stat(f.path); err == nil && os.SameFile(now, info) {
			if err := os.Rename(f.path, f.path+".damaged"); err != nil {
				return f.explain(err)
			}
		}
		if readOnly {
			return nil
		}
	}
	return f.explain(errDamaged)
}

func (f *File) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("history %s: %w", f.path, err)
}

// try opens the file, acts, and closes it. The library reads a file as it is
// mapped into memory and panics where that makes no sense, and the system faults
// where the file has been cut: both become errDamaged. info is of the file that
// was opened.
func (f *File) try(readOnly bool, act func(*bbolt.DB) error) (info os.FileInfo, err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			// The lock goes with the file; the library's own Close might wait for
			// what the panic left locked.
			if file != nil {
				file.Close()
			}
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	db, err := bbolt.Open(f.path, 0o600, &bbolt.Options{
		Timeout:  patience,
		ReadOnly: readOnly,
		OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			if file, err = os.OpenFile(path, flag, mode); err != nil {
				return nil, err
			}
			if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
				err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a file")}
			}
			if err == nil && info.Size() > maxFile {
				err = fmt.Errorf("%w: %d bytes are too many", errDamaged, info.Size())
			}
			if err == nil && readOnly && info.Size() == 0 {
				err = fs.ErrNotExist // about to be made by another process
			}
			if err != nil {
				file.Close()
				return nil, err
			}
			return file, nil
		},
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return info, ErrBusy
	case err != nil && !ofSystem(err):
		return info, fmt.Errorf("%w: %w", errDamaged, err)
	case err != nil:
		return info, err
	}
	if err = act(db); damaged(err) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	if closing := db.Close(); err == nil {
		err = closing
	}
	return info, err
}

// damaged tells the library's errors that say that a file is not one of its own.
func damaged(err error) bool {
	for _, e := range []error{bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch, bolterrors.ErrInvalidMapping, bolterrors.ErrIncompatibleValue} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ofSystem tells errors of the file system from those of the library, which has
// no names for some of what it finds in a file.
func ofSystem(err error) bool {
	var path *fs.PathError
	var call *os.SyscallError
	var number syscall.Errno
	return errors.As(err, &path) || errors.As(err, &call) || errors.As(err, &number) || errors.Is(err, fs.ErrNotExist)
}
