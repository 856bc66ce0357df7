// Package tree makes one tree of the copies that several places have of it: a
// store.Source whose files are read from all of them at once.
//
//	Source.List of each  -->  merge: which of them have  -->  Walk: one list
//	                          the same of each entry
//
//	Open, ReadAt  -->  a block: its bytes from the place  -->  given out when more
//	                   that would end first, its sum            say so than could
//	                   from all others                          still contradict
//
// No place is trusted: names are checked, lists are bounded, and a block that only
// some places have like this is taken when they are the majority. A place that has
// something else of a file is not asked for that file any more, and is named. One
// that alone has a file is believed.
//
// Places fail and come back, each by itself; what was asked of them is asked of
// others. Any goroutine may read.
//
// Read merge.go for what is listed, block.go for how a block is found, place.go for
// whom it is asked of.
package tree
