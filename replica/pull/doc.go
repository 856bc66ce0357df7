// Package pull fetches one object from several places at once into one file. It
// carries out what package replica decides: it opens places, asks them for ranges,
// verifies every block before it counts, and keeps the unfinished file, its
// journal and its final name as a copy's sink does.
//
//	Source.Open  -->  Agree  -->  Sched.Poll --> Open, Fetch, Drop, Close
//	                                 ^               |
//	                                 |               v
//	                     Stored, Bad, Down  <--  workers of a session: read a range,
//	                                             block by block: verify, write, note
//
// One mutex guards the schedule and all sessions; nothing that waits is done
// under it. A session is one opening of a place with its workers; what comes from
// a session that is over changes nothing but the file, and that only with
// blocks which are right.
//
// Where nothing else tells which blocks are right, places that know the sums of
// theirs do: blocks are written as they come, and given back when a replica.Jury
// finds out that they are wrong; see trial.go.
//
// Read pull.go for the order of things, conductor.go for the schedule, work.go for
// the workers, object.go for the file.
package pull
