//go:build !race

package netsim

// raceFactor shortens long simulations under the race detector only.
const raceFactor = 1
