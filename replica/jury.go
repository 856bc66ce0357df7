package replica

import (
	"cmp"
	"math/bits"
	"slices"
)

// MaxVoters is how many sources can say what the sums of blocks are.
const MaxVoters = 64

// Jury finds out what the blocks of an object are when nothing is known of it but
// what its sources say: each voter is a source that can tell the sum of every
// block. What more voters say than can still contradict is taken to be right.
//
//	voters that say the same  >  voters that have not said anything yet
//
// and nobody says anything else. So one voter alone is believed, two must agree,
// of three two are enough. When voters differ about a block nothing is known of it
// until all but those who say one thing are out.
//
// Voters are numbered from 0. What was found can change: a voter may come later.
// One goroutine at a time.
type Jury struct {
	blocks  []ballot
	dissent map[int64][]ballot // what else is said of a block
	count   []int64            // blocks of which each voter has spoken
	here    uint64             // voters that will say what they have not said
	out     uint64
	only    int // the voter that is believed alone; -1: none is
}

// ballot is one sum and who says it.
type ballot struct {
	sum  [32]byte
	said uint64 // one bit for each voter
}

// NewJury makes a jury of at most MaxVoters for an object of so many blocks. None
// of them is there yet.
func NewJury(blocks int64, voters int) *Jury {
	return &Jury{blocks: make([]ballot, blocks), dissent: make(map[int64][]ballot), count: make([]int64, min(voters, MaxVoters)), only: -1}
}

// Attend says whether a voter is there, and will say what it has not said yet.
func (j *Jury) Attend(v int, here bool) {
	if j.here &^= 1 << v; here {
		j.here |= 1 << v
	}
}

// Attending is how many voters are there.
func (j *Jury) Attending() int { return bits.OnesCount64(j.here &^ j.out) }

// Left is how many voters are not out.
func (j *Jury) Left() int { return len(j.count) - bits.OnesCount64(j.out) }

// Dismissed tells whether a voter is out.
func (j *Jury) Dismissed(v int) bool { return j.out&(1<<v) != 0 }

// Believe makes one voter decide alone.
func (j *Jury) Believe(v int) { j.only = v }

// Dismiss takes a voter out: what it said counts no more.
func (j *Jury) Dismiss(v int) {
	if j.out |= 1 << v; j.only == v {
		j.only = -1
	}
	for b := range j.blocks {
		j.blocks[b].said &^= 1 << v
	}
	for b, others := range j.dissent {
		for i := range others {
			others[i].said &^= 1 << v
		}
		j.order(b, append(others, j.blocks[b]))
	}
}

// order keeps what is said of a block: what most say first.
func (j *Jury) order(b int64, all []ballot) {
	all = slices.DeleteFunc(all, func(x ballot) bool { return x.said == 0 })
	slices.SortStableFunc(all, func(x, y ballot) int { return cmp.Compare(bits.OnesCount64(y.said), bits.OnesCount64(x.said)) })
	j.blocks[b] = ballot{}
	if len(all) > 0 {
		j.blocks[b], all = all[0], all[1:]
	}
	if j.dissent[b] = all; len(all) == 0 {
		delete(j.dissent, b)
	}
}

// Say takes down what a voter says of a block, and tells whether somebody says
// something else. What it said of the block before counts no more.
func (j *Jury) Say(v int, b int64, sum [32]byte) (differ bool) {
	if b < 0 || b >= int64(len(j.blocks)) || v < 0 || v >= len(j.count) || j.out&(1<<v) != 0 {
		return false
	}
	all := append(slices.Clone(j.dissent[b]), j.blocks[b])
	spoke, same := uint64(0), false
	for i := range all {
		spoke |= all[i].said
		if all[i].said &^= 1 << v; all[i].said != 0 && all[i].sum == sum {
			all[i].said, same = all[i].said|1<<v, true
		}
	}
	if !same {
		all = append(all, ballot{sum, 1 << v})
	}
	if spoke&(1<<v) == 0 {
		j.count[v]++
	}
	j.order(b, all)
	return j.dissent[b] != nil
}

// Said is what a voter says of a block.
func (j *Jury) Said(v int, b int64) (sum [32]byte, ok bool) {
	for _, x := range append(j.dissent[b], j.blocks[b]) {
		if x.said&(1<<v) != 0 {
			return x.sum, true
		}
	}
	return sum, false
}

// Complete tells whether a voter has spoken of all blocks.
func (j *Jury) Complete(v int) bool { return j.count[v] == int64(len(j.blocks)) }

// Sum is what a block is found to be.
func (j *Jury) Sum(b int64) (sum [32]byte, ok bool) {
	if j.only >= 0 {
		return j.Said(j.only, b)
	}
	x := j.blocks[b]
	waiting := bits.OnesCount64(j.here &^ j.out &^ x.said)
	return x.sum, j.dissent[b] == nil && bits.OnesCount64(x.said) > waiting
}

// Settle looks at a block about which voters differ. witnesses are what others say
// of it, who are no voters. If one sum is said by more than say any other, and than
// could once all who are there or are absent for a while only (so many) have
// spoken, losers are those voters that say something else. open tells that there
// is no such sum and that nobody is left who could bring it about.
func (j *Jury) Settle(b int64, witnesses [][32]byte, absent int) (losers []int, open bool) {
	all := append(slices.Clone(j.dissent[b]), j.blocks[b])
	votes := make(map[[32]byte]int)
	spoke := uint64(0)
	for _, x := range all {
		votes[x.sum] += bits.OnesCount64(x.said)
		spoke |= x.said
	}
	for _, sum := range witnesses {
		votes[sum]++
	}
	waiting := bits.OnesCount64(j.here&^j.out&^spoke) + absent
	var most [32]byte
	best, next := 0, 0
	for sum, n := range votes {
		switch {
		case n > best:
			most, best, next = sum, n, best
		case n > next:
			next = n
		}
	}
	if j.only >= 0 {
		sum, ok := j.Said(j.only, b)
		if !ok {
			return nil, false
		}
		most = sum
	} else if best < 2 || best <= next+waiting {
		return nil, waiting == 0
	}
	for _, x := range all {
		for v := range j.count {
			if x.sum != most && x.said&(1<<v) != 0 {
				losers = append(losers, v)
			}
		}
	}
	slices.Sort(losers)
	return losers, false
}
