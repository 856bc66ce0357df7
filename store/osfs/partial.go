package osfs

import (
	"errors"
	"io/fs"
)

// HasPartial tells whether something stands under the unfinished name of name.
//
// Errors: fs.ErrNotExist when a directory on the way is missing.
func (d *dest) HasPartial(name string) (bool, error) {
	parent, base, err := d.check("examining", name)
	if err != nil {
		return false, err
	}
	r, _, err := d.dirs.get(parent)
	if err != nil {
		return false, describe("examining", name, err)
	}
	defer d.dirs.put(r)
	_, err = r.lstat(tempBase(d.prefix, base))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, describe("examining", name, err)
}
