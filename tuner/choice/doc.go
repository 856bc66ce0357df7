// Package choice decides by which transport data travels: it predicts from what is
// known of a path and of both ends what each would reach ([Predict], [Rank],
// [Choose]), and watches a transfer for signs that another one would do better
// ([Watch]). It is pure: values in, decisions out, time as an argument.
//
// Rates are payload bytes per second.
package choice
