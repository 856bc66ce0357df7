package netsim

// Jain is the index of how evenly rates are shared: 1 where all are alike, 1/n where one
// of n has everything, 0 where nobody has anything. Source: Jain, Chiu and Hawe, A
// Quantitative Measure of Fairness and Discrimination, DEC-TR-301, 1984.
func Jain(rates ...float64) float64 {
	sum, squares := 0.0, 0.0
	for _, r := range rates {
		sum += r
		squares += r * r
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(rates)) * squares)
}
