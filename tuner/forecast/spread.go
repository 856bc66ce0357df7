package forecast

import "math"

// spreadLen is how many bins the past has at most.
const spreadLen = 2048

// spread tells how much the mean rate over a stretch differs from that over the
// stretch before, for stretches of all lengths: the Allan deviation of ln(rate).
// The past is kept in bins of equal width; when there are spreadLen, each two
// become one. The zero value is ready.
type spread struct {
	cum   []float64 // bytes up to the end of each bin; cum[0] is 0
	width float64   // of a bin in seconds
	part  float64   // bytes of the bin that is not full
	have  float64   // seconds of it
}

// add takes the rate of the next second.
func (s *spread) add(rate float64) {
	if s.cum == nil {
		s.cum, s.width = append(make([]float64, 0, spreadLen+1), 0), 1
	}
	s.part += rate
	if s.have++; s.have < s.width {
		return
	}
	s.cum = append(s.cum, s.cum[len(s.cum)-1]+s.part)
	s.part, s.have = 0, 0
	if len(s.cum) > spreadLen {
		for i := 1; 2*i < len(s.cum); i++ {
			s.cum[i] = s.cum[2*i]
		}
		s.cum = s.cum[:(len(s.cum)+1)/2]
		s.width *= 2
	}
}

// rates are those of the bins in bytes per second.
func (s *spread) rates() []float64 {
	var l []float64
	for i := 1; i < len(s.cum); i++ {
		l = append(l, (s.cum[i]-s.cum[i-1])/s.width)
	}
	return l
}

// deviation is the root mean square of ln(mean of the next n bins / mean of the
// n bins before), over stretches that overlap. ok is false when no two
// stretches with bytes in them fit.
func (s *spread) deviation(n int) (dev float64, ok bool) {
	step := max(1, n/4)
	var sum float64
	count := 0
	for i := 0; i+2*n < len(s.cum); i += step {
		a, b := s.cum[i+n]-s.cum[i], s.cum[i+2*n]-s.cum[i+n]
		switch {
		case a > 0 && b > 0:
			d := math.Log(b / a)
			sum += float64(d * d)
		case a > 0 || b > 0:
			sum += worstErr * worstErr
		}
		count++
	}
	if count < 2 {
		return 0, false
	}
	return math.Sqrt(sum / float64(count)), true
}

// Constants of the extrapolation beyond what has been seen.
const (
	// pairs is how many independent pairs of stretches a deviation needs to be
	// extrapolated from.
	pairs = 4
	// leastSlope is that of white noise, whose mean over n seconds varies with
	// the root of 1/n; mostSlope lies below the +0.5 of a random walk, which a
	// path with a capacity is not for long.
	leastSlope, mostSlope = -0.5, 0.35
	// shrink draws slopes, which few pairs give, towards 0.
	shrink = 0.7
)

// over is the deviation of the mean over the next h seconds from that seen so
// far.
func (s *spread) over(h float64) float64 {
	bins := len(s.cum) - 1
	star, dev := 0, 0.0
	for n := 1; 2*n <= bins; n *= 2 {
		d, ok := s.deviation(n)
		if !ok || (star > 0 && bins < pairs*n) {
			break
		}
		star, dev = n, d
		if h <= float64(n)*s.width {
			return dev
		}
	}
	if star == 0 {
		return 0
	}
	slope := 0.0
	if short, ok := s.deviation(max(1, star/4)); ok && star >= 4 && short > 0 && dev > 0 {
		slope = shrink * math.Max(leastSlope, math.Min(mostSlope, math.Log(dev/short)/math.Log(4)))
	}
	return dev * math.Pow(h/(float64(star)*s.width), slope)
}
