// Package cc is congestion control for transports over datagrams: how fast to
// send, and how much may be on the way.
//
// A [Controller] hears what happens to one connection and answers with a
// [Control]. It has no clock, no socket and no goroutine; time is an argument,
// and the same events give the same answers. The idea of a control composed from
// outside of the transport is that of UDT (Gu and Grossman, "UDT: UDP-based data
// transfer for high-speed wide area networks", 2007, section 5).
//
//	            Init, OnAck, OnLoss, OnTimeout,
//	            OnSent, OnReceived, OnCustom, Close
//	transport  -------------- Stats -------------->  Controller
//	    ^                                                |
//	    '---- Control: rate, window, RTO, ACKs <---------'
//
// Packets are counted, not numbered as on the wire: a packet's position is its
// place among all packets of the connection, which does not wrap. The transport
// translates. A packet keeps its position when it is sent again.
//
// Bytes are those the transport counts for a packet, with or without headers,
// but the same everywhere: in [Stats].MSS, in what was delivered, and in rates.
//
// [New] makes a controller by name. A [Sampler] is for transports: it turns
// sendings and deliveries into the samples of the delivery rate that [BBR] lives
// on.
package cc
