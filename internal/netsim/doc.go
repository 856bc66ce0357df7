// Package netsim is a simulated network: links that have a rate, a queue, a
// delay and all that goes wrong on real ones, and what runs over them.
//
// A [Link] is one direction of a link as a calculation: a packet is offered at
// a time, and the verdict says when it leaves the far end, or why it does not.
// It has no goroutine and no clock of its own, so the same code serves
// simulated time, the virtual time of a test's bubble, and an emulator that
// moves real packets.
//
//	          cut?    full?              loss?            held back? twice? damaged?
//	Offer -->--+-------+---> transmitter --+---> delay line ----+-----> verdict
//	                 queue  (rate)               (delay, jitter)
//
// A [World] is a network in simulated time: hosts, links, and a list of what
// happens when, all in one goroutine. Datagrams go to handlers, and modelled TCP
// connections, [Flow], share the links with them:
//
//	host a --a.up--> (links of a route) --b.down--> host b
//
// A [Fluid] runs such connections without single segments, for hours of
// gigabits. A [Capture] writes down what crossed a world.
//
// Not modelled are ECN, active queue management, fragments, handshakes, and a
// gentle end of slow start such as HyStart.
//
// Randomness comes from a seed per link, made by [SeedFor] from the seed of the
// run and the link's name. What a link decides depends on the packets offered
// to it and on nothing else.
package netsim
