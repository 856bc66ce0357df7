package udt

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzGreeter says anything to a listener: it answers with as much as it got at
// most, and lets nobody in who was not given a cookie.
func FuzzGreeter(f *testing.F) {
	for _, v := range vectors[:4] {
		f.Add(unhex(f, v.text), uint16(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, ago uint16) {
		cfg, err := Config{}.validate()
		if err != nil {
			t.Fatal(err)
		}
		g := newGreeter(cfg, [32]byte{9})
		var out outbox
		h, body, err := parseHeader(b)
		if err != nil {
			return
		}
		from := netip.MustParseAddrPort("192.0.2.1:5")
		hs, ok := g.greet(time.Minute, from, h, body, &out)
		if ok {
			t.Errorf("let in with the cookie %#x", hs.cookie)
		}
		for _, d := range out.ds {
			if len(d.B) > len(b) || d.Peer != from {
				t.Errorf("%d bytes answered by %d to %v", len(b), len(d.B), d.Peer)
			}
		}
		// Whoever comes back with what he was given is let in, for a while.
		if len(out.ds) == 1 {
			answer, err := parseHandshake(out.ds[0].B[headerLen:])
			if err != nil || answer.req != reqClient {
				t.Fatalf("%+v, %v", answer, err)
			}
			out.reset()
			answer.req, answer.version, answer.kind = reqConclude, version, typeStream
			h, body, _ := parseHeader(answer.append(nil, 0))
			later := time.Duration(ago) * 10 * ms
			_, ok = g.greet(time.Minute+later, from, h, body, &out)
			if want := answer.mss >= minMSS && answer.window > 0; later < cookieEpoch && ok != want || later > 2*cookieEpoch && ok {
				t.Errorf("let in %v later: %v, want %v", later, ok, want)
			}
		}
	})
}

// hostile is the end of a connection that sends what it likes.
type hostile struct {
	t    *testing.T
	pc   net.PacketConn
	to   net.Addr
	id   uint32 // of the other end
	isn  seq
	wg   sync.WaitGroup
	seen atomic.Int64 // packets
}

// connect makes a connection as clients do, then throws away what comes. It gives
// the last packet that was sent.
func (p *hostile) connect(cfg Config) (last []byte) {
	hs := handshake{version: version, kind: cfg.socketType(), isn: p.isn, mss: 1500, window: 8192, req: reqClient, id: 77}
	b := make([]byte, 2000)
	for hs.req != reqConclude || p.id == 0 {
		last = hs.append(nil, 0)
		p.say(last)
		n, _, err := p.pc.ReadFrom(b)
		if err != nil {
			p.t.Fatal(err)
		}
		answer, err := parseHandshake(b[headerLen:n])
		if err != nil {
			p.t.Fatal(err)
		}
		if hs.cookie, hs.req = answer.cookie, reqConclude; answer.req == reqConclude {
			p.id = answer.id
		}
	}
	p.wg.Go(func() {
		for {
			if _, _, err := p.pc.ReadFrom(b); err != nil {
				return
			}
			p.seen.Add(1)
		}
	})
	return last
}

func (p *hostile) say(b []byte) {
	if _, err := p.pc.WriteTo(b, p.to); err != nil {
		p.t.Error(err)
	}
}

// packet makes a packet of six bytes: a kind, a distance from the first number,
// and two that mean different things.
func (p *hostile) packet(op []byte) []byte {
	at := p.isn.add(int64(int8(op[1]))*int64(1+op[2]%4) + int64(op[2]>>4))
	last := at.add(int64(op[3] % 64))
	switch op[0] % 15 {
	case 0, 1, 2:
		body := make([]byte, []int{0, 1, 7, 1455, 1456, 1456, 1456, 1456}[op[4]%8])
		return append(dataHeader(at, msgWord(op[3])<<24&^msgNoMask|msgWord(op[4]>>3%4), 0, p.id).append(nil), body...)
	case 3:
		return ack{sub: uint32(op[3]), form: ackFull, next: at, rtt: uint32(op[4]) << 12, free: uint32(op[3]), speed: 9, capacity: 9}.append(nil, p.id)
	case 4:
		return ack{form: ackLight, next: at}.append(nil, p.id)
	case 5:
		b := appendRange(controlHeader(kindNak, 0, p.id).append(nil), seqRange{at, last})
		return appendRange(b, seqRange{at.add(int64(int8(op[4]))), last.add(3)})
	case 6:
		return appendEmpty(nil, kindAck2, uint32(op[3]), p.id)
	case 7, 8:
		return drop{msgNo(op[4] % 4), seqRange{at, last}}.append(nil, p.id)
	case 9:
		hs := handshake{isn: at, mss: int32(op[3]) << 4, window: int32(op[4]), req: request(int8(op[4])), id: 77}
		return hs.append(nil, p.id*uint32(op[3]&1))
	case 10:
		return appendEmpty(nil, []kind{kindKeepAlive, kindWarning, kindError, kindUser, 99}[op[3]%5], uint32(op[4]), p.id)
	case 11:
		if op[3] == 0 {
			return appendEmpty(nil, kindShutdown, 0, p.id)
		}
	}
	h := controlHeader(kindUser, uint32(op[3]), p.id)
	switch op[0] % 15 {
	case 13: // pieces that fit and that do not
		h.w0, h.w1 = h.w0|extPiece, uint32(at)
		piece := []byte{op[3] & 0x3f, op[4], op[3] >> 5, op[4]}
		return append(append(h.append(nil), piece...), make([]byte, 1+int(op[4])*5)...)
	case 14:
		h.w0 |= extProbe + uint32(op[4]%2)
		return append(h.append(nil), make([]byte, 4+int(op[4]/2)*8)...)
	}
	return append(controlHeader(kind(op[3]), uint32(op[4]), p.id).append(nil), op...)
}

// FuzzEndpoint lets the peer of a connection send any packets in any order, with
// pauses, while its user reads, writes and closes. It must neither panic, nor
// hang, nor leave anything running.
func FuzzEndpoint(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0xe0, 4, 0, 0, 1, 0, 0xe0, 4, 0, 3, 20, 0, 99, 9, 20}, false)
	f.Add([]byte{0, 1, 0, 0xc0, 13, 0, 7, 0, 0, 0, 1, 0, 7, 255, 0, 9, 2, 0, 5, 3, 0, 9, 4, 100}, true)
	f.Add([]byte{0, 4, 0, 0x40, 28, 1, 7, 3, 0, 1, 3, 1, 11, 0, 0, 0, 0, 200}, true)
	f.Add([]byte{13, 0, 0, 0, 200, 1, 13, 0, 0, 0x20, 200, 1, 14, 0, 0, 0, 7, 1, 14, 0, 0, 0, 6, 1}, false)
	f.Fuzz(attack)
}

// attack is one run of FuzzEndpoint.
func attack(t *testing.T, ops []byte, messages bool) {
	ops = ops[:min(len(ops), 6*200)]
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		cfg := Config{Messages: messages, FindMTU: !messages, Linger: 2 * time.Second, RecvBuffer: 100000, SendBuffer: 200000}
		l, err := Listen(t.Context(), b, "udp4", b.Addr(false).String()+":9000", cfg)
		if err != nil {
			t.Fatal(err)
		}
		pc, err := a.ListenPacket(t.Context(), "udp4", a.Addr(false).String()+":0")
		if err != nil {
			t.Fatal(err)
		}
		p := &hostile{t: t, pc: pc, to: l.Addr(), isn: seqMask - 20}
		p.connect(cfg)
		c, err := l.AcceptContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, c) })
		wg.Go(func() { _, _ = c.Write(make([]byte, 150000)) })
		for ; len(ops) >= 6; ops = ops[6:] {
			p.say(p.packet(ops))
			time.Sleep(time.Duration(ops[5]) * ms)
		}
		time.Sleep(time.Second)
		_ = c.Close()
		wg.Wait()
		_ = pc.Close()
		p.wg.Wait()
	})
}
