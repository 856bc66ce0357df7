package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestAgree(t *testing.T) {
	has := func(size int64, root string) Facts { return Facts{Size: size, Root: root, Ranges: true} }
	sampled := func(size int64, sample string) Facts { return Facts{Size: size, Sample: sample, Ranges: true} }
	tests := []struct {
		name  string
		facts []Facts
		ref   Reference
		use   []int
		spare []int
		out   string // of all that are left out
		err   error
	}{
		{"same", []Facts{has(7, "x"), has(7, "x")}, Reference{}, []int{0, 1}, nil, "", nil},
		{"one", []Facts{has(7, "")}, Reference{}, []int{0}, nil, "", nil},
		{"none answers", []Facts{{Err: errors.New("refused")}}, Reference{}, nil, nil, "0 refused", ErrNoReplica},
		{"no size", []Facts{{Size: -1}, has(1, "")}, Reference{}, []int{1}, nil, "0 does not tell its size", nil},
		{"two differ", []Facts{has(7, "x"), has(8, "x")}, Reference{}, nil, nil, "0 has 7 bytes with hash x; 1 has 8 bytes with hash x", ErrDisagree},
		{"two of three", []Facts{has(7, "x"), has(8, "x"), has(7, "x")}, Reference{}, []int{0, 2}, nil, "1 size 8, the others have 7", nil},
		{"stale", []Facts{has(7, "x"), has(7, "y"), has(7, "x")}, Reference{}, []int{0, 2}, nil, "1 same size, but its hash is y, the others have x", nil},
		{"two and two", []Facts{has(7, "x"), has(7, "y"), has(7, "x"), has(7, "y")}, Reference{}, nil, nil, "", ErrDisagree},
		{"two roots, one without", []Facts{has(7, "x"), has(7, "y"), has(7, "")}, Reference{}, nil, nil, "", ErrDisagree},
		{"preferred", []Facts{has(7, "x"), has(8, "y")}, Reference{Prefer: 2}, []int{1}, nil, "0 size 7,  has 8", nil},
		{"preferred does not answer", []Facts{has(7, "x"), {Err: errors.New("off")}}, Reference{Prefer: 2}, []int{0}, nil, "1 off", nil},
		{"reference", []Facts{has(7, "x"), has(7, "x"), has(7, "y")}, Reference{Known: true, Size: 7, Root: "y"}, []int{2}, nil,
			"0 same size, but its hash is x, it should be y; 1 same size, but its hash is x, it should be y", nil},
		{"reference, all wrong", []Facts{has(8, ""), has(7, "x")}, Reference{Known: true, Size: 7, Root: "y"}, nil, nil, "", ErrNoReplica},
		{"size known", []Facts{has(8, "x"), has(8, "x"), has(7, "y")}, Reference{Known: true, Size: 7}, []int{2}, nil, "", nil},
		{"size known, roots differ", []Facts{has(7, "x"), has(7, "z")}, Reference{Known: true, Size: 7}, nil, nil, "", ErrDisagree},
		{"bytes beside a tree", []Facts{has(7, "x"), has(7, ""), has(7, "")}, Reference{}, []int{0, 1, 2}, nil, "", nil},
		{"bytes only", []Facts{has(7, ""), has(7, ""), has(7, "")}, Reference{}, []int{0}, []int{1, 2}, "", nil},
		{"bytes and piece hashes", []Facts{has(7, ""), has(7, ""), has(8, "")}, Reference{Known: true, Size: 7, Blocks: true}, []int{0, 1}, nil, "2 size 8, it should be 7", nil},
		{"samples", []Facts{sampled(7, "a"), sampled(7, "a"), sampled(7, "b")}, Reference{}, []int{0, 1}, nil, "2 same size, but its sampled", nil},
		{"samples differ", []Facts{sampled(7, "a"), sampled(7, "b")}, Reference{}, nil, nil, "", ErrNoReplica},
		{"not all sampled", []Facts{sampled(7, "a"), has(7, "")}, Reference{}, []int{0}, []int{1}, "", nil},
		{"no ranges", []Facts{has(7, ""), {Size: 7}}, Reference{Known: true, Size: 7, Blocks: true}, []int{0}, []int{1}, "", nil},
		{"no ranges at all", []Facts{{Size: 7}, {Size: 7}}, Reference{Known: true, Size: 7, Blocks: true}, []int{0}, []int{1}, "", nil},
		{"no ranges, alone", []Facts{{Size: 7}}, Reference{}, []int{0}, nil, "", nil},
		{"nobody", nil, Reference{}, nil, nil, "", ErrNoReplica},
	}
	for _, test := range tests {
		a, err := Agree(test.facts, test.ref)
		var out []string
		for _, l := range a.Out {
			out = append(out, fmt.Sprint(l.Source, " ", l.Why))
		}
		if !slices.Equal(a.Use, test.use) || !slices.Equal(a.Spare, test.spare) || !errors.Is(err, test.err) || !strings.Contains(strings.Join(out, "; "), test.out) {
			t.Errorf("%s: use %v, spare %v, out %q, %v; want %v, %v, %q, %v", test.name, a.Use, a.Spare, out, err, test.use, test.spare, test.out, test.err)
		}
		if n := len(a.Use) + len(a.Spare) + len(a.Out); n != len(test.facts) {
			t.Errorf("%s: %d of %d sources in the answer", test.name, n, len(test.facts))
		}
		if a.Sampled != (test.name == "samples") {
			t.Errorf("%s: sampled is %t", test.name, a.Sampled)
		}
	}
}

func TestSampleBlocks(t *testing.T) {
	got := SampleBlocks(1000, 5, 42)
	if len(got) != 5 || got[0] != 0 || got[4] != 999 || !slices.IsSorted(got) {
		t.Errorf("%v", got)
	}
	if !slices.Equal(got, SampleBlocks(1000, 5, 42)) || slices.Equal(got, SampleBlocks(1000, 5, 43)) {
		t.Error("the seed does not decide")
	}
	if got := SampleBlocks(3, 5, 1); !slices.Equal(got, []int64{0, 1, 2}) {
		t.Errorf("%v", got)
	}
	if got := SampleBlocks(0, 5, 1); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
