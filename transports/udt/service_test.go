package udt

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// TestReadBuffer: a connection takes little until it is told to take more, at both
// ends.
func TestReadBuffer(t *testing.T) {
	for _, accepted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			_, a, b := pair(t)
			const little, all = 100 << 10, 2 << 20
			from, to := connectedPair(t, a, b, b.Addr(false).String()+":9000", Config{FirstBuffer: little})
			if !accepted {
				from, to = to, from
			}
			wrote := make(chan error, 1)
			go func() {
				_, err := from.Write(noise(1, all))
				wrote <- err
			}()
			time.Sleep(2 * time.Second)
			to.mu.Lock()
			n := int(to.core.recv.high+1-to.core.recv.base) * to.core.payload
			to.mu.Unlock()
			if n > little+recvReserve*1500 || n < little/2 {
				t.Errorf("%d bytes came while %d were permitted", n, little)
			}
			start := time.Now()
			if err := to.SetReadBuffer(all); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, all)
			if _, err := io.ReadFull(to, got); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v after there was room", took)
			}
			mustEqual(t, "all", got, noise(1, all))
			if err := <-wrote; err != nil {
				t.Error(err)
			}
			if to.SetReadBuffer(0) == nil {
				t.Error("a buffer of nothing was taken")
			}
			from.Close()
			to.Close()
			if to.SetReadBuffer(1) == nil {
				t.Error("a closed connection took a buffer")
			}
		})
	}
}

// TestMaxRate: a bound of the rate holds from when it is set, for the connection it is
// set for, until it is taken away.
func TestMaxRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		from, to := connectedPair(t, a, b, b.Addr(false).String()+":9000", Config{})
		took := func(n int) time.Duration {
			start := time.Now()
			go from.Write(noise(3, n))
			if _, err := io.ReadFull(to, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		free := took(1 << 20)
		for _, rate := range []units.Rate{100e3, 400e3} {
			if err := from.SetMaxRate(rate); err != nil {
				t.Fatal(err)
			}
			took(1 << 20) // the control finds out that there is more than before
			want := (1 << 20) * 1500 / 1456.0 / float64(rate)
			if got := took(1 << 20).Seconds(); got < 0.95*want || got > 1.05*want+0.1 {
				t.Errorf("1 MiB at %v took %.2f s, want %.2f", rate, got, want)
			}
		}
		if err := from.SetMaxRate(0); err != nil {
			t.Fatal(err)
		}
		took(1 << 20) // the control finds the rate again
		if again := took(1 << 20); again > 2*free {
			t.Errorf("1 MiB took %v before there was a bound, %v after it", free, again)
		}
		if from.SetMaxRate(-1) == nil {
			t.Error("a rate below 0 was taken")
		}
		from.Close()
		to.Close()
		if from.SetMaxRate(1e6) == nil {
			t.Error("a closed connection took a rate")
		}
	})
}

// TestRelease: what was written before is delivered, calls that wait end, and
// the port is given back.
func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		d, c := connectedPair(t, a, b, b.Addr(false).String()+":9000", Config{Linger: 5 * time.Second})
		blocked := make(chan error, 1)
		go func() {
			_, err := d.Read(make([]byte, 1))
			blocked <- err
		}()
		synctest.Wait()
		if _, err := d.Write(noise(2, 1<<20)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		d.Release()
		d.Release()
		if took := time.Since(start); took != 0 {
			t.Errorf("waited for %v", took)
		}
		if err := (<-blocked).(*net.OpError).Err; err != net.ErrClosed {
			t.Errorf("a call that waits ended with %v", err)
		}
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "all", got, noise(2, 1<<20))
		c.Close()
		<-d.e.done
	})
}

func TestControlNames(t *testing.T) {
	for name, good := range map[string]bool{"": true, "native": true, "ledbat": true, DefaultControl: true, "blast=10MB/s": true, "vegas": false, "blast=x": false} {
		if err := CheckControl(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
