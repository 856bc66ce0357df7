package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrDisagree means that the sources hold different objects, and nothing says
// which one is right.
var ErrDisagree = errors.New("the replicas differ and nothing tells which is right")

// ErrNoReplica means that no source can be used.
var ErrNoReplica = errors.New("no replica can be used")

// Facts is what a source says of its copy.
type Facts struct {
	Name string // for people
	// Err is why it says nothing; nil if it answered.
	Err error
	// Size in bytes; -1 if it does not know, which makes it useless.
	Size int64
	// Root is the hash of the whole content, from which its blocks can be verified:
	// "" if the source can give bytes only. Equal roots mean equal content.
	Root string
	// Sample is a hash of some blocks, the same ones of all sources; "" if none
	// was taken. Equal samples make equal content likely, see SampleBlocks.
	Sample string
	// Ranges tells whether it can give parts.
	Ranges bool
}

// Reference is what is known of the object from elsewhere: a list with hashes, a
// hash that the user gave. The zero value knows nothing.
type Reference struct {
	Known bool   // Size is set
	Size  int64  // bytes
	Root  string // "" if not known
	// Blocks tells that the blocks of every source can be verified by it.
	Blocks bool
	// Prefer is the source to believe when there is nothing else, plus one; 0: none.
	Prefer int
}

// Left is a source that is not used.
type Left struct {
	Source int    // index into the facts
	Why    string // in words, after the source's name
}

// Agreement is which sources hold the same object.
type Agreement struct {
	Size int64  // bytes
	Root string // "" if nobody knows
	// Use are the sources that may deliver parts of one copy, because every block
	// of them can be verified or because their samples are equal.
	Use []int
	// Spare are sources that may hold the same object, but whose blocks must not
	// be mixed with those of others: one of them can take the place of all.
	Spare []int
	// Sampled tells that only samples speak for Use.
	Sampled bool
	Out     []Left
}

// Agree finds the sources that hold one object. What the reference says decides;
// without it the preferred source does; without that, more sources must agree
// on one size and root than on any other. Sources that can give bytes only are
// taken if the others verify their blocks.
//
// Errors: ErrDisagree when there is no such majority, ErrNoReplica when nobody is
// left. The agreement is filled in either case, so that it can be told who said
// what.
func Agree(facts []Facts, ref Reference) (Agreement, error) {
	var a Agreement
	left := a.answered(facts)
	if len(left) == 0 {
		return a, ErrNoReplica
	}
	var by string
	if err := a.settle(facts, left, ref, &by); err != nil {
		for _, i := range left {
			a.Out = append(a.Out, Left{i, describe(facts[i])})
		}
		return a, err
	}
	left = slices.DeleteFunc(left, func(i int) bool {
		why := a.differs(facts[i], by)
		if why != "" {
			a.Out = append(a.Out, Left{i, why})
		}
		return why != ""
	})
	a.mix(facts, left, ref)
	if len(a.Use)+len(a.Spare) == 0 {
		return a, ErrNoReplica
	}
	return a, nil
}

// answered are the sources that said how long their copy is.
func (a *Agreement) answered(facts []Facts) (left []int) {
	for i, f := range facts {
		switch {
		case f.Err != nil:
			a.Out = append(a.Out, Left{i, f.Err.Error()})
		case f.Size < 0:
			a.Out = append(a.Out, Left{i, "does not tell its size"})
		default:
			left = append(left, i)
		}
	}
	return left
}

// settle decides what the object is, and by whose word.
func (a *Agreement) settle(facts []Facts, left []int, ref Reference, by *string) error {
	switch prefer := ref.Prefer - 1; {
	case ref.Known:
		a.Size, a.Root, *by = ref.Size, ref.Root, "it should be"
		if a.Root != "" {
			return nil
		}
		// The size is known; the roots of those who have it may still differ.
		return a.count(facts, slices.DeleteFunc(slices.Clone(left), func(i int) bool { return facts[i].Size != ref.Size }), true, by)
	case prefer >= 0 && prefer < len(facts) && slices.Contains(left, prefer):
		a.Size, a.Root, *by = facts[prefer].Size, facts[prefer].Root, facts[prefer].Name+" has"
		return nil
	case len(left) == 1:
		a.Size, a.Root = facts[left[0]].Size, facts[left[0]].Root
		return nil
	}
	*by = "the others have"
	return a.count(facts, left, false, by)
}

// count settles by the number of sources that say the same. A source without a
// root speaks for its size only.
func (a *Agreement) count(facts []Facts, left []int, sized bool, by *string) error {
	if !sized {
		sizes := make(map[string]int)
		for _, i := range left {
			sizes[fmt.Sprint(facts[i].Size)]++
		}
		most, ok := majority(sizes, len(left))
		if !ok {
			return ErrDisagree
		}
		left = slices.DeleteFunc(slices.Clone(left), func(i int) bool { return fmt.Sprint(facts[i].Size) != most })
		a.Size = facts[left[0]].Size
	}
	roots, n := make(map[string]int), 0
	for _, i := range left {
		if facts[i].Root != "" {
			roots[facts[i].Root]++
			n++
		}
	}
	if n == 0 {
		return nil
	}
	root, ok := majority(roots, n)
	if !ok {
		return ErrDisagree
	}
	a.Root = root
	if sized {
		*by = "the others have"
	}
	return nil
}

// majority is the word that more voices say than any other; one of several
// voices is none.
func majority(words map[string]int, voices int) (most string, ok bool) {
	best, next := 0, 0
	for word, n := range words {
		switch {
		case n > best:
			most, best, next = word, n, best
		case n > next:
			next = n
		}
	}
	return most, best > next && (best > 1 || voices == 1)
}

// differs says what a source has else than the object; "" if nothing is known.
func (a *Agreement) differs(f Facts, by string) string {
	switch {
	case f.Size != a.Size:
		return fmt.Sprintf("size %d, %s %d", f.Size, by, a.Size)
	case a.Root != "" && f.Root != "" && f.Root != a.Root:
		return fmt.Sprintf("same size, but its hash is %s, %s %s", brief(f.Root), by, brief(a.Root))
	}
	return ""
}

// mix parts those whose blocks may be mixed from those that may not.
func (a *Agreement) mix(facts []Facts, left []int, ref Reference) {
	verified := ref.Blocks
	for _, i := range left {
		verified = verified || facts[i].Root != "" && facts[i].Root == a.Root
	}
	if !verified && len(left) > 1 {
		left = a.sample(facts, left)
	}
	whole := func(i int) bool { return !facts[i].Ranges }
	switch {
	case len(left) == 0:
	case !verified && !a.Sampled:
		// The first one alone, since nothing can tell a mixture from the object.
		a.Use, a.Spare = left[:1], left[1:]
	default:
		for _, i := range left {
			if whole(i) && len(left) > 1 {
				a.Spare = append(a.Spare, i)
			} else {
				a.Use = append(a.Use, i)
			}
		}
		if len(a.Use) == 0 {
			a.Use, a.Spare = a.Spare[:1], a.Spare[1:]
		}
	}
}

// sample takes those of which most have the same samples, if all have one.
func (a *Agreement) sample(facts []Facts, left []int) []int {
	samples := make(map[string]int)
	for _, i := range left {
		if facts[i].Sample == "" {
			return left
		}
		samples[facts[i].Sample]++
	}
	same, ok := majority(samples, len(left))
	if !ok {
		for _, i := range left {
			a.Out = append(a.Out, Left{i, "its sampled blocks differ from those of the others"})
		}
		return nil
	}
	a.Sampled = true
	return slices.DeleteFunc(slices.Clone(left), func(i int) bool {
		if facts[i].Sample != same {
			a.Out = append(a.Out, Left{i, "same size, but its sampled blocks differ from those of the others"})
		}
		return facts[i].Sample != same
	})
}

// describe says what a source has.
func describe(f Facts) string {
	if f.Root == "" {
		return fmt.Sprintf("has %d bytes", f.Size)
	}
	return fmt.Sprintf("has %d bytes with hash %s", f.Size, brief(f.Root))
}

// brief is the beginning of a hash, enough to compare by eye.
func brief(root string) string {
	kind, sum, ok := strings.Cut(root, ":")
	if !ok {
		kind, sum = "", root
	} else {
		kind += ":"
	}
	if len(sum) > 12 {
		sum = sum[:12] + "..."
	}
	return kind + sum
}

// SampleBlocks picks the blocks by which sources are compared when nothing can
// verify them: the first, the last, and random ones in between, in rising order.
// The same arguments give the same blocks; seed should not be known to the
// sources. count is at least 2.
//
// To see a difference in a share q of the blocks except with probability d,
// ln d / ln(1-q) random blocks are needed: 66 for a tenth and one in a thousand.
func SampleBlocks(blocks int64, count int, seed uint64) []int64 {
	if blocks <= int64(count) {
		all := make([]int64, max(0, blocks))
		for i := range all {
			all[i] = int64(i)
		}
		return all
	}
	picked := []int64{0, blocks - 1}
	for len(picked) < count {
		// SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		if b := int64(z % uint64(blocks)); !slices.Contains(picked, b) {
			picked = append(picked, b)
		}
	}
	slices.Sort(picked)
	return picked
}
