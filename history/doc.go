// Package history remembers, per pair of hosts, how earlier transfers went: so
// that the next one begins with a guess, and forecasts know how wrong they use to
// be.
//
// It is a help and never a need: a file that is damaged is set aside and begun
// anew, and a caller may ignore every error. Several processes may use one file
// at the same time; none keeps it open longer than one operation.
//
// Start reading at [File].
package history
