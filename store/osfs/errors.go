package osfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gomover/gomover/store"
)

// kindError adds to an error of the system the class that callers ask for, and
// keeps its text.
type kindError struct {
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// escapeText is the text of the error with which package os refuses a path that
// leaves an os.Root; the value itself is not exported. A test watches that it
// stays so.
const escapeText = "path escapes from parent"

// describe says what was being done with what, drops the words package os puts
// around the system's own error, and adds the class: store.ErrNoSpace,
// store.ErrName, fs.ErrPermission for a read-only file system.
func describe(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	err = bare(err)
	switch {
	case isNoSpace(err):
		err = &kindError{store.ErrNoSpace, err}
	case isReadOnly(err):
		err = &kindError{fs.ErrPermission, err}
	case err.Error() == escapeText:
		err = &kindError{store.ErrName, errors.New("a link on the way leaves the destination")}
	}
	return fmt.Errorf("%s %s: %w", doing, name, err)
}

// bare takes off what package os wraps around an error, which repeats the
// operation and a partial name.
func bare(err error) error {
	for {
		switch e := err.(type) { //nolint:errorlint // one layer at a time is what is wanted
		case *fs.PathError:
			err = e.Err
		case *os.LinkError:
			err = e.Err
		case *os.SyscallError:
			err = e.Err
		default:
			return err
		}
	}
}
