//go:build !linux

package sealed

// SetDSCP does nothing on this system.
func SetDSCP(uintptr, int, bool) error { return nil }
