//go:build !linux && !darwin && !freebsd

package main

import "math"

// freeSpace is not known here; a full disk ends the demo with its own words.
func freeSpace(string) (uint64, error) { return math.MaxUint64, nil }
