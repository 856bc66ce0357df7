// Package estimate turns what a probe has measured into what a path can do: its
// round trip, capacity, available bandwidth, loss and reordering.
//
// It is pure. What it is given comes partly from the far end, so no input, however
// absurd, makes it panic, loop for long or return anything but finite numbers; but
// it can be lied to by the end that measures.
//
// Capacity comes from trains: packets sent back to back arrive with the spacing
// that the narrowest link gives them. Nothing is read from the gap between two
// packets, which on fast paths is the speed at which the receiver's processor takes
// them off a ring. A train lasts for many of the periods in which the receiver's
// adapter holds packets back, and its rate is the slope between the packets that
// were waited for longest:
//
//	arrived |                        o..   o first of a batch: waited the
//	        |               o..''''        whole period of the adapter,
//	        |      o..''''                 so these lie on one line
//	        | ..''                         . the others, drained at once
//	        +------------------------ time
//
// Start reading at [Train.Dispersion].
package estimate
