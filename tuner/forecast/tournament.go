package forecast

import "math"

// Constants of the tournament. They were found by trying (docs/tuning.md).
const (
	// forget is what each scored bet leaves of the scores before it.
	forget = 0.97
	// shiftForget is what a change of the path leaves of the scores.
	shiftForget = 0.3
	// better is the share of the score of the level that another predictor's
	// must fall below to be followed. Bets are shorter than the
	// horizon, and the longer the stretch, the better the mean.
	better = 0.7
	// fading is the power of bet over horizon by which a predictor that has
	// proved itself on short bets is believed over a long horizon; the mean has
	// the rest.
	fading = 0.6
	// trusted is from how many scored bets on a predictor is believed more than
	// by half.
	trusted = 6
	// worstErr bounds the error of one bet, so that a stall, in which every
	// predictor is infinitely wrong, counts like an error of factor 10.
	worstErr = 2.3
	// stretches is into how many bets' lengths the past falls at least.
	stretches = 4
)

// tournament runs all predictors and follows the best one. The zero value is
// ready.
type tournament struct {
	series series
	now    float64 // seconds counted
	bytes  float64 // in all
	bets   []bet
	next   float64 // when to bet again
	score  []float64
	weight float64
	scored int
	leader int // 0: the level
}

// bet is what all predictors said at one instant of the stretch that followed.
type bet struct {
	at, due float64
	bytes   float64
	said    []float64
}

// add takes the rate of the next second and how many seconds are left.
func (t *tournament) add(rate, horizon float64) {
	t.series.add(rate)
	t.now++
	t.bytes += rate
	for len(t.bets) > 0 && t.bets[0].due <= t.now {
		t.settle(t.bets[0])
		t.bets = t.bets[1:]
	}
	if t.now < t.next {
		return
	}
	length := t.length(horizon)
	b := bet{at: t.now, due: t.now + length, bytes: t.bytes, said: t.say(length)}
	// A shorter horizon may make later bets due earlier.
	i := len(t.bets)
	for i > 0 && t.bets[i-1].due > b.due {
		i--
	}
	t.bets = append(t.bets[:i], append([]bet{b}, t.bets[i:]...)...)
	t.next = t.now + math.Max(1, length/4)
}

// length is that of a bet for a horizon.
func (t *tournament) length(horizon float64) float64 {
	return math.Round(math.Max(1, math.Min(horizon, t.now/stretches)))
}

// say asks all predictors for the next h seconds.
func (t *tournament) say(h float64) []float64 {
	said := make([]float64, len(predictors))
	for i, p := range predictors {
		said[i] = p.of(&t.series, h)
	}
	return said
}

// settle scores a bet whose stretch has passed.
func (t *tournament) settle(b bet) {
	if t.score == nil {
		t.score = make([]float64, len(predictors))
	}
	got := (t.bytes - b.bytes) / (b.due - b.at)
	for i, said := range b.said {
		t.score[i] = forget*t.score[i] + logErr(got, said)
	}
	t.weight = forget*t.weight + 1
	t.scored++
	best := 0
	for i, s := range t.score {
		if s < t.score[best] {
			best = i
		}
	}
	t.leader = 0
	if t.score[best] < better*t.score[0] {
		t.leader = best
	}
}

// logErr is how far said is from got, as a ratio's logarithm.
func logErr(got, said float64) float64 {
	if got <= 0 && said <= 0 {
		return 0
	}
	if got <= 0 || said <= 0 {
		return worstErr
	}
	return math.Min(worstErr, math.Abs(math.Log(got/said)))
}

// mean forecasts the mean rate over the next h seconds; 0 before the first
// rate.
func (t *tournament) mean(h float64) float64 {
	if t.series.count == 0 {
		return 0
	}
	mean := t.series.level()
	if t.leader == 0 {
		return mean
	}
	trust := math.Min(1, math.Pow(t.length(h)/h, fading))
	if t.scored < trusted {
		trust = math.Min(trust, 0.5)
	}
	// A predictor that looks at a stall only says that it goes on for ever.
	best := math.Max(mean/10, predictors[t.leader].of(&t.series, h))
	return math.Pow(best, trust) * math.Pow(mean, 1-trust)
}

// shift marks a change of the path: a predictor that has seen the rates since
// then only takes part, and the scores before count less.
func (t *tournament) shift() {
	t.series.mark()
	for i := range t.score {
		t.score[i] *= shiftForget
	}
	t.weight *= shiftForget
}
