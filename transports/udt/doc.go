// Package udt speaks UDT version 4 (draft-gg-udt-03, as its C++ library 4.11
// does it): reliable streams and messages over UDP, many connections on one
// port.
//
//	Conn, Listener (net)         goroutines, sockets, the clock
//	      |
//	Endpoint: one port, at which one goroutine at a time has its turn
//	      |  datagrams and the time, both ways
//	core: one connection         no goroutine, no clock, no socket
//	  connect   handshakes: client, rendezvous     greeter: a listener's side
//	  sender    buffer, pacing, retransmission     receiver: buffer, ACK, NAK
//	  timers    keep-alive, expiry, tail probes    closing
//	      |
//	packet, handshake, seq       bytes
//
// A connection counts its packets from 0; the numbers of 31 bits exist on the
// wire only. What the library is known to do badly (whole flights sent again,
// acknowledgements 100 ms late, stalls at full windows, cookies without a
// secret) is done otherwise where the wire permits; docs/udt.md lists it.
//
// Packets are neither encrypted nor authenticated: whoever sees them can end a
// connection or change its data.
package udt
