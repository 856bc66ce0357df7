package mover

import (
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/jobs"
)

// FanControls is Controls for several destinations: the limit of the rate is that of
// all together, and all else is changed for each. It is made by [NewFanControls].
type FanControls struct {
	legs   []*Controls
	common *engine.Limit
	wake   chan struct{}

	mu    sync.Mutex // guards what follows
	timed timedLimit
	rate  int64
}

// NewFanControls makes the controls of all jobs of f, which get theirs here.
func NewFanControls(f *Fan) *FanControls {
	c := &FanControls{timed: timedLimit{table: f.Limit}, wake: make(chan struct{}, 1)}
	r, _, _ := c.timed.due(time.Now())
	c.rate = int64(r)
	c.common = engine.NewLimit(c.rate)
	for _, j := range f.Jobs {
		if j.Controls == nil {
			j.Controls = NewControls(j)
		}
		c.legs = append(c.legs, j.Controls)
	}
	return c
}

// fanTune is the number of the first change of the common limit, far from those that
// the destinations give to theirs.
const fanTune = 1 << 20

// run keeps the limit as it is due until stop is closed, and tells rec of it.
func (c *FanControls) run(stop <-chan struct{}, rec events.Recorder) {
	id := fanTune
	follow(stop, c.wake, func() time.Duration {
		c.mu.Lock()
		rate, holds, why := c.timed.due(time.Now())
		before := c.rate
		c.rate = int64(rate)
		c.mu.Unlock()
		if before != int64(rate) {
			c.common.Set(int64(rate))
			record(rec, events.Tune{ID: id, What: "rate", From: before, To: int64(rate), Reason: why})
			id++
		}
		return holds
	})
}

// Set is Controls.Set for all destinations.
func (c *FanControls) Set(list []jobs.Setting) (said []string, err error) {
	all, err := parseChanges(list, time.Now())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	table := c.timed.table
	c.mu.Unlock()
	if err := checkBold(all, table, c.legs[0].Settings()["priority"]); err != nil {
		return nil, err
	}
	for _, x := range all {
		if x.Table != nil {
			c.mu.Lock()
			c.timed = timedLimit{table: *x.Table}
			c.mu.Unlock()
			poke(c.wake)
		} else {
			for _, l := range c.legs {
				if own := l.applyAll([]change{x}); x.Said == "" || own[0] == saidLooks { // at one at least
					x.Said = own[0]
				}
			}
		}
		said = append(said, x.Said)
	}
	return said, nil
}

// Settings is Controls.Settings; what is set for each destination is that of the first.
func (c *FanControls) Settings() map[string]string {
	m := c.legs[0].Settings()
	c.mu.Lock()
	defer c.mu.Unlock()
	m["bwlimit"] = c.timed.String()
	if c.rate > 0 {
		m["limit"] = units.Rate(c.rate).String()
	}
	return m
}

// ToggleLimit takes the limit of all together away, or brings it back.
func (c *FanControls) ToggleLimit() {
	c.mu.Lock()
	c.timed.lifted = !c.timed.lifted
	c.mu.Unlock()
	poke(c.wake)
}
