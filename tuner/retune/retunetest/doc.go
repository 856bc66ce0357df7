// Package retunetest runs policies of retuning in a simulated network, beside
// every fixed setting of a grid: [Scenarios] are the paths, [Run] is one job on one
// of them, [Compete] several at once, and [Measure] makes the table. Jobs are
// modelled flows of internal/netsim's fluid, so that two minutes of a gigabit take
// some milliseconds.
package retunetest
