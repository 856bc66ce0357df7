package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
)

func sumOf(n byte) (s [32]byte) {
	s[0] = n
	return s
}

func TestJury(t *testing.T) {
	tests := []struct {
		name   string
		voters int
		do     func(j *Jury)
		want   byte // what block 0 is found to be; 0: not known
	}{
		{"nobody", 2, func(*Jury) {}, 0},
		{"one alone", 1, func(j *Jury) { j.Attend(0, true); j.Say(0, 0, sumOf(1)) }, 1},
		{"one of two that are there", 2, func(j *Jury) { j.Attend(0, true); j.Attend(1, true); j.Say(0, 0, sumOf(1)) }, 0},
		{"one of two, the other is away", 2, func(j *Jury) { j.Attend(0, true); j.Say(0, 0, sumOf(1)) }, 1},
		{"one of two, the other went", 2, func(j *Jury) {
			j.Attend(0, true)
			j.Attend(1, true)
			j.Say(0, 0, sumOf(1))
			j.Attend(1, false)
		}, 1},
		{"who has gone has spoken", 2, func(j *Jury) {
			j.Attend(1, true)
			j.Say(0, 0, sumOf(1))
			j.Say(1, 0, sumOf(1))
			j.Attend(1, false)
		}, 1},
		{"two of three", 3, func(j *Jury) {
			for v := range 3 {
				j.Attend(v, true)
			}
			j.Say(2, 0, sumOf(1))
			j.Say(0, 0, sumOf(1))
		}, 1},
		{"two differ", 2, func(j *Jury) { j.Say(0, 0, sumOf(1)); j.Say(1, 0, sumOf(2)) }, 0},
		{"two of three differ from the third", 3, func(j *Jury) {
			j.Say(0, 0, sumOf(1))
			j.Say(1, 0, sumOf(2))
			j.Say(2, 0, sumOf(2))
		}, 0},
		{"and it is out", 3, func(j *Jury) {
			j.Say(0, 0, sumOf(1))
			j.Say(1, 0, sumOf(2))
			j.Say(2, 0, sumOf(2))
			j.Dismiss(0)
		}, 2},
		{"one is believed", 3, func(j *Jury) {
			j.Say(0, 0, sumOf(1))
			j.Say(1, 0, sumOf(2))
			j.Say(2, 0, sumOf(2))
			j.Believe(0)
		}, 1},
		{"the believed one has not spoken", 3, func(j *Jury) { j.Say(1, 0, sumOf(2)); j.Say(2, 0, sumOf(2)); j.Believe(0) }, 0},
		{"the believed one is out", 3, func(j *Jury) { j.Say(1, 0, sumOf(2)); j.Believe(0); j.Dismiss(0) }, 2},
		{"it takes back what it said", 2, func(j *Jury) {
			j.Say(0, 0, sumOf(1))
			j.Say(1, 0, sumOf(2))
			j.Say(1, 0, sumOf(1))
		}, 1},
		{"out of bounds", 2, func(j *Jury) { j.Say(0, -1, sumOf(1)); j.Say(0, 9, sumOf(1)); j.Say(7, 0, sumOf(1)) }, 0},
	}
	for _, test := range tests {
		j := NewJury(2, test.voters)
		test.do(j)
		sum, ok := j.Sum(0)
		if ok != (test.want != 0) || ok && sum != sumOf(test.want) {
			t.Errorf("%s: %d, %t; want %d", test.name, sum[0], ok, test.want)
		}
	}
}

func TestSettle(t *testing.T) {
	tests := []struct {
		name      string
		said      string // a digit for each voter; -: it has not spoken and is there
		witnesses string
		absent    int
		losers    []int
		open      bool
	}{
		{"two against one", "112", "", 0, []int{2}, false},
		{"one against one", "12", "", 0, nil, true},
		{"a third will speak", "12-", "", 0, nil, false},
		{"a third is away", "12", "", 1, nil, false},
		{"a witness", "12", "2", 0, []int{0}, false},
		{"witnesses differ, too", "12", "12", 0, nil, true},
		{"a witness of its own", "12", "3", 0, nil, true},
		{"three against two", "11222", "", 0, []int{0, 1}, false},
		{"three against two, and one away", "11222", "", 1, nil, false},
		{"all different", "123", "", 0, nil, true},
	}
	for _, test := range tests {
		j := NewJury(1, len(test.said))
		for v, c := range test.said {
			if c == '-' {
				j.Attend(v, true)
			} else {
				j.Say(v, 0, sumOf(byte(c)))
			}
		}
		var witnesses [][32]byte
		for _, c := range test.witnesses {
			witnesses = append(witnesses, sumOf(byte(c)))
		}
		losers, open := j.Settle(0, witnesses, test.absent)
		if !slices.Equal(losers, test.losers) || open != test.open {
			t.Errorf("%s: %v, %t; want %v, %t", test.name, losers, open, test.losers, test.open)
		}
	}
}

// TestJuryAgainstLists compares a jury with plain lists, whatever happens.
func TestJuryAgainstLists(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		const blocks, voters = 3, 4
		j := NewJury(blocks, voters)
		said := [blocks][voters]byte{}
		var out, here [voters]bool
		for range 60 {
			v, b := r.IntN(voters), int64(r.IntN(blocks))
			switch r.IntN(8) {
			case 0:
				here[v] = r.IntN(2) == 0
				j.Attend(v, here[v])
			case 1:
				if r.IntN(6) == 0 {
					out[v] = true
					j.Dismiss(v)
				}
			default:
				n := byte(1 + r.IntN(2))
				j.Say(v, b, sumOf(n))
				if !out[v] {
					said[b][v] = n
				}
			}
			for b := range int64(blocks) {
				var votes [3]int
				waiting := 0
				for v := range voters {
					n := said[b][v]
					if got, ok := j.Said(v, b); ok != (n != 0 && !out[v]) || ok && got != sumOf(n) {
						t.Fatalf("seed %d: voter %d says %v, %t of block %d", seed, v, got[0], ok, b)
					}
					switch {
					case out[v]:
					case n != 0:
						votes[n]++
					case here[v]:
						waiting++
					}
				}
				want := byte(0)
				for n := byte(1); n < 3; n++ {
					if votes[n] > waiting && votes[3-n] == 0 {
						want = n
					}
				}
				if sum, ok := j.Sum(b); ok != (want != 0) || ok && sum != sumOf(want) {
					t.Fatalf("seed %d: block %d is %d, %t; want %d of %v, %d wait", seed, b, sum[0], ok, want, votes, waiting)
				}
			}
		}
	}
}

func TestRevoke(t *testing.T) {
	s := two(t, Source{Rate: 100 * mb}, Source{Rate: 100 * mb}, rangeset.Extent{Lo: 0, Hi: 4}, rangeset.Extent{Lo: 4, Hi: 8})
	s.Received(0, 0, 3*mb)
	s.Stored(0, 0, rangeset.Extent{Lo: 0, Hi: 3})
	had := s.lacking()
	s.Revoke(time.Second, 0, rangeset.Extent{Lo: 1, Hi: 2})
	check(t, s)
	if n := s.lacking() - had; n != mb {
		t.Errorf("%d bytes lack more", n)
	}
	for _, o := range s.Poll(time.Second) {
		if o.Kind == Fetch && o.Source == 0 && o.Blocks.Lo <= 1 && 1 < o.Blocks.Hi {
			t.Errorf("%v: it came wrong from there", o)
		}
	}
	check(t, s)
	s.Revoke(time.Second, -1, rangeset.Extent{Lo: 0, Hi: 1})
	if p := s.Plan(time.Second); p.Shares[0].Strikes != 1 || p.Shares[0].State == Out {
		t.Errorf("it is to blame for what was there before: %+v", p.Shares[0])
	}
	s.Revoke(time.Second, 0, rangeset.Extent{Lo: 2, Hi: 4})
	if p := s.Plan(time.Second); p.Shares[0].State != Out || p.Shares[0].Stored != mb {
		t.Errorf("after two wrong blocks: %+v", p.Shares[0])
	}
	check(t, s)
	t.Log("# what nobody had is no loss")
	had = s.lacking()
	s.Revoke(time.Second, 1, rangeset.Extent{Lo: 4, Hi: 6})
	if n := s.lacking() - had; n != 0 || s.Plan(time.Second).Shares[1].Strikes != 0 {
		t.Errorf("%d bytes lack more: %v", n, fmt.Sprint(s.Plan(time.Second)))
	}
}
