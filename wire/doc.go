// Package wire holds the bytes of all messages between two ends: parsing and
// appending, nothing else. docs/wire.md draws them for other implementations.
//
// A message is one byte of [Kind] and a body. Bodies that are sent once a job
// are JSON, so that they can grow; those sent per file or per block are binary:
// unsigned varints, byte strings as a varint length and the bytes, hashes as
// they are. Parsers take byte slices only, check every length against what is
// left and against a limit before they allocate, and refuse trailing bytes in
// binary bodies.
//
//	director            agent          source                 sink
//	  Start     ------->                 Manifest   ------->
//	            <-------  Ready                     <-------  Verdicts
//	            <-------  Fail           frames     =======>
//	  (then the link of source and       Gone       ------->
//	   sink runs over the same stream)              <-------  Stored, Missed, Done
//	                                     End        ------->
//	                                                <-------  Finished
//	  Bye       <------>                 Ping       <------>  Pong
package wire

// Version is the version of the protocol. Ends of different versions do not
// talk: a program brings its own far end.
const Version = 1

// Kind is the first byte of a message.
type Kind byte

// The kinds. Their numbers are fixed.
const (
	KindStart    Kind = 1  // director to agent: the job
	KindReady    Kind = 2  // agent to director: how to reach it
	KindFail     Kind = 3  // either way: this end gives up, and why
	KindBye      Kind = 4  // either way: nothing more will come
	KindPing     Kind = 5  // either way, answered by KindPong with the same body
	KindPong     Kind = 6  //
	KindWarn     Kind = 7  // either way: what the user should know
	KindManifest Kind = 16 // source: entries
	KindEnd      Kind = 17 // source: no more entries
	KindGone     Kind = 18 // source: a wanted file can't be sent after all
	KindFileSum  Kind = 19 // source: hash of a whole file, on request
	KindData     Kind = 20 // source: a frame inside the link
	KindReport   Kind = 21 // source: counters
	KindScan     Kind = 22 // source: how far the listing is
	KindEvent    Kind = 23 // source: what it decided, for the sink's user
	KindVouched  Kind = 24 // source: files that did not change while they were read
	KindVerdicts Kind = 32 // sink: what it wants of the entries
	KindStored   Kind = 33 // sink: frames that are safe
	KindMissed   Kind = 34 // sink: frames that came damaged
	KindDone     Kind = 35 // sink: files that have their final names, or failed
	KindFinished Kind = 36 // sink: all is done
	KindStreams  Kind = 37 // either way: open streams until this many are there
	KindControl  Kind = 38 // sink: how the source is to go on
	KindGroup    Kind = 39 // either way: data that several destinations get at once
)
