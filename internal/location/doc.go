// Package location reads the words of a command line as places and decides what
// they mean together.
//
// [Parse] turns one word into a [Location] by a fixed order of rules that never
// guesses between a host and a file. [Classify] looks at all words of one
// command and gives a [Plan], or refuses with an [*Error] whose hints can be
// typed. Both are pure: what exists locally is asked through a function value,
// and nothing is contacted. They are safe for concurrent use if that function is.
//
// The meaning of a word never depends on an earlier run: the same words are the
// same copy again. Where a word could be a host or a file, both spellings are
// shown and nothing is done, since a wrong guess sends data to the wrong place.
package location
