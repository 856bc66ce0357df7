//go:build !linux

package engine

// delays is not known on this system.
type delays struct{}

func (*delays) total() int64 { return 0 }

func (*delays) quota() (periods, used int64) { return 0, 0 }
