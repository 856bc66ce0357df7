package lab

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestAgendaOrder compares the lines of several links with a sorted list.
func TestAgendaOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		links := make([]*link, 1+rng.IntN(9))
		for i := range links {
			links[i] = &link{number: i}
		}
		var a agenda
		type entry struct {
			at   time.Duration
			link int
			n    int
		}
		var model []entry
		pop := func() {
			best := 0
			for i, e := range model {
				b := model[best]
				if e.at < b.at || e.at == b.at && (e.link < b.link || e.link == b.link && e.n < b.n) {
					best = i
				}
			}
			want := model[best]
			model = slices.Delete(model, best, best+1)
			if first := a.next().line.first(); first != want.at {
				t.Fatalf("round %d: next at %v, want %v", round, first, want.at)
			}
			l, it := a.pop()
			if l.number != want.link || it.at != want.at || it.p.n != want.n {
				t.Fatalf("round %d: got packet %d of link %d at %v, want %d of %d at %v", round, it.p.n, l.number, it.at, want.n, want.link, want.at)
			}
		}
		for n := range 300 {
			if len(model) > 0 && rng.IntN(3) == 0 {
				pop()
				continue
			}
			i := rng.IntN(len(links))
			at := time.Duration(n/4 + rng.IntN(20))
			a.push(links[i], at, &packet{n: n})
			model = append(model, entry{at, i, n})
		}
		for len(model) > 0 {
			pop()
		}
		if !a.empty() {
			t.Fatalf("round %d: packets are left", round)
		}
	}
}

func BenchmarkAgenda(b *testing.B) {
	links := []*link{{number: 0}, {number: 1}, {number: 2}, {number: 3}}
	var a agenda
	p := &packet{}
	for i := range 8000 {
		a.push(links[i%4], time.Duration(i), p)
	}
	for i := 8000; b.Loop(); i++ {
		a.push(links[i%4], time.Duration(i), p)
		a.pop()
	}
}
