// Package ground is what measurements stand on: hosts on which commands run,
// joined by an emulated wide-area network or by one machine's loopback
// interface, and the means to see what a command took there.
//
// A Ground has hosts; each host has a Group of processes (a cgroup), so that the
// processor time of children that have ended counts too. Timed runs a command on
// one host and says what it took on every one. An Emulator is an outside program
// that makes the network and counts what crosses it; its command line is
// described in docs/bench.md.
//
// It is for Linux and needs root. Nothing in it decides what is measured or what
// is good: that is up to the programs beside it. What their runs have in common is a
// Bench: settings, a directory in memory, and rows that are measured in turn for a
// Report.
//
// Start reading at Bench in bench.go, and Ground and Timed in ground.go.
package ground
