package probe

import (
	"context"
	"net/netip"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/units"
)

// Constants of our choice.
const (
	// burst is how many packets of a train go to the kernel as one: 64 KiB of the
	// usual ones.
	burst = 44
	// maxPackets bounds a train, in packets; see estimate.Planner.
	maxPackets = 16384
	// maxTrainBytes bounds a train, in bytes: it is made in memory before it is sent.
	maxTrainBytes = 32 << 20
	// tick is how often a paced train goes on.
	tick = time.Millisecond
)

// outgoing is a train to send.
type outgoing struct {
	to      netip.AddrPort
	number  uint16
	packets int
	len     int        // bytes of a datagram
	pace    units.Rate // of datagrams; 0: none
}

// send sends a train, and gives how many packets went out and how long that took,
// from the first to the last one: what a pace made of it, rather than of its last
// burst. What the socket refuses ends the train.
func (p *port) send(ctx context.Context, o outgoing) (packets int, took time.Duration, err error) {
	all := make([]byte, o.packets*o.len)
	p.mu.Lock()
	for i := range o.packets {
		p.mine.write(all[i*o.len:(i+1)*o.len], head{kind: kindTrain, train: o.number, seq: uint32(i)})
	}
	p.mu.Unlock()
	began := time.Now()
	var lastAt time.Duration // when the last burst began
	before := 0              // packets before that
	for packets < o.packets && ctx.Err() == nil {
		n := o.packets - packets
		if o.pace > 0 {
			// What is due by now, and one packet more.
			due := int(time.Since(began).Seconds()*float64(o.pace)/float64(o.len)) + 1
			if due <= packets {
				time.Sleep(tick)
				continue
			}
			n = min(n, due-packets)
		}
		lastAt, before = time.Since(began), packets
		sent, err := p.burst(o, all[packets*o.len:(packets+n)*o.len])
		packets += sent
		if err != nil {
			return packets, 0, err
		}
	}
	took = time.Since(began)
	if o.pace > 0 {
		took = 0
		if before > 0 {
			took = lastAt * time.Duration(packets-1) / time.Duration(before)
		}
	}
	return packets, took, ctx.Err()
}

// burst sends packets back to back, as trains where the system can.
func (p *port) burst(o outgoing, b []byte) (packets int, err error) {
	var ds []netx.Datagram
	for len(b) > 0 {
		n := min(len(b), burst*o.len, 65000/o.len*o.len)
		ds = append(ds, netx.Datagram{B: b[:n], Segment: o.len, Peer: o.to})
		b = b[n:]
	}
	sent, err := p.conn.WriteBatch(ds)
	for _, d := range ds[:sent] {
		packets += len(d.B) / o.len
	}
	return packets, err
}

// knock sends datagrams that show that a port is reached.
func knock(conn netx.BatchConn, s *sealer, to netip.AddrPort, times int) (sent int) {
	b := make([]byte, shortest)
	for range times {
		s.write(b, head{kind: kindKnock})
		if _, err := conn.WriteBatch([]netx.Datagram{{B: b, Peer: to}}); err == nil {
			sent++
		}
	}
	return sent
}
