// Package retune changes the settings of a running job: how many streams, with
// which congestion control, and how fast. It is pure: samples in, decisions out.
//
//	Sample --> window --> Record --> Class --> rule --> trial --> Decision
//	           of 20 s    Reduce     Classify  by what   kept or
//	                                           limits    undone
//
// A caller makes a [Sample] every some hundred milliseconds and does at once what
// a [Decision] says. [Policy] is for streams whose kernel tells what happens to
// them, [Climber] for others, and [Yielder] for jobs that give way to everybody.
// Start reading at Policy.Step and at the rules.
package retune
