// Command fanout measures copies from one host to many by multicast against the bars
// they must reach, in an emulated network with real kernels: beside gomover's own
// single copies, and beside UFTP and udpcast on the same links.
//
//	go run ./bench/fanout -lab PROGRAM [-rows even,loss,...] [-rounds N] [-json FILE]
//
// It needs Linux, root, uftp, udpcast and openssh-server; PROGRAM emulates links, see
// docs/lab.md. Each end of each session is a process in the network namespace of its
// host, which is this program again; a receiver compares what it reads with the file,
// byte by byte, as it comes.
//
// Goodput to a receiver is the file over the time from the first datagram with data to
// the receiver's receipt, that is when it has heard that the sender knows that it has
// all. What has left the sender is counted behind its interface, by the emulator, which
// sees every packet with its IP header; the kernel's own counters of an interface
// take a batch of datagrams for one packet.
//
// A measurement during which the emulator was too slow is void and is repeated.
//
// Start reading at the table rows in main.go.
package main
