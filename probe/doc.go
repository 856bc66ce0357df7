// Package probe measures a path between two ends of the program: round trip,
// loss, order, path MTU, which ports let what through, and by trains of packets
// capacity and available bandwidth, each way; and asks both ends what their hosts
// have to offer.
//
//	Measure (the asking end)                    Serve (the answering end)
//	   hello: secret, ports      == link ==>    opens a UDP and a TCP port
//	   echoes                    -- UDP -->     answered, once each
//	   echoes of many sizes      -- UDP -->     the path MTU
//	   trains                    -- UDP -->     stamped; the list goes back on the link
//	   stamped                   <-- UDP --     trains, when the link asks for them
//	   TCP                       <-------->     who reaches whom
//
// The link is a channel that only the two ends can use, such as an ssh session.
// The secret goes over it; strangers' packets are dropped without an answer.
//
// Nothing is amplified: an answer is as long as what it answers, each number is
// answered once, and trains go only where a token was received that an echo's
// answer had brought there. What is sent is bounded by [Params.Bytes].
//
// Measuring is apart from estimating, which package estimate does. Sockets come
// from [Params.Network]; time is package time's, which tests run virtually.
package probe
