// Package lab builds a wide-area network on one Linux machine: every host is a
// network namespace with one TUN interface, and one process, the emulator, reads
// the packets from all of them, makes each suffer what the links on its way are
// set to, and writes it to its destination. What a link does is decided by
// netsim.Link, the same code as in simulations; this package supplies the real
// clock, the real packets, and what makes hosts of namespaces: addresses, names,
// limits of the kernel, ssh servers.
//
//	namespace h0                 emulator                  namespace h1
//	+----------+     h0.up                     h1.down     +----------+
//	|  programs|    +-----------+  +--------+  +--------+  |programs  |
//	|   wan0 --+--->| queue,    |->| path   |->| ...    |->+-- wan0   |
//	|          |    | rate, ... |  | h0:h1  |  |        |  |          |
//	+----------+    +-----------+  +--------+  +--------+  +----------+
//
// One lab can be up on a machine. Its state is in StateDir; a lock beside it is
// held by the emulator as long as that lives. Up, Down and the rest are what the
// commands of bench/lab do; [Emulate] is the emulator's whole life, in a process
// that Up starts. Start reading there.
//
// It is for tests and measurements: nothing of the mover imports it. It works on
// Linux as root and is empty on other systems.
package lab
