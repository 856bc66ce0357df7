// Package peer reads files of another host in parts, from an agent of this
// program there. A [Server] has the files; a [Client] asks it for sizes, lists,
// ranges of bytes and sums of blocks.
//
//	Client                                              Server
//	Open, List, Sums    ---- link: wire.Kind* ---->
//	                    <---- Opened, Listed, Summed
//	File.Range          ==== stream: FrameRead ===>      one request after the
//	Body.Read, Body.Sum <=== FramePiece ... Last ====     other on each stream
//	Body.Close          ==== FrameCancel =========>
//
// A stream carries requests one way and their answers the other, in the order of
// asking. Whoever has more requests under way than streams leaves no stream idle
// for the time that a request takes to get there. How streams are made, and by
// which transport, is the caller's business; one that runs inside the link is
// always there.
//
// Neither end believes the other: everything that comes is bounded and checked
// against what was asked for. What the bytes are worth is not known here.
//
// Read client.go, then body.go; server.go, then answer.go.
package peer
