//go:build !linux && !darwin && !freebsd && !windows

package netx

import "errors"

// setDontFragment has no portable way.
func setDontFragment(uintptr, bool, bool) error { return errors.ErrUnsupported }
