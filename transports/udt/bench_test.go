package udt

import (
	"io"
	"testing"

	"github.com/gomover/gomover/internal/netx"
)

// BenchmarkLoopback moves bytes from memory to memory, one connection, both
// ends in this process.
func BenchmarkLoopback(b *testing.B) {
	l, err := Listen(b.Context(), &netx.System{}, "udp4", "127.0.0.1:0", Config{})
	if err != nil {
		b.Fatal(err)
	}
	x, err := Dial(b.Context(), &netx.System{}, "udp4", l.Addr().String(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	y, err := l.AcceptContext(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	_ = l.Close()
	buf := make([]byte, 1<<20)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	done := make(chan error, 1) // the reader's end
	go func() {
		_, err := io.CopyN(io.Discard, y, int64(b.N)*int64(len(buf)))
		done <- err
	}()
	for range b.N {
		if _, err := x.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	_ = x.Close()
	_ = y.Close()
}
