//go:build race

package netsim

// raceFactor shortens long simulations where each step takes ten times as long.
const raceFactor = 8
