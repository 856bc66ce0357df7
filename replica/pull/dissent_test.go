package pull

import (
	"testing"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica"
)

// TestDissent: two places that say something else of each block of a large object,
// while a third one that could settle it is away, keep nobody busy.
func TestDissent(t *testing.T) {
	const blocks = 30_000
	p := New(Job{Places: make([]Place, 3)})
	o := &object{p: p, block: defaultBlock, trial: newTrial(blocks, []int{0, 1, 2}), writing: make(map[int64]bool)}
	o.e.Size = blocks * defaultBlock
	c, err := newConductor(p, []int{0, 1, 2}, o, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attend(0, true)
	c.attend(1, true)
	began := time.Now()
	for b := range int64(blocks) {
		c.say(0, b, integrity.Sum{1})
		c.say(1, b, integrity.Sum{2})
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("it took %v", d)
	}
	if !c.pending() || len(o.trial.disputes) == 0 {
		t.Error("nothing is open")
	}
	c.attend(2, true)
	for b := range int64(blocks) {
		c.say(2, b, integrity.Sum{1})
	}
	if !o.trial.jury.Dismissed(1) || c.pending() {
		t.Errorf("who lies is not out, or %d blocks are still open", len(o.trial.disputes))
	}
	if x := c.sched.Plan(c.clock()).Shares[1]; x.State != replica.Out {
		t.Errorf("the schedule still has it: %+v", x)
	}
}
