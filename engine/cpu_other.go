//go:build !unix

package engine

// processCPU is not known on this system.
func processCPU() int64 { return 0 }
