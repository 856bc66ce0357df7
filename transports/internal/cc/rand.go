package cc

// random is a generator of its own for each controller, so that what it decides
// follows from its seed: SplitMix64 (Steele, Lea and Flood, "Fast splittable
// pseudorandom number generators", 2014).
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// float is evenly distributed in [0, 1).
func (r *random) float() float64 { return float64(r.next()>>11) / (1 << 53) }
