// Package tcp carries streams over TCP connections, one each, through one
// listening port. What a connection must prove and how frames are protected is
// package seal's; this package has the sockets: which port, which address of
// the other end, which options, and how strangers on the port are got rid of.
//
// [New] prepares an end. Start reading there, then dial.go for the race between
// addresses, gate.go for strangers, stream.go for the way of a frame. What
// depends on the system stands in files named after it and is left out silently
// where a socket is not the system's own, such as a simulated one.
package tcp
