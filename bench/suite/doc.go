// Command suite measures gomover beside the programs it competes with, side by
// side in one run: whole commands, in turn, over several rounds, each program at
// its default and at the best setting that a search in the same run finds.
//
//	go run ./bench/suite -lab PROGRAM [-quick] [-rows wan,lossy,...] [-out DIR]
//
// It needs Linux, root, and the programs that "make bench-deps" installs. PROGRAM
// emulates networks; its command line is described in docs/bench.md, as are the
// rows, how things are measured, and the form of the report.
//
// It leaves in DIR results.json, results.md and plots. Start reading at main, then
// at the rows named in rows.go, then scene.run, which makes one measurement.
package main
