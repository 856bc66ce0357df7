//go:build !linux

package osfs

import "errors"

// openUnlisted has no counterpart here: a directory must be readable.
func openUnlisted(string) (*dir, error) { return nil, errors.ErrUnsupported }

// beneath likewise.
func (d *dir) beneath(string) (*dir, error) { return nil, errors.ErrUnsupported }
