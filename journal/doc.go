// Package journal keeps, beside an unfinished file, which of its blocks have
// been written and what their hashes are, so that a later run need not ask for
// them again. It is not for knowing where blocks come from or how they are
// hashed.
//
// # Format
//
// A journal is a preamble followed by records; all numbers are big-endian.
// docs/journal.md has the same for a second implementation.
//
//	preamble  0  "gomoverj"   8 bytes
//	          8  version      2 bytes, 1
//	         10  zero         6 bytes
//
//	record    0  length n     4 bytes, of the payload
//	          4  kind         1 byte
//	          5  zero         3 bytes
//	          8  sequence     8 bytes, 0, 1, 2, ...
//	         16  payload      n bytes
//	       16+n  checksum     4 bytes, CRC-32C of all from the preamble up to
//	                          here, earlier checksums left out
//
//	kind 1, header: always and only record 0
//	kind 2, blocks: runs of  first 8 | count 4 | count * hash 32
//	kind 3, mark:   through 8: data of all blocks in records up to this sequence
//	                number was synced before this record was written
//	kind 4, clean:  as mark, and the writer ended in order
//
// Chaining the checksums means that a record counts only behind exactly the
// records it was written behind: remains of an older journal in the same file
// never pass.
//
// # What a record means
//
// A blocks record may reach the disk before the data it speaks of. So after a
// crash only blocks covered by a mark are known to be there; the others are
// claims, which the next run checks by hashing the partial file: a claim whose
// data was lost has the wrong hash and is dropped. After a clean end everything
// is covered.
//
// The journal ends before the first record that is short, has a wrong checksum
// or says anything impossible; the rest is cut off. Any prefix of a journal is
// therefore a journal, one that claims less.
//
// Read record.go for the codec, replay.go for recovery, journal.go for writing.
package journal
