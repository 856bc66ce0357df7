package netsim

import (
	"time"

	"github.com/gomover/gomover/internal/topology"
)

// DefaultQueue is the queue of a link whose Params name none, as a time.
const DefaultQueue = topology.DefaultQueue

// maxDelay bounds what a queue holds as a time, whatever its bytes, so that no
// sum of times can overflow. It is also the longest delay.
const maxDelay = time.Hour

// Params are the settings of one direction of a link, as topologies have them.
type Params = topology.Link

// Limit bounds a drop-tail queue.
type Limit = topology.Limit

// GilbertElliott describes bursts of loss.
type GilbertElliott = topology.GilbertElliott

// full tells whether a packet that would wait for wait, and make the queue
// bytes long, finds no room in a queue of limit q.
func full(q Limit, wait time.Duration, bytes int64) bool {
	switch {
	case q.Bytes > 0:
		return bytes > q.Bytes || wait > maxDelay
	case q.Time > 0:
		return wait > q.Time
	}
	return wait > DefaultQueue
}
