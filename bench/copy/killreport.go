package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomover/gomover/bench/ground"
)

// killTally counts trials of the row kill.
type killTally struct {
	done, identical, late int
	moments               map[moment]int
	victims               map[victim]int
	self                  int // runs that reconnected and ended well by themselves
	extra                 map[moment][]int64
	bad                   []string
	over                  int // trials with more payload than allowed
	wrong                 int // trials in which the final name had wrong content
}

// count enters a trial that was killed in time.
func (k *killTally) count(t trial, err error) {
	if k.moments == nil {
		k.moments, k.victims, k.extra = map[moment]int{}, map[victim]int{}, map[moment][]int64{}
	}
	k.done++
	k.moments[t.when]++
	k.victims[t.who]++
	if t.selfDone {
		k.self++
	}
	if errors.Is(err, errWrong) {
		k.wrong++
	}
	if err != nil {
		k.bad = append(k.bad, fmt.Sprintf("%s, %s: %v", t.who, t.when, err))
		return
	}
	k.identical++
	k.extra[t.when] = append(k.extra[t.when], t.extra)
	if t.extra > killExtra*int64(t.kills) {
		k.over++
		k.bad = append(k.bad, fmt.Sprintf("%s, %s: %d MiB beyond the file after %d kills", t.who, t.when, t.extra>>20, t.kills))
	}
}

// reportKill prints the row.
func (b *bench) reportKill(k killTally) {
	notes := []string{
		fmt.Sprintf("killed: near end %d, far end %d, both %d; at %s %d, in the %s %d, %s %d; %d drawn again because the run had ended",
			k.victims[killNear], k.victims[killFar], k.victims[killBoth],
			anyMoment, k.moments[anyMoment], lastMoment, k.moments[lastMoment], inResume, k.moments[inResume], k.late),
		fmt.Sprintf("%d killed runs reconnected and ended well by themselves; the command was repeated after them too", k.self),
	}
	var most int64
	for _, m := range []moment{anyMoment, lastMoment, inResume} {
		if len(k.extra[m]) == 0 {
			continue
		}
		slices.Sort(k.extra[m])
		greatest := slices.Max(k.extra[m])
		notes = append(notes, fmt.Sprintf("%s: %.1f MiB beyond the file in the median, %.1f at most", m,
			float64(k.extra[m][len(k.extra[m])/2])/(1<<20), float64(greatest)/(1<<20)))
		if m == inResume {
			greatest /= 2
		}
		most = max(most, greatest)
	}
	notes = append(notes, "beyond the file: all bytes of the loopback interface, with headers, acknowledgements and ssh")
	b.Add(ground.Result{
		Row:    "kill",
		Figure: fmt.Sprintf("%d of %d identical, %s wrong under the final name, at most %.1f MiB per kill beyond the file", k.identical, k.done, number(k.wrong), float64(most)/(1<<20)),
		Bar:    "all; <= 64 MiB", Value: float64(most) / (1 << 20), Limit: killExtra >> 20,
		Notes: append(notes, k.bad...), Pass: k.done > 0 && k.identical == k.done && k.over == 0,
	})
}

// number is a count for people.
func number(n int) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}
