// Command copy measures the main job against the bars it must reach and beside
// the programs it competes with: whole commands, from start to exit, in turn.
//
//	go run ./bench/copy -lab PROGRAM [-rows wan,lossy,...] [-rounds N] [-json FILE]
//
// It needs Linux, root, and the programs that "make bench-deps" names; it
// installs nothing. PROGRAM emulates a wide-area link between two hosts; its
// command line is described in docs/bench.md. Rows without a link run in a
// network namespace made here, over its loopback interface.
//
// How things are measured:
//
//   - time: from starting the command to its exit;
//   - CPU: the cgroup of each end, so that children that have ended count too;
//   - memory: the high-water mark of the resident set (VmHWM) of each end;
//   - bytes: the counters of the interface or the emulated link.
//
// Start reading at main, then the row functions named in the table rows.
package main
