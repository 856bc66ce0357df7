package mover

import (
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/history"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/replica/pull"
)

// pasts is what is remembered of the sources of a pull, and what is to be. Hosts have
// one record with copies from them, mirrors one by their names. Any goroutine may use
// it.
type pasts struct {
	file *history.File // nil: nothing is remembered

	mu      sync.Mutex // guards what follows
	known   map[history.Pair]*known
	order   []history.Pair
	sources map[pull.Source]*known
}

// known is a source's record, and what this run adds to it.
type known struct {
	before  history.Record
	loaded  chan struct{} // closed when before is set
	way     string        // transport
	files   int64
	bytes   int64
	rates   []float64
	took    time.Duration
	start   time.Duration // 0: it could never be asked
	latency time.Duration
	fact    pathFact // how its data travels; zero: nothing was learned
}

// newPasts makes the memory of a pull.
func newPasts(j *Job) *pasts {
	p := &pasts{known: make(map[history.Pair]*known), sources: make(map[pull.Source]*known)}
	if j.StateDir != "" && j.Probe != ProbeOff {
		p.file = history.At(filepath.Join(j.StateDir, historyName))
	}
	return p
}

// pairOfReplica is a replica's host and this one; false for those on this machine.
func pairOfReplica(r *Replica) (history.Pair, bool) {
	if r.Host != "" {
		return pairOf(r.Host, r.Port, false), true
	}
	u, err := url.Parse(r.URL)
	if r.URL == "" || err != nil || u.Hostname() == "" {
		return history.Pair{}, false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return history.Pair{From: u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port), To: thisHost}, true
}

// of begins to read what is remembered of a replica's host, and gives who tells it; nil
// for nothing. What the source does is that host's.
func (p *pasts) of(r *Replica, source pull.Source) func(int64) replica.Past {
	pair, ok := pairOfReplica(r)
	if !ok || p.file == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.known[pair]
	if k == nil {
		k = &known{loaded: make(chan struct{})}
		p.known[pair] = k
		p.order = append(p.order, pair)
		go func() {
			defer close(k.loaded)
			k.before, _ = p.file.Load(pair) // without, the run goes as the first one does
		}()
	}
	p.sources[source] = k
	return k.past
}

// past is what may be expected of a source that is asked for so many bytes.
func (k *known) past(bytes int64) replica.Past {
	select {
	case <-k.loaded:
	case <-time.After(factPatience):
		return replica.Past{}
	}
	e := k.before.Prior(time.Now(), bytes)
	return replica.Past{Runs: e.Jobs, Rate: units.Rate(e.Rate), Spread: e.Spread, Start: e.StartUp, Latency: e.RTT}
}

// fact is how data travelled from a host when the last run ended; zero if that is not
// known.
func (p *pasts) fact(host string, port int) pathFact {
	p.mu.Lock()
	k := p.known[pairOf(host, port, false)]
	p.mu.Unlock()
	if k == nil {
		return pathFact{}
	}
	select {
	case <-k.loaded:
	case <-time.After(factPatience):
		return pathFact{}
	}
	f, _ := pathFactOf(&k.before, time.Now())
	return f
}

// learned notes how data travels from a host, for the next run.
func (p *pasts) learned(host string, port int, f pathFact) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.known[pairOf(host, port, false)]; k != nil {
		k.fact = f
	}
}

// gave adds what a source did for a file. way is how its bytes travelled.
func (p *pasts) gave(source pull.Source, way string, did pull.PlaceResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.sources[source]
	if k == nil || did.Bytes == 0 {
		return
	}
	k.way, k.files, k.bytes, k.took = way, k.files+1, k.bytes+did.Bytes, k.took+did.Seen.Took
	if len(k.rates) < mostSourceRates {
		k.rates = append(k.rates, did.Seen.Rates...)
	}
	if k.start == 0 {
		k.start = did.Start
	}
	if did.Latency > 0 && (k.latency == 0 || did.Latency < k.latency) {
		k.latency = did.Latency
	}
}

// mostSourceRates bounds what is kept of the rates of a source over many files.
const mostSourceRates = 4096

// remember keeps what the sources did that were at work for long enough. It changes
// nothing for the job if that does not work.
func (p *pasts) remember(began time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var pairs []history.Pair
	for _, pair := range p.order {
		if k := p.known[pair]; k.took >= worthwhile && len(k.rates) > 0 {
			pairs = append(pairs, pair)
		}
	}
	if p.file == nil || len(pairs) == 0 {
		return nil
	}
	return p.file.ChangeAll(pairs, began, func(i int, r *history.Record) {
		k := p.known[pairs[i]]
		rates := slices.Sorted(slices.Values(k.rates))
		at := func(q float64) float64 { return rates[int(q*float64(len(rates)-1)+0.5)] }
		r.Add(history.Job{Start: began.UTC(), Seconds: k.took.Seconds(), Bytes: k.bytes, Files: k.files, Transport: k.way,
			Rate: history.Rates{Median: at(0.5), P10: at(0.1), P90: at(0.9)}, RTT: k.latency.Seconds(), StartUp: k.start.Seconds()})
		if k.fact.Rate = at(0.5); k.fact.useful() {
			k.fact.keep(r, began)
		}
	})
}
