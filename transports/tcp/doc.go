// Package tcp carries streams over TCP connections, one each, through one
// listening port. What a connection must prove and how frames are protected is
// package seal's; package sealed chooses among addresses and gets rid of
// strangers. This package has the sockets: which port, which options, and what
// the kernel knows of a connection.
//
// [New] prepares an end. Start reading there, then wire_linux.go. What depends on
// the system stands in files named after it and is left out silently where a
// socket is not the system's own, such as a simulated one.
package tcp
