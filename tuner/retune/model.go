package retune

import (
	"math"
	"time"
)

// payMost bounds how long a trial on a full path waits for CUBIC.
const payMost = 8 * time.Second

// cubicPeriod is how long CUBIC takes from a loss back to the window that it had
// (RFC 9438, equation 2): what a change brings shows only then.
func cubicPeriod(cwnd int64, mss int) time.Duration {
	return time.Duration(math.Cbrt(0.75*float64(cwnd)/float64(mss)) * float64(time.Second))
}

// cubicRate is how fast one stream under CUBIC goes, in bytes per second, where a
// share p of its segments of mss bytes meets a loss: the larger of Reno's mean
// window, 1.22/sqrt(p) (M. Mathis, J. Semke, J. Mahdavi, T. Ott, The macroscopic
// behavior of the TCP congestion avoidance algorithm, 1997), and CUBIC's, 1.054
// (RTT/p)^(3/4) (RFC 9438, section 5.1, with its constants). Without losses it is
// infinite.
func cubicRate(p float64, rtt time.Duration, mss int) float64 {
	r := rtt.Seconds()
	if p <= 0 || r <= 0 {
		return math.Inf(1)
	}
	window := max(1.22/math.Sqrt(p), 1.054*math.Pow(r/p, 0.75))
	return window * float64(mss) / r
}
