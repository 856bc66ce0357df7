// Package units reads and prints the quantities people type: sizes, rates,
// durations and times of day.
//
// It is the only place where powers of 1000 and of 1024 are told apart and the
// only place that knows bits per second; everywhere else a size is an int64 in
// bytes and a rate is a [Rate]. All functions are pure and safe for concurrent
// use. Text that cannot be read is answered with a [*ValueError], which carries
// the reason and, where one can be typed, a hint.
package units
