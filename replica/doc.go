// Package replica shares one object among several sources that hold copies of
// it, so that all of them finish at the same moment. It decides who delivers
// which blocks, who is left out, and whose copy is not the same object. It is
// pure computation: times come in as arguments, and nothing waits.
//
// [Solve] is the closed form of divisible load theory for rates that are known
// and never change. Rates are neither, so [Sched] hands out blocks in many
// small installments, sized after the rates that are seen, moves blocks from
// the source that would finish last to one that would be idle, and at the very
// end asks for some blocks twice:
//
//	             closed form            installments                end game
//	sources  -->  who takes part  -->  half of what is left,  -->  move blocks,  --> all end
//	rates         and how much         again and again             then copy         together
//
// [Agree] finds out beforehand which sources hold the same object.
//
// A source passes through these states:
//
//	            Open           Up
//	standby ----------> opening ----> active
//	   ^  \                | Down       | Down, or silent for too long
//	   |   \ not needed    v            v
//	   |    `-----------  resting <-----'        each of them --> out, for good:
//	   `------------------ after 1, 2, 4 .. 60 s    Gone, wrong blocks, too slow
//
// The one who drives a Sched tells it what happened, with times that never go
// back, then calls [Sched.Poll] and carries out the orders that it returns.
package replica
