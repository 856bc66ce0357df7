package osfs

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/gomover/gomover/store"
)

// WriteSmall writes data under the temporary name of e, attributes included,
// in one go; on an error nothing is left behind.
func (d *dest) WriteSmall(e store.Entry, data []byte, a store.Attrs) error {
	s := settingsOf(e, a, d.umask)
	var denied error
	err := d.in("writing", e.Name, func(in *dir, _, temp string) (err error) {
		denied, err = in.create(temp, data, s)
		return err
	})
	d.report(e.Name, denied)
	return err
}

// OpenPartial opens or creates the unfinished form of name, mode 0600, and locks
// it until it is closed or the process ends. A journal without its partial file,
// which a run that died after Commit leaves, is removed before a new one is made:
// it would claim blocks that the new file does not have.
//
// Errors: store.ErrLocked; an error when a directory or special file stands
// there. A link, or a file that another user could have placed there, is
// replaced.
func (d *dest) OpenPartial(name string) (store.WriteFile, bool, error) {
	var f *os.File
	var found bool
	err := d.in("opening the unfinished form of", name, func(in *dir, _, temp string) (err error) {
		f, found, err = openLocked(in, temp)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return &writeFile{d: d, f: f, name: name}, found, nil
}

// openLocked opens and locks temp. Whoever held the lock a moment ago may have
// renamed or removed the file since it was opened here; then the lock is one on
// a finished file, and the name is tried again.
func openLocked(in *dir, temp string) (*os.File, bool, error) {
	for range lockTries {
		f, found, err := in.openOwn(temp, temp+journalSuffix)
		if err != nil {
			return nil, false, err
		}
		if err := lock(f); err != nil {
			f.Close()
			return nil, false, err
		}
		if in.is(temp, f) {
			return f, found, nil
		}
		f.Close()
	}
	return nil, false, errUnsteady
}

// lockTries bounds how often a file is opened that others finish meanwhile.
const lockTries = 16

// Commit renames the temporary file of name to name. The temporary file stays
// when that does not succeed.
func (d *dest) Commit(name string) error {
	return d.in("renaming into place", name, func(in *dir, base, temp string) error {
		return replace(in, temp, base)
	})
}

// Discard removes the temporary file and the journal of name, if there; the
// journal first, so that it never speaks of a file that is gone.
func (d *dest) Discard(name string) error {
	return d.removeBeside("removing the unfinished form of", name, journalSuffix, "")
}

// RemoveJournal removes the journal of name, if there.
func (d *dest) RemoveJournal(name string) error {
	return d.removeBeside("removing the journal of", name, journalSuffix)
}

func (d *dest) removeBeside(doing, name string, suffixes ...string) error {
	parent, base, err := d.check(doing, name)
	if err != nil {
		return err
	}
	r, _, err := d.dirs.get(parent)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return describe(doing, name, err)
	}
	defer d.dirs.put(r)
	for _, suffix := range suffixes {
		err := r.unlink(tempBase(d.prefix, base) + suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return describe(doing, name, err)
		}
	}
	return nil
}

// OpenJournal opens or creates the journal beside the partial file of name. The
// lock on the partial file covers it; its own one is for runs that do not have
// that lock and find the journal while they look for one.
func (d *dest) OpenJournal(name string) (store.AppendFile, error) {
	var f *os.File
	err := d.in("opening the journal of", name, func(in *dir, _, temp string) (err error) {
		f, err = openHeld(in, temp+journalSuffix)
		return err
	})
	if err != nil {
		return nil, err
	}
	end, err := f.Seek(0, 2)
	if err != nil {
		f.Close()
		return nil, describe("opening the journal of", name, err)
	}
	return &appendFile{d: d, f: f, name: name, end: end}, nil
}

// openHeld opens and locks the journal base. Others lock it for as long as it
// takes to see that it is not theirs.
func openHeld(in *dir, base string) (*os.File, error) {
	for range lockTries {
		f, _, err := in.openOwn(base, "")
		if err != nil {
			return nil, err
		}
		if err = lock(f); err == nil && in.is(base, f) {
			return f, nil
		}
		f.Close()
		if errors.Is(err, store.ErrLocked) {
			time.Sleep(time.Millisecond)
		} else if err != nil {
			return nil, err
		}
	}
	return nil, errUnsteady
}

// writeFile is an unfinished file.
type writeFile struct {
	d    *dest
	f    *os.File
	name string
}

var _ store.WriteFile = (*writeFile)(nil)

// WriteAt writes as io.WriterAt says. Errors: store.ErrNoSpace.
func (w *writeFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := w.f.WriteAt(p, off)
	return n, describe("writing", w.name, err)
}

// ReadAt reads as io.ReaderAt says.
func (w *writeFile) ReadAt(p []byte, off int64) (int, error) { return w.f.ReadAt(p, off) }

// Size is the file's length in bytes.
func (w *writeFile) Size() (int64, error) { return fileSize(w.f, w.name) }

func fileSize(f *os.File, name string) (int64, error) {
	e, err := statFile(f)
	return e.Size, describe("examining", name, err)
}

// Truncate cuts or extends the file; new bytes are zero and take no space.
func (w *writeFile) Truncate(size int64) error {
	return describe("setting the length of", w.name, w.f.Truncate(size))
}

// WriteBack starts writing to the disk, so that a later Sync has less to do.
func (w *writeFile) WriteBack(off, n int64) {
	if !w.d.volatile {
		writeBack(w.f, off, n)
	}
}

// Sync makes the content durable.
func (w *writeFile) Sync() error {
	if w.d.volatile {
		return nil
	}
	return describe("syncing", w.name, syncFile(w.f))
}

// SetAttrs applies e's attributes to the open file, as WriteSmall does.
func (w *writeFile) SetAttrs(e store.Entry, a store.Attrs) error {
	s := settingsOf(e, a, w.d.umask)
	var denied error
	err := w.d.in("setting attributes of", w.name, func(in *dir, _, temp string) (err error) {
		denied, err = in.applyFile(w.f, temp, s)
		return err
	})
	w.d.report(w.name, denied)
	return err
}

// Close closes the file, which ends its lock.
func (w *writeFile) Close() error { return describe("closing", w.name, w.f.Close()) }

// appendFile is a journal's file. It keeps its end itself, so that a Truncate
// moves the place of the next Write.
//
// Concurrency: one caller at a time for Write and Truncate.
type appendFile struct {
	d    *dest
	f    *os.File
	name string
	end  int64
}

var _ store.AppendFile = (*appendFile)(nil)

// Write appends p. After an error the end is behind the bytes that were written.
func (j *appendFile) Write(p []byte) (int, error) {
	n, err := j.f.WriteAt(p, j.end)
	j.end += int64(n)
	return n, describe("writing the journal of", j.name, err)
}

// ReadAt reads as io.ReaderAt says.
func (j *appendFile) ReadAt(p []byte, off int64) (int, error) { return j.f.ReadAt(p, off) }

// Size is the journal's length in bytes.
func (j *appendFile) Size() (int64, error) { return fileSize(j.f, j.name) }

// Sync makes the journal durable.
func (j *appendFile) Sync() error {
	if j.d.volatile {
		return nil
	}
	return describe("syncing the journal of", j.name, syncFile(j.f))
}

// Truncate cuts the journal; the next Write goes to its new end.
func (j *appendFile) Truncate(size int64) error {
	if err := j.f.Truncate(size); err != nil {
		return describe("cutting the journal of", j.name, err)
	}
	j.end = size
	return nil
}

// Close closes the journal.
func (j *appendFile) Close() error { return describe("closing the journal of", j.name, j.f.Close()) }
