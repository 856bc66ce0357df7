// Command bottleneck arranges a bottleneck after the other, runs gomover beside
// it, and compares what gomover says that it is limited by with what was arranged.
//
//	go run ./bench/bottleneck -lab PROGRAM [-rows wan,loss1,...] [-for 8s]
//
// It needs Linux, root, cgroups with the controllers cpu and blkio (or io), loop
// devices, and the programs that it names when they are missing. PROGRAM emulates
// the network between the two hosts; its command line is described in
// docs/bench.md.
//
// Nothing in gomover knows of it. Slow disks are ext4 on loop devices that the
// kernel holds to a rate, processors are rationed by cgroups, windows by sysctl in
// the hosts' network namespaces.
//
// Start reading at the table scenes.
package main
