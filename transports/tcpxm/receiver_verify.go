package tcpxm

import (
	"crypto/sha256"
	"time"

	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// controlsIn is which control datagrams have come.
type controlsIn struct {
	next  uint32          // first number that has not
	ahead map[uint32]bool // numbers behind it that have
}

// maxControlsAhead bounds what is remembered of those behind a gap.
const maxControlsAhead = 256

// note marks a number, and tells whether it is new.
func (c *controlsIn) note(n uint32) bool {
	d := int32(n - c.next)
	if d < 0 || c.ahead[n] || d > maxControlsAhead {
		return false
	}
	if c.ahead == nil {
		c.ahead = make(map[uint32]bool)
	}
	c.ahead[n] = true
	for c.ahead[c.next] {
		delete(c.ahead, c.next)
		c.next++
	}
	return true
}

// onControl takes digests and keys.
func (r *receiver) onControl(now time.Duration, b []byte) error {
	if r.state != established {
		return nil
	}
	var digests []segment.Digest
	var fresh []segment.GroupKey
	n, err := segment.ParseControl(b, func(d segment.Digest) { digests = append(digests, d) }, func(k segment.GroupKey) { fresh = append(fresh, k) })
	if err != nil {
		return err
	}
	r.ack.sayControls = true
	r.ack.soon(now)
	if !r.ctl.note(n) {
		return nil
	}
	for _, d := range digests {
		r.onDigest(d)
	}
	for _, k := range fresh {
		if r.epoch(k.Epoch) == nil {
			r.setGroupKey(k.Epoch, Secret(k.Secret))
		}
	}
	r.advance()
	return nil
}

// onDigest keeps a digest until its block is there.
func (r *receiver) onDigest(d segment.Digest) {
	length := r.blockLen()
	if d.Start%length != 0 || d.Len == 0 || int64(d.Len) > length || d.Start+int64(d.Len) <= r.data.next ||
		d.Start > r.rightEdge() || len(r.data.digests) >= maxDigests {
		return
	}
	if old, ok := r.data.digests[d.Start/length]; !ok || d.Len >= old.Len {
		r.data.digests[d.Start/length] = d
	}
}

// advance moves the front of what can be delivered: bytes that came sealed for this
// receiver, and blocks which are what the sender vouches for.
func (r *receiver) advance() {
	d := &r.data
	for r.symbol > 0 {
		from := d.next
		for e := range d.trusted.All() {
			if e.Lo <= d.next && d.next < e.Hi {
				d.next = e.Hi
			}
			break
		}
		if d.next == from && !r.verify() {
			break
		}
		d.trusted.Remove(0, d.next)
		d.got.Remove(0, d.next)
		r.forget()
	}
	r.stats.Verified = d.next
	d.data.release(r.keep())
	if r.whole() {
		r.ack.now = true
	}
}

// forget drops what was kept for blocks that are delivered.
func (r *receiver) forget() {
	b := r.blockOf(r.data.next)
	for _, at := range [...]int64{b - 1} {
		delete(r.data.digests, at)
		delete(r.data.parity, at)
	}
	if len(r.data.digests) > maxDigests/2 || len(r.data.parity) > maxCodedBlocks/2 {
		for at := range r.data.digests {
			if at < b {
				delete(r.data.digests, at)
			}
		}
		for at := range r.data.parity {
			if at < b {
				delete(r.data.parity, at)
			}
		}
	}
}

// verify checks the block at the front if all that its digest speaks for is there.
func (r *receiver) verify() bool {
	d := &r.data
	g, ok := d.digests[r.blockOf(d.next)]
	end := g.Start + int64(g.Len)
	if !ok || end <= d.next || !d.got.Contains(d.next, end) {
		return false
	}
	h := sha256.New()
	for off := g.Start; off < end; {
		v := d.data.view(off, int(end-off))
		h.Write(v)
		off += int64(len(v))
	}
	var sum [sha256.Size]byte
	if [segment.DigestLen]byte(h.Sum(sum[:0])) == g.Sum {
		d.next = end
		return true
	}
	r.refuse(g.Start, end)
	return false
}

// refuse forgets what came by the group of a block that somebody has forged, and has
// the sender send it again.
func (r *receiver) refuse(start, end int64) {
	d := &r.data
	r.stats.Refused++
	d.got.Remove(start, end)
	for e := range d.trusted.All() {
		if lo, hi := max(e.Lo, start), min(e.Hi, end); lo < hi {
			d.got.Add(lo, hi)
		}
	}
	delete(d.parity, start/r.blockLen())
	r.ack.refused, r.ack.sayRefused, r.ack.now = start, refusalTimes, true
}

// refusalTimes is how often a refusal is repeated, in as many acknowledgements.
const refusalTimes = 4

// onRepair takes a symbol of coded repair.
func (r *receiver) onRepair(now time.Duration, b []byte) error {
	var p segment.Parity
	if err := p.Parse(b); err != nil {
		return err
	}
	d := &r.data
	length := r.blockLen()
	block := p.Start / length
	switch {
	case int64(len(p.Symbol)) != r.symbol || p.K != coding.K || p.Start%length != 0 || p.Index >= coding.MaxParity,
		p.End <= p.Start:
		return segment.ErrMalformed
	case p.Start+length <= d.next || p.Start+length > r.rightEdge()+length || len(d.parity) >= maxCodedBlocks:
		return nil // not needed any more, or nothing can be done with it
	}
	r.stats.CodedPackets++
	c := d.parity[block]
	if c == nil {
		c = &codedBlock{symbols: make([][]byte, coding.MaxParity)}
		d.parity[block] = c
	}
	c.end = max(c.end, p.End)
	if c.symbols[p.Index] == nil {
		c.symbols[p.Index] = append([]byte(nil), p.Symbol...)
		c.n++
	}
	if r.solve(block) {
		r.ack.soon(now)
		r.advance()
	}
	return nil
}

// solve rebuilds what is missing of a block, if enough symbols are there.
func (r *receiver) solve(block int64) bool {
	d := &r.data
	c := d.parity[block]
	if c == nil {
		return false
	}
	start := block * r.blockLen()
	end := min(start+r.blockLen(), c.end)
	if end > r.rightEdge() || start < d.data.low {
		return false
	}
	missing := 0
	for i := range int64(coding.K) {
		lo := start + i*r.symbol
		if hi := min(lo+r.symbol, end); lo < end && !r.has(lo, hi) {
			missing++
		}
	}
	if missing == 0 || missing > c.n {
		return false
	}
	if d.coder == nil {
		var err error
		if d.coder, err = coding.New(coding.K); err != nil {
			return false
		}
	}
	data, memory := make([][]byte, coding.K), make([]byte, r.blockLen())
	for i := range data {
		lo := start + int64(i)*r.symbol
		hi := min(lo+r.symbol, end)
		if s := memory[int64(i)*r.symbol:][:r.symbol]; lo >= end {
			data[i] = s
		} else if r.has(lo, hi) {
			d.data.read(lo, s[:hi-lo])
			data[i] = s
		}
	}
	held := append([][]byte(nil), data...)
	if d.coder.Decode(data, c.symbols[:c.last()+1]) != nil {
		return false
	}
	for i := range data {
		if held[i] == nil {
			lo := start + int64(i)*r.symbol
			hi := min(lo+r.symbol, end)
			r.stats.Rebuilt += d.hold(lo, data[i][:hi-lo], false)
			r.ack.recent = lo
		}
	}
	delete(d.parity, block)
	return true
}

// last is the highest index of the symbols.
func (c *codedBlock) last() (n int) {
	for i, s := range c.symbols {
		if s != nil {
			n = i
		}
	}
	return n
}

// has tells that bytes are there: held, or delivered and still kept.
func (r *receiver) has(lo, hi int64) bool {
	lo = max(lo, r.data.next)
	return lo >= hi || r.data.got.Contains(lo, hi)
}
