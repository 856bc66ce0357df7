package history

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"
)

// FuzzRecord: whatever stands in a file of this user, what is foretold from it is a
// sensible number, and another job can be remembered beside it.
func FuzzRecord(f *testing.F) {
	r := Record{Pair: pair}
	for i := range 5 {
		r.Add(job(start.Add(time.Duration(i)*time.Hour), 1<<(20+5*i), 1e6*float64(i+1)))
	}
	r.SetFact("path", Fact{At: start, Value: json.RawMessage(`{"x":1}`)})
	good, err := encode(&r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, int64(1<<30))
	f.Add([]byte(`{"pair":{"From":"here","To":"there"},"jobs":[{"start":"0000-01-01T00:00:00Z","bytes":-1,"rate":{"median":1e-3,"p10":1e15,"p90":1e15},"rtt":3600,"start_up":1e-9}],"hours":{"-1":{"rate":1e300,"jobs":9223372036854775807},"15":{"rate":1e15,"jobs":9223372036854775807}},"facts":{"":{"value":null}}}`), int64(-1))
	f.Add(manyHours(), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, bytes int64) {
		r := decode(pair, text)
		if rate := r.Expect(start, bytes); rate != 0 && !sensible(rate) {
			t.Errorf("expected are %g bytes per second", rate)
		}
		if rate, low, high, holds := r.Next(start); rate != 0 && !sensible(rate) || low > high || holds < 0 || holds > 1 {
			t.Errorf("next are %g bytes per second, from %g to %g in %g", rate, low, high, holds)
		}
		if p := r.Prior(start, bytes); p.Jobs < 0 || p.Rate != 0 && !sensible(p.Rate) || !(p.Spread >= 0 && p.Spread < math.Inf(1)) || p.RTT < 0 || p.StartUp < 0 {
			t.Errorf("the prior is %+v", p)
		}
		r.Outcomes()
		r.Add(job(start, 1<<30, 1e6))
		r.SetFact("fact", Fact{At: start, Value: json.RawMessage("1")})
		again, err := encode(&r)
		if err != nil || len(again) > maxRecord {
			t.Fatalf("%d bytes are written, %v", len(again), err)
		}
		if back := decode(pair, again); back.Pair != pair || len(back.Jobs) != len(r.Jobs) {
			t.Errorf("%d jobs read back as %d", len(r.Jobs), len(back.Jobs))
		}
	})
}

// manyHours is a record with so many hours of a week that it has no room for anything else.
func manyHours() []byte {
	text := []byte(`{"pair":{"From":"here","To":"there"},"hours":{"0":{}`)
	for h := 1000; len(text) < maxRecord-40; h++ {
		text = fmt.Appendf(text, `,"%d":{"rate":1,"jobs":1}`, h)
	}
	return append(text, "}}"...)
}
