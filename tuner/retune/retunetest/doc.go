// Package retunetest runs policies of retuning in a simulated network, against
// every fixed setting of a grid.
package retunetest
