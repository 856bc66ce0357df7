package sshboot

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestUploads: however many hosts need the program at the same time it is made once, and
// kept no longer than they need it.
func TestUploads(t *testing.T) {
	var u Uploads
	opened := 0 // get calls open one at a time
	const text = "the program"
	open := func() (io.ReadCloser, int64, error) {
		opened++
		return io.NopCloser(strings.NewReader(text)), int64(len(text)), nil
	}
	for round := 1; round <= 2; round++ {
		var wg sync.WaitGroup
		got := make([]*payload, 20)
		for i := range got {
			wg.Go(func() {
				var err error
				if got[i], err = u.get(open, i%2 == 0); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if opened != 2*round {
			t.Errorf("round %d: it was read %d times, want once as it is and once compressed each time", round, opened)
		}
		if got[1] != got[3] || got[0] != got[2] || string(got[1].data) != text || got[1].gzipped || !got[0].gzipped {
			t.Errorf("round %d: %+v and %+v", round, got[0], got[1])
		}
		for range got {
			u.leave()
		}
		if u.made != nil {
			t.Errorf("round %d: it is kept", round)
		}
	}
	bad := errors.New("gone")
	if _, err := u.get(func() (io.ReadCloser, int64, error) { return nil, 0, bad }, true); !errors.Is(err, bad) || u.users != 0 {
		t.Errorf("%v, %d users", err, u.users)
	}
}

// TestWatchdogRests: what takes time here is no silence of the far side, which counts
// from then on anew.
func TestWatchdogRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 30 * time.Second
		bitten := make(chan struct{})
		dog := newWatchdog(limit, func() { close(bitten) })
		time.Sleep(limit - time.Second)
		dog.rest(func() { time.Sleep(time.Hour) })
		time.Sleep(limit - time.Second)
		select {
		case <-bitten:
			t.Error("the time of resting was counted")
		default:
		}
		time.Sleep(2 * time.Second)
		<-bitten
		dog.rest(func() {})
		if !dog.stop() {
			t.Error("the bite was forgotten")
		}
	})
}
