//go:build race

package estimate_test

// seeds is how many runs each path gets.
const seeds = 1
