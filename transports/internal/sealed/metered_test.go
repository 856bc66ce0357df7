package sealed

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestMetered: waiting is counted, in the direction in which it was, and reads give
// as much as is needed or the end.
func TestMetered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		x, y := &Metered{Conn: a}, &Metered{Conn: b}
		done := make(chan error)
		go func() { done <- x.Write([]byte("two and five")) }()
		time.Sleep(time.Second)
		buf := make([]byte, 20)
		if n, err := y.Read(buf, 12); n != 12 || err != nil || string(buf[:n]) != "two and five" {
			t.Fatalf("read %q, %v", buf[:n], err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if send, recv := x.Blocked(); send != time.Second || recv != 0 {
			t.Errorf("the writer waited for %v and %v, want 1s and 0s", send, recv)
		}
		if send, recv := y.Blocked(); send != 0 || recv != 0 {
			t.Errorf("the reader waited for %v and %v, want nothing", send, recv)
		}
		go func() {
			time.Sleep(time.Second)
			_ = x.Write([]byte("cut"))
			a.Close()
		}()
		if n, err := y.Read(buf, 4); n != 3 || err != io.EOF {
			t.Errorf("read %q, %v; want what came, and the end", buf[:n], err)
		}
		if _, recv := y.Blocked(); recv != time.Second {
			t.Errorf("the reader waited for %v, want 1s", recv)
		}
	})
}
