package estimate

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// FuzzTrain: whatever the far end reports of trains, nothing comes out but rates
// within bounds, and the planner ends within its budget.
func FuzzTrain(f *testing.F) {
	f.Add(uint16(100), uint16(1500), int64(0), int64(0), []byte{})
	even := []byte{}
	for i := range 200 {
		even = binary.BigEndian.AppendUint32(even, uint32(i))
		even = binary.BigEndian.AppendUint64(even, uint64(i*12000))
	}
	f.Add(uint16(200), uint16(1500), int64(1e5), int64(1e9), even)
	f.Fuzz(func(t *testing.T, sent, size uint16, took, limit int64, raw []byte) {
		tr := Train{Sent: int(sent), Size: int(size), Took: time.Duration(took), Limit: units.Rate(limit)}
		for ; len(raw) >= 12; raw = raw[12:] {
			tr.Arrivals = append(tr.Arrivals, Arrival{binary.BigEndian.Uint32(raw), time.Duration(binary.BigEndian.Uint64(raw[4:]))})
		}
		d := tr.Dispersion()
		if d.Rate < 0 || d.Rate > maxRate || d.SendRate < 0 || d.SendRate > maxRate || d.Lost < 0 || d.Lost > tr.Sent && tr.Sent > 0 {
			t.Fatalf("got %+v", d)
		}
		if (d.Verdict == Unusable) != (d.Rate == 0) {
			t.Fatalf("%v with rate %v", d.Verdict, d.Rate)
		}
		p := Planner{Size: int(size), Limit: tr.Limit, Bytes: 8 << 20, Time: time.Second}
		for n := 0; ; n++ {
			s, ok := p.Next()
			if !ok {
				break
			}
			if n > 64 || s.Packets <= 0 || s.Packets > maxTrain || s.Pace < 0 || s.Times < 1 || s.Times > 3 || s.Apart < 0 || s.Times > 1 && s.Apart < betweenTrains {
				t.Fatalf("step %d: %+v", n, s)
			}
			for range s.Times {
				p.Add(s, d)
			}
		}
		if p.Spent() > p.Bytes {
			t.Fatalf("%d bytes of %d spent", p.Spent(), p.Bytes)
		}
		c := p.Capacity()
		if c.Rate < 0 || c.Rate > maxRate || c.Available < 0 || c.Available > maxRate || BDP(c.Rate, time.Hour) < 0 {
			t.Fatalf("got %+v", c)
		}
	})
}

// FuzzOrder: numbers in any order are counted, each once.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var seqs []uint32
		for ; len(raw) >= 4; raw = raw[4:] {
			seqs = append(seqs, binary.BigEndian.Uint32(raw))
		}
		o := Reordering(seqs)
		if o.Received+o.Repeated != len(seqs) || o.Reordered > o.Received || o.Extent > len(seqs) || o.Share() > 1 {
			t.Fatalf("got %+v of %v", o, seqs)
		}
	})
}
