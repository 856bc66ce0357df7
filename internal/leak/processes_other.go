//go:build !linux

package leak

// processes knows of none: only goroutines are looked for here.
func processes() error { return nil }
