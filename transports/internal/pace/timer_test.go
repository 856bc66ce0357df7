package pace

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// long is longer than any test runs.
const long = time.Hour

func both(t *testing.T, f func(t *testing.T, timer Timer)) {
	for _, fine := range []bool{true, false} {
		t.Run(fmt.Sprintf("fine %t", fine), func(t *testing.T) {
			timer := NewTimer(fine)
			defer timer.Close()
			f(t, timer)
		})
	}
}

func TestTimerWaits(t *testing.T) {
	both(t, func(t *testing.T, timer Timer) {
		for _, d := range []time.Duration{-1, 0, 1, 50 * time.Microsecond, 3 * time.Millisecond, time.Microsecond} {
			start := time.Now()
			timer.Wait(d)
			if got := time.Since(start); got < d {
				t.Errorf("asked for %v, waited %v", d, got)
			}
		}
	})
}

func TestTimerWakes(t *testing.T) {
	both(t, func(t *testing.T, timer Timer) {
		t.Log("# before waiting, twice counts once")
		timer.Wake()
		timer.Wake()
		timer.Wait(long)
		start := time.Now()
		timer.Wait(time.Millisecond)
		if got := time.Since(start); got < time.Millisecond {
			t.Errorf("waited %v after a wake-up that was used", got)
		}
		t.Log("# while waiting, by many")
		var wg sync.WaitGroup
		const rounds = 2000
		turn := make(chan bool)
		wg.Go(func() {
			for range rounds {
				timer.Wait(long)
				turn <- true
			}
		})
		for range rounds {
			var both sync.WaitGroup
			both.Go(timer.Wake)
			<-turn
			both.Wait()
		}
		wg.Wait()
	})
}

// TestTimerIsNeverMissed lets wake-ups meet ends of waits: whoever wakes after
// having set something must be heard.
func TestTimerIsNeverMissed(t *testing.T) {
	both(t, func(t *testing.T, timer Timer) {
		var mu sync.Mutex
		set := 0
		done := make(chan bool)
		const last = 3000
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				mu.Lock()
				now := set
				mu.Unlock()
				if now == last {
					return
				}
				timer.Wait([]time.Duration{long, time.Microsecond}[i%2])
			}
		}()
		for i := range last {
			mu.Lock()
			set = i + 1
			mu.Unlock()
			timer.Wake()
		}
		select {
		case <-done:
		case <-time.After(2 * time.Minute):
			timer.Close()
			<-done
			t.Error("the last wake-up was not heard")
		}
	})
}

func TestTimerCloses(t *testing.T) {
	both(t, func(t *testing.T, timer Timer) {
		done := make(chan bool)
		go func() {
			defer close(done)
			timer.Wait(long)
			timer.Wait(long)
		}()
		timer.Close()
		<-done
		timer.Close()
		timer.Wake()
	})
}

func TestCoarseTimerKeepsVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timer := NewTimer(false)
		defer timer.Close()
		start := time.Now()
		timer.Wait(long)
		if got := time.Since(start); got != long {
			t.Errorf("waited %v", got)
		}
	})
}

// BenchmarkLate tells how late waits end, for the figures of docs/udp.md.
func BenchmarkLate(b *testing.B) {
	for _, fine := range []bool{true, false} {
		for _, d := range []time.Duration{50 * time.Microsecond, 200 * time.Microsecond, time.Millisecond} {
			b.Run(fmt.Sprintf("fine %t/%v", fine, d), func(b *testing.B) {
				timer := NewTimer(fine)
				defer timer.Close()
				b.ReportAllocs()
				var late time.Duration
				for range b.N {
					start := time.Now()
					timer.Wait(d)
					late += time.Since(start) - d
				}
				b.ReportMetric(float64(late.Microseconds())/float64(b.N), "late-µs")
			})
		}
	}
}
