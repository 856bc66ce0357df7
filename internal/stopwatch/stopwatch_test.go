package stopwatch

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Sum
		want := func(d time.Duration) {
			t.Helper()
			if got := s.Total(0); got != d {
				t.Errorf("total %v, want %v", got, d)
			}
		}
		want(0)
		a := s.Begin()
		time.Sleep(time.Second)
		want(time.Second) // before it ends
		b := s.Begin()
		time.Sleep(time.Second)
		want(3 * time.Second)
		s.End(a, 0)
		want(3 * time.Second)
		time.Sleep(time.Second)
		want(4 * time.Second)
		s.End(b, 0)
		time.Sleep(time.Minute)
		want(4 * time.Second)
		c := s.Begin()
		time.Sleep(time.Millisecond)
		want(4*time.Second + time.Millisecond)
		if got := s.Total(time.Millisecond); got != 4*time.Second {
			t.Errorf("total %v of what does not count yet", got)
		}
		s.End(c, time.Millisecond) // too short
		want(4 * time.Second)
	})
}
