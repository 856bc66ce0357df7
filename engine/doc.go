// Package engine is one end of a job at work: a [Source] reads files, a [Sink]
// writes them, and what they say to each other runs over a [Link] beside the
// data streams.
//
//	source                                                        sink
//	walker ----- entries (link) ------------------------------->  checker
//	   |                                                             |
//	 sched <---- verdicts: want, same, part (link) -----------------+
//	   |  next slice                                                 |
//	sender 1..n: read, hash, seal, send  ==== stream 1..n ====>  receiver 1..n:
//	   |                                                 open, hash, write
//	   |                                                             |
//	 sched <---- stored: frames per stream (link) ------------ confirmer: journal
//	   |                                                             |
//	report <---- done: files (link) ------------------------- committer: sync,
//	                                                          rename, forget
//
// Each stream has one goroutine at each end which takes a frame all the way:
// at the source from the file to the socket, at the sink from the socket to the
// file. A frame is a block, or a pack of small files, and so small that it
// stays in the processor's cache while it is read, hashed and sealed. There are
// no queues of buffers in between: memory is one frame for each stream at each
// end, and a full disk or a slow network holds back exactly what it should.
//
// What is ordered: frames of one stream; entries and verdicts. Nothing else is:
// blocks of one file travel on all streams.
//
// The sink confirms a frame only after its bytes are written, fit their hash,
// and are noted in the file's journal. A file gets its final name only when all
// its blocks are there, the source has said that it did not change while it was
// read, and it was synced as asked. The source forgets a frame only when it is
// confirmed: whatever stream or process dies in between, the frame is sent
// again by another one.
package engine
