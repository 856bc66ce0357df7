// Package tcpxm sends one stream of bytes to several receivers at once, each of which
// gets all of it, in order: hybrid reliable multicast.
//
// To each receiver there is a conversation as TCP has it, in datagrams of UDP, with
// its own acknowledgements, windows and end. What is sent for the first time goes to
// all receivers that hear it in one multicast datagram, and to the others by
// unicast; a receiver changes from one to the other at any time, and nothing it has
// is sent again. Source: Jeacle and Crowcroft, "A Multicast Transport Driver for
// Globus XIO", and "Hybrid Reliable Multicast with TCP-XM"; docs/tcpxm.md says what
// is theirs and what is ours.
//
//	                   .--- pcb: scoreboard, window, RTT ---- receiver 1
//	Write -> session --+--- pcb ----------------------------- receiver 2
//	            |      '--- pcb ----------------------------- receiver 3
//	            '--- group: one position, one pace; losses mended by coded repair
//
// Every datagram is sealed: what is for one receiver with a key that it alone shares
// with the sender, what is for the group with the group's. A receiver delivers bytes
// that came through the group only when the sender has vouched for their block with
// a digest sealed for that receiver: members of the group can not forge data to each
// other. A receiver that fails is given up alone, and the group's key changes.
//
// [Dial] and [Listen] are for programs. Below them are two cores, session and
// receiver: datagrams and the time go in, datagrams and deadlines come out. They have
// no goroutine and read no clock, and tests run them in simulated networks.
package tcpxm
