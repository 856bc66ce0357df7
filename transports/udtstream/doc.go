// Package udtstream carries streams over UDT connections, one each, all through
// one UDP port. What a connection must prove and how frames are protected is
// package seal's, as over TCP; package sealed chooses among addresses and gets
// rid of strangers; package udt makes a reliable stream out of datagrams.
//
// [New] prepares an end. Connections that it makes leave from the port at which
// it listens. Firewalls and address translators that keep ports and let answers
// in thus let through what both ends send each other at the same time, though
// neither lets anything in by itself.
package udtstream
