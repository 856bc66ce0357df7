package pull

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// slowPlace answers late.
type slowPlace struct {
	Source
	after time.Duration
	size  int64
	err   error
}

func (s *slowPlace) Open(ctx context.Context) (Facts, error) {
	select {
	case <-time.After(s.after):
		return Facts{Size: s.size, Ranges: true}, s.err
	case <-ctx.Done():
		return Facts{}, ctx.Err()
	}
}

// host is one that is logged in to.
type host struct{ slowPlace }

func (*host) Attest(context.Context, int64) Pipe { return nil }

// TestSurveyWaits: places are waited for as long as they can change what the object is,
// and not much longer.
func TestSurveyWaits(t *testing.T) {
	const big = worthStarting
	at := func(ms int, size int64) Source {
		return &host{slowPlace{after: time.Duration(ms) * time.Millisecond, size: size}}
	}
	mirror := func(ms int, size int64) Source {
		return &slowPlace{after: time.Duration(ms) * time.Millisecond, size: size}
	}
	for _, tt := range []struct {
		name   string
		places []Source
		job    Job
		took   time.Duration
		late   []int
	}{
		{"two agree, and the third is late", []Source{at(1000, big), at(400, big), at(800, big)}, Job{}, time.Second, nil},
		{"two agree, and the third is much later", []Source{at(2500, big), at(400, big), at(800, big)}, Job{}, time.Second, []int{0}},
		{"a short object is not hurried for", []Source{at(2500, big-1), at(400, big-1), at(800, big-1)}, Job{}, 2500 * time.Millisecond, nil},
		{"two can still differ", []Source{at(400, big), at(2500, big)}, Job{}, 2500 * time.Millisecond, nil},
		{"the others can outvote them", []Source{at(100, big), at(110, big), at(120, 5), at(2500, 5)}, Job{}, 2500 * time.Millisecond, nil},
		{"who fails has no say", []Source{at(100, big), at(110, big), &host{slowPlace{after: time.Millisecond, err: errors.New("no")}}, at(2500, 5)}, Job{}, 160 * time.Millisecond, []int{3}},
		{"a mirror is waited for", []Source{at(100, big), at(110, big), mirror(600, big), at(2500, big)}, Job{}, 750 * time.Millisecond, []int{3}},
		{"mirrors only", []Source{mirror(100, big), mirror(110, big), mirror(2500, big)}, Job{}, 2500 * time.Millisecond, nil},
		{"two differ, and the third can tell who is right", []Source{at(100, big), at(110, 5), at(8000, big)}, Job{}, 8 * time.Second, nil},
		{"as can a mirror", []Source{at(100, big), at(110, 5), mirror(8000, big)}, Job{}, 8 * time.Second, nil},
		{"two differ, and two more are late", []Source{at(100, 7), at(110, 5), at(8000, 7), at(30000, 5)}, Job{}, 11 * time.Second, []int{3}},
		{"two agree, a third is silent", []Source{at(100, 5), at(110, 5), at(8000, 7)}, Job{}, 3100 * time.Millisecond, []int{2}},
		{"the size is known", []Source{at(100, big), at(2500, big)}, Job{Check: Check{Known: true, Size: big}}, 150 * time.Millisecond, []int{1}},
		{"it is another one", []Source{at(100, big+1), at(2500, big)}, Job{Check: Check{Known: true, Size: big}}, 2500 * time.Millisecond, nil},
		{"the preferred one decides", []Source{at(100, 5), at(400, big), at(2500, 5)}, Job{Prefer: 2}, 500 * time.Millisecond, []int{2}},
		{"and is waited for", []Source{at(100, big), at(2500, big), at(110, big)}, Job{Prefer: 2}, 2500 * time.Millisecond, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, s := range tt.places {
					tt.job.Places = append(tt.job.Places, Place{Source: s})
				}
				p := New(tt.job)
				began := time.Now()
				_, late := p.survey(t.Context())
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if !slices.Equal(late, tt.late) {
					t.Errorf("late: %v, want %v", late, tt.late)
				}
			})
		})
	}
}

// TestSurveyEnds: what was found belongs to the caller, whatever is still to be looked at
// later.
func TestSurveyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Job{Places: []Place{{Source: &host{slowPlace{size: 5}}}, {Source: &slowPlace{size: 5}}}})
		facts, _ := p.survey(t.Context())
		for range 100 { // the race detector sees who else reads them
			facts[1].Sample = "x"
			time.Sleep(surveyPatience / 50)
		}
	})
}
