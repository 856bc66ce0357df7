// Package retune changes the settings of a running job: how many streams, with
// which congestion control, and how fast. It is pure: samples in, decisions out.
package retune
