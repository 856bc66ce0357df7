package anomaly

import "math"

// Constants of the test on losses.
const (
	// burst is how many times as many losses are tested for.
	burst = 4
	// lossSuspicion and lossCertainty are the thresholds of both stages on the
	// logarithm of the likelihood ratio.
	lossSuspicion, lossCertainty = 7, 14
	// lossFollow is how much a block counts at least in what is normal: less than
	// one of rates, since losses are few.
	lossFollow = 0.003
	// lossOutlier is how many deviations beyond what is tested for a block still counts
	// in full.
	lossOutlier = 4
	// lossSure is what the evidence between both leaves sure: 1 - e^-7.
	lossSure = 0.999
	// lossLimit is the share of segments whose loss in dire blocks in a row needs
	// no test.
	lossLimit = 0.20
	dire      = 3
	// leastLosses is the rate per block that is assumed at least, so that the
	// first loss of a clean path is no alarm.
	leastLosses = 0.05
	// burstSpread is a variance over the mean that says of losses that they come in
	// bursts. Their tails are long, so they count burstDoubt times.
	burstSpread, burstDoubt = 1.5, 1.5
)

// losses tests counts of loss events for a lasting rise, as a CUSUM of Poisson
// counts. The zero value is ready; it learns first.
type losses struct {
	counts []float64
	mean   float64
	spread float64 // variance over mean, at least 1: losses come in bursts
	know   bool
	blocks int // that are learned from
	sum    float64
	since  int
	told   bool // the first stage's alarm has been given
	bad    int
	sumNow float64 // of counts since the rise began
}

// add takes the loss events and the share of segments lost in a block.
func (l *losses) add(events, share float64) (v verdict, since int) {
	if share > lossLimit {
		l.bad++
	} else {
		l.bad = 0
	}
	if !l.know {
		l.counts = append(l.counts, events)
		if len(l.counts) >= learned {
			l.learn()
		}
		return calm, 0
	}
	if l.bad == dire {
		return l.accept(dire)
	}
	high := burst*l.mean + 1
	l.sum += (float64(events*math.Log(high/l.mean)) - (high - l.mean)) / l.divisor()
	l.since++
	l.sumNow += events
	if !l.told {
		// Blocks with few losses and with many, else the mean sinks.
		l.follow(math.Min(events, high+lossOutlier*math.Sqrt(float64(l.spread*l.mean))))
	}
	if l.sum <= 0 {
		l.sum, l.since, l.sumNow, l.told = 0, 0, 0, false
		return calm, 0
	}
	switch {
	case l.sum > lossCertainty && l.since >= dire:
		return l.accept(l.since)
	case l.sum > lossSuspicion && !l.told:
		l.told = true
		return suspected, l.since
	}
	return calm, 0
}

// accept takes the new rate for the normal one.
func (l *losses) accept(since int) (verdict, int) {
	if l.since > 0 {
		l.mean = math.Max(l.mean, l.sumNow/float64(l.since))
	}
	l.sum, l.since, l.sumNow, l.told = 0, 0, 0, false
	return confirmed, since
}

// divisor is by how much evidence counts less since losses come in bursts.
func (l *losses) divisor() float64 {
	if l.spread > burstSpread {
		return burstDoubt * l.spread
	}
	return l.spread
}

// follow lets what is normal move slowly.
func (l *losses) follow(events float64) {
	l.blocks++
	gain := math.Max(lossFollow, 1/float64(l.blocks))
	off := events - l.mean
	l.mean = math.Max(leastLosses, l.mean+gain*off)
	l.spread = math.Max(1, l.spread+gain*(float64(off*off)/l.mean-l.spread))
}

func (l *losses) learn() {
	m := mean(l.counts)
	var square float64
	for _, c := range l.counts {
		square += float64((c - m) * (c - m))
	}
	l.mean = math.Max(leastLosses, m)
	l.spread = math.Max(1, square/float64(len(l.counts)-1)/l.mean)
	l.know, l.counts, l.blocks = true, nil, learned
}

// pause forgets evidence that is under way.
func (l *losses) pause() { l.sum, l.since, l.sumNow, l.told, l.bad = 0, 0, 0, false, 0 }
