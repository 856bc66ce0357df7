package main

import (
	"fmt"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/tuner/retune"
	"github.com/gomover/gomover/tuner/retune/retunetest"
)

// wrongFor is by how much faster the other transport must be for a choice to count as
// wrong, and corrected how long it may take until that is mended.
const (
	wrongFor  = 1.3
	corrected = 15 * time.Second
)

// pair is one job with two transports, as two jobs of a simulation: streams of TCP, and
// UDT, for which stand streams of bbr. Its watch decides which of them there are.
type pair struct {
	watch    choice.Watch
	want     int // streams of the other transport
	have     int
	bytes    int64 // over it since the last look
	switched time.Duration
	switches int
}

// tcpSide is the part that is there from the start, and otherSide what is tried.
type (
	tcpSide   struct{ *pair }
	otherSide struct{ *pair }
)

// Start gives the streams that a far path begins with.
func (p tcpSide) Start() retune.Settings { return retune.Settings{Streams: 12, CC: "cubic"} }

// Start gives none.
func (p otherSide) Start() retune.Settings { return retune.Settings{CC: "bbr"} }

// Step asks the watch.
func (p tcpSide) Step(s retune.Sample) (d retune.Decision, ok bool) {
	v := choice.Sample{At: s.At, Span: s.Span, RTT: s.RTT, MinRTT: s.MinRTT, Acked: s.Acked, Segs: s.Segs, Lost: s.Lost, Streams: s.Streams, CC: "cubic", Wnd: s.Wnd,
		Other: p.bytes, OtherStreams: p.have}
	p.bytes = 0
	switch c := p.watch.Step(v); c.Action {
	case choice.Try:
		p.want = c.Setting.Streams
	case choice.Close:
		p.want = 0
	case choice.Commit:
		p.switches++
		p.switched = s.At
		return retune.Decision{Settings: retune.Settings{CC: "cubic"}}, true
	case choice.None, choice.Grow:
	}
	return d, false
}

// Step does what was asked for.
func (p otherSide) Step(s retune.Sample) (d retune.Decision, ok bool) {
	p.bytes += s.Acked
	p.have = s.Streams
	if p.have != p.want {
		return retune.Decision{Settings: retune.Settings{Streams: p.want, CC: "bbr"}}, true
	}
	return d, false
}

// switchRows tell how soon a copy leaves TCP for what is faster, and that it does not
// where it is not.
func switchRows(bool) []row {
	const gbit = units.Rate(1e9 / 8)
	var rows []row
	wrong, mended, right, left := 0, 0, 0, 0
	for _, p := range []retunetest.Path{
		{Rate: gbit, RTT: 100 * time.Millisecond, Loss: 1e-3}, {Rate: gbit, RTT: 50 * time.Millisecond, Loss: 1e-3}, {Rate: gbit, RTT: 200 * time.Millisecond, Loss: 1e-4},
		{Rate: gbit / 10, RTT: 200 * time.Millisecond, Loss: 1e-2}, {Rate: gbit / 2, RTT: 100 * time.Millisecond, Loss: 1e-3}, {Rate: gbit / 20, RTT: 300 * time.Millisecond, Loss: 1e-2},
		{Rate: gbit, RTT: 20 * time.Millisecond}, {Rate: gbit, RTT: 100 * time.Millisecond}, {Rate: gbit / 10, RTT: 50 * time.Millisecond}, {Rate: gbit / 2, RTT: 20 * time.Millisecond, Loss: 1e-5},
	} {
		s := retunetest.Scenario{ID: "switch", Path: p, Queue: 1, Noise: 0.05, Length: time.Minute}
		r, err := switched(s)
		if err != nil {
			return append(rows, failed("switch", err)...)
		}
		name := fmt.Sprintf("%.0f Mbit/s, %v, loss %.0e: TCP %.0f Mbit/s, UDT %.0f", 8*float64(p.Rate)/1e6, p.RTT, p.Loss, r.tcp*8/1e6, r.udt*8/1e6)
		got := "stayed"
		if r.pair.switches > 0 {
			got = fmt.Sprintf("left after %.1f s, %d switch", r.pair.switched.Seconds(), r.pair.switches)
		}
		rows = append(rows, row{id: "switch", what: name, got: got})
		if r.udt > wrongFor*r.tcp {
			wrong++
			if r.pair.switches == 1 && r.pair.switched <= corrected {
				mended++
			}
		} else {
			right++
			left += r.pair.switches
		}
	}
	return append(rows,
		row{no: 14, id: "wrong choices", what: "of those left for what is faster within 15 s, by one switch", got: fmt.Sprintf("%d of %d", mended, wrong), bar: "all", short: mended < wrong},
		row{no: 14, id: "right choices", what: "of those left", got: fmt.Sprintf("%d of %d", left, right), bar: "0", short: left > 0})
}

type switching struct {
	pair     *pair
	tcp, udt float64 // rates of each alone, in bytes per second
}

func switched(s retunetest.Scenario) (r switching, err error) {
	for _, alone := range []struct {
		set  retunetest.Fixed
		rate *float64
	}{{retunetest.Fixed{Streams: 12, CC: "cubic"}, &r.tcp}, {retunetest.Fixed{Streams: 2, CC: "bbr"}, &r.udt}} {
		one, err := retunetest.Run(s, 1, alone.set)
		if err != nil {
			return r, err
		}
		*alone.rate = one.Between(20*time.Second, s.Length)
	}
	r.pair = &pair{watch: choice.Watch{Permitted: []string{choice.UDT}, Ends: choice.Ends{CCs: []string{"cubic"}, Window: 16 << 20}, Left: 1 << 40}}
	_, err = retunetest.Compete(s, 1, retunetest.Entrant{Policy: tcpSide{r.pair}}, retunetest.Entrant{Policy: otherSide{r.pair}})
	return r, err
}
