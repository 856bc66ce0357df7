// Package pace sends at a rate without a spinning thread: a [Pacer] counts what
// may be sent, a [Timer] waits for the moment.
//
// A sender that slept between any two packets would be late for most of them:
// systems wake sleepers some tens of microseconds late, or a millisecond, and a
// packet of 1500 bytes lasts 1.2 microseconds at 10 Gbit/s. So what is released
// at once is a quantum, up to one train of packets, and what a late wake-up has
// left over is made up for, up to two quanta, or what the sender allows: a machine that
// is busy wakes a sender milliseconds late, and a sender that does not make up for it
// is slower than its pace all the time. More would only be a burst that some queue on
// the path drops.
package pace
