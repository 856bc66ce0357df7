package pull_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomover/gomover/replica/pull"
)

// TestSimulatedFaults: of bytes that are wrong here and there, or everywhere, none is
// kept, and who sends them is out after two blocks.
func TestSimulatedFaults(t *testing.T) {
	var stored, strikes []float64
	injected := 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 22))
		b := newBench(t)
		var places []*memory
		for range 2 {
			flips := make([]int, 1+r.IntN(20))
			for i := range flips {
				flips[i] = r.IntN(len(content))
			}
			injected += len(flips)
			places = append(places, changed(flips...))
		}
		places = append(places, stale(), good())
		r.Shuffle(len(places), func(i, k int) { places[i], places[k] = places[k], places[i] })
		_, err := b.run(t.Context(), pull.Job{Check: pieces()}, places...)
		got, rerr := os.ReadFile(filepath.Join(b.dir, "f"))
		if err != nil || rerr != nil {
			t.Fatalf("seed %d: %v, %v", seed, err, rerr)
		}
		wrong := 0
		for at := 0; at < len(content); at += piece {
			to := min(len(content), at+piece)
			if to > len(got) || !bytes.Equal(got[at:to], content[at:to]) {
				wrong++
			}
		}
		stored = append(stored, float64(wrong))
		most := 0
		for i := range places {
			most = max(most, strings.Count(strings.Join(b.said, "\n"), fmt.Sprintf("%c sent wrong bytes", 'a'+i)))
		}
		strikes = append(strikes, float64(most))
	}
	t.Logf("%d bytes were changed, beside places with nothing right", injected)
	for _, l := range []struct {
		what string
		of   []float64
		most float64
	}{{"wrong pieces that were stored", stored, 0}, {"wrong pieces until a place was out", strikes, 2}} {
		worst := 0.0
		for _, v := range l.of {
			worst = max(worst, v)
		}
		t.Logf("%s: median %.4f, 95%% %.4f, worst %.4f", l.what, l.of[len(l.of)/2], worst, worst)
		if worst > l.most {
			t.Errorf("%s: %v", l.what, l.of)
		}
	}
}
