package udt

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
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
