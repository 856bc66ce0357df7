// Package sealed makes a transport out of connections: whatever gives a net.Conn
// between two ends gets addresses tried side by side, proof on both sides that a
// connection belongs to the job, a gate that strangers cannot fill, and frames
// under package seal's protection. Transports over TCP and over UDT differ in
// what they hand to [New] only.
//
//	tcp, udtstream   sockets, options, what the system knows of a connection
//	     |  Config: Listener, Dial, Wire
//	Endpoint         dial.go: the race between addresses; accept.go, gate.go:
//	                 strangers; offer.go: which addresses are told
//	Stream           stream.go: the way of a frame
package sealed
