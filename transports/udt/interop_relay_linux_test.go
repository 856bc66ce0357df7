package udt

import (
	"bytes"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire is what a relay does with datagrams.
type wire struct {
	loss   float64
	delay  time.Duration
	jitter time.Duration                 // more delay at random, so that datagrams overtake each other
	see    func(toServer bool, b []byte) // is shown each one as it comes; nil is nobody
}

// none tells that nothing is done with them.
func (w *wire) none() bool { return w.loss == 0 && w.delay == 0 && w.jitter == 0 && w.see == nil }

// relay passes datagrams between a client and a server.
type relay struct {
	front net.PacketConn
	back  net.Conn
	wire  wire
	wg    sync.WaitGroup
}

func newRelay(t *testing.T, server string, w wire) *relay {
	t.Helper()
	front, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp4", server)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{front: front, back: back, wire: w}
	client := make(chan net.Addr, 1)
	r.wg.Go(func() {
		defer back.Close()
		pass := r.passing(true, func(b []byte) { _, _ = back.Write(b) })
		b := make([]byte, 65536)
		for {
			n, from, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			select {
			case client <- from:
			default:
			}
			pass(b[:n])
		}
	})
	r.wg.Go(func() {
		var to net.Addr
		pass := r.passing(false, func(b []byte) { _, _ = front.WriteTo(b, to) })
		b := make([]byte, 65536)
		for {
			n, err := back.Read(b)
			if err != nil {
				if strings.Contains(err.Error(), "refused") {
					continue
				}
				return
			}
			if to == nil {
				to = <-client
			}
			pass(b[:n])
		}
	})
	t.Cleanup(func() { _ = front.Close(); r.wg.Wait() })
	return r
}

// passing gives what is done with each datagram of one direction.
func (r *relay) passing(toServer bool, send func([]byte)) func([]byte) {
	seed := uint64(1)
	if toServer {
		seed = 2
	}
	rnd := rand.New(rand.NewPCG(seed, seed))
	return func(b []byte) {
		if r.wire.see != nil {
			r.wire.see(toServer, b)
		}
		if rnd.Float64() < r.wire.loss {
			return
		}
		if r.wire.delay+r.wire.jitter == 0 {
			send(b)
			return
		}
		b = bytes.Clone(b)
		time.AfterFunc(r.wire.delay+time.Duration(rnd.Float64()*float64(r.wire.jitter)), func() { send(b) })
	}
}

func (r *relay) addr() string { return r.front.LocalAddr().String() }
