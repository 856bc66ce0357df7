package anomaly

import "math"

// Constants of the test on losses.
const (
	// burst is how many times as many losses are tested for.
	burst = 4
	// lossSuspicion and lossCertainty are the thresholds of both stages on the
	// logarithm of the likelihood ratio.
	lossSuspicion, lossCertainty = 7, 14
	// lossSure is what the evidence between both leaves sure: 1 - e^-7.
	lossSure = 0.999
	// lossLimit is the share of segments whose loss in dire blocks in a row needs
	// no test.
	lossLimit = 0.20
	dire      = 3
	// leastLosses is the rate per block that is assumed at least, so that the
	// first loss of a clean path is no alarm.
	leastLosses = 0.05
)

// losses tests counts of loss events for a lasting rise, as a CUSUM of Poisson
// counts. The zero value is ready; it learns first.
type losses struct {
	counts []float64
	mean   float64
	spread float64 // variance over mean, at least 1: losses come in bursts
	know   bool
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
	l.sum += (float64(events*math.Log(high/l.mean)) - (high - l.mean)) / l.spread
	l.since++
	l.sumNow += events
	if l.sum <= 0 {
		l.sum, l.since, l.sumNow, l.told = 0, 0, 0, false
		l.mean += follow * (math.Max(leastLosses, math.Min(events, high)) - l.mean)
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

func (l *losses) learn() {
	m := mean(l.counts)
	var square float64
	for _, c := range l.counts {
		square += float64((c - m) * (c - m))
	}
	l.mean = math.Max(leastLosses, m)
	l.spread = math.Max(1, square/float64(len(l.counts)-1)/l.mean)
	l.know, l.counts = true, nil
}

// pause forgets evidence that is under way.
func (l *losses) pause() { l.sum, l.since, l.sumNow, l.told, l.bad = 0, 0, 0, false, 0 }
