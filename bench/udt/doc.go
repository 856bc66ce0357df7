// Command udt measures the UDT transport against the bars it must reach, beside
// Debian's libudt and the kernel's TCP: flows from memory to memory, over loopback
// and over emulated links.
//
//	go run ./bench/udt -lab PROGRAM [-rows loop,wan,...] [-rounds N] [-quick] [-json FILE]
//
// It needs Linux, root, g++ and libudt-dev; PROGRAM emulates links, see docs/lab.md.
// Each end of each flow is a process, which is this program again, or the driver of
// libudt in testdata/udt. Receivers print how much has arrived, ten times a second,
// with the time of the machine's monotonic clock, so that all are compared over the
// same span. CPU time is that of the cgroup of each end, in a span without the
// start and the end.
//
// A row ends when the rounds so far decide on which side of its bar the median will
// be; references run once. All in full take 25 to 35 minutes, with -rounds 1 a
// quarter of an hour. A row whose path did not hold the rate or the losses that were
// asked of it fails.
//
// "Of the link" means of 0.965 x its rate, which is what TCP can carry in packets of
// 1500 bytes.
//
// Start reading at the table rows in main.go.
package main
