// Command pull measures pulls from several replicas against the bars they must
// reach, and beside aria2: whole commands on an emulated network, with web servers,
// and hosts over ssh, as replicas.
//
//	go run ./bench/pull -lab PROGRAM [-rows rates,dies,...] [-rounds N] [-json FILE]
//
// It needs Linux, root, aria2 and nginx; PROGRAM emulates links, see docs/lab.md.
// The network is that of testdata/topologies/replicas.json: 100, 200 and 400 Mbit/s
// at round trips of 20, 60 and 120 ms into 1 Gbit/s. Files are in memory on both
// sides, so that no disk is measured.
//
// The optimum of a row is what a fluid would take from the first moment on: the
// size over the sum of what the links carry, 0.965 x their rate, which is what TCP
// can in packets of 1500 bytes. When a source has sent its last byte is what its
// network interface counts, not what the measured program says.
//
// The row simulated runs the tests of the schedule, which print their figures.
//
// Start reading at the table rows in main.go.
package main
