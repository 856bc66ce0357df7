// Package pace says how fast a job may send: by a timetable, so that it ends in time,
// and byte by byte. It is pure: time comes in as an argument.
//
//	Timetable --+
//	            +--> the lower --> Ramp --> Clock: turns for frames
//	Deadline ---+                     \---> Split: shares for streams
//
// Start reading at Clock.
package pace
