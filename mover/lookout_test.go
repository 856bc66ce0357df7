package mover

import (
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/history"
	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/topology"
	"github.com/gomover/gomover/probe"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/host"
	"github.com/gomover/gomover/sshboot"
)

// told are the events of a job, in their order.
type told struct {
	mu   sync.Mutex
	list []events.Event
}

func (r *told) Record(_ time.Time, e events.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
}

// take gives what came since the last call.
func (r *told) take() []events.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	return list
}

// hears is an end that notes what it is told of the path.
type hears struct {
	end
	known chan engine.Control // has room
}

func (h hears) Control(c engine.Control) error {
	if c.Known != nil {
		h.known <- c
	}
	return nil
}

// pipeLink is one end of a link of messages in memory.
type pipeLink struct {
	in, out chan []byte // have room; nobody closes them
	done    chan struct{}
	once    *sync.Once // closes done
}

func (l *pipeLink) Send(parts ...[]byte) error {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	select {
	case <-l.done:
		return net.ErrClosed
	case l.out <- b:
		return nil
	}
}

func (l *pipeLink) Recv() ([]byte, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	case b := <-l.in:
		return b, nil
	}
}

func (l *pipeLink) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// measureOn probes over a simulated network, from h0 to h1.
func measureOn(n *netsim.Network) measure {
	return func(ctx context.Context, p probe.Params) (*probe.Report, error) {
		ctx, cancel := context.WithTimeout(ctx, besideLimit)
		defer cancel()
		x, y, done, once := make(chan []byte, 64), make(chan []byte, 64), make(chan struct{}), new(sync.Once)
		near, far := &pipeLink{x, y, done, once}, &pipeLink{y, x, done, once}
		h0, h1 := n.Node("h0"), n.Node("h1")
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			_ = probe.Serve(context.WithoutCancel(ctx), far, &probe.Params{Network: h1, Own: []netip.Addr{h1.Addr(false)}, Facts: func(host.Ask) host.Facts { return host.Facts{} }})
		})
		p.Network, p.Own, p.Peers = h0, []netip.Addr{h0.Addr(false)}, []netip.Addr{h1.Addr(false)}
		return probe.Measure(ctx, near, &p)
	}
}

// watched is a job over a simulated network which h1 receives, of 100 Mbit/s and 40 ms.
type watched struct {
	*director
	net     *netsim.Network
	told    *told
	hears   hears
	measure measure
}

func newWatched(t *testing.T, j Job) *watched {
	t.Helper()
	topo, err := topology.Parse([]byte(`{"hosts": [{"name": "h0", "link": {"rate": "100mbit", "delay": "10ms"}}, {"name": "h1", "link": {"delay": "10ms"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	n, err := netsim.NewNetwork(topo)
	if err != nil {
		t.Fatal(err)
	}
	j.Sources, j.Dest, j.StateDir = []Place{{Path: "x"}}, Place{Remote: true, Host: "h1"}, t.TempDir()
	w := &watched{net: n, told: new(told), hears: hears{known: make(chan engine.Control, 10)}, measure: measureOn(n)}
	w.director = newDirector(&j, w.told)
	w.controls.session(w.hears)
	w.totals = engine.Totals{Listed: true, Bytes: 10e9, DoneBytes: 1e9}
	w.state = "as in a session"
	return w
}

// probes are those among events, and findings what was said for people.
func probes(list []events.Event) (out []events.Probe, findings []string) {
	for _, e := range list {
		switch e := e.(type) {
		case events.Probe:
			out = append(out, e)
		case events.Warn:
			if e.Code == "net.probed" {
				findings = append(findings, e.Message)
			}
		}
	}
	return out, findings
}

// TestLookAgain: an alarm is followed by a look at the path beside the transfer, whose
// finding is told in words, given to the end that chooses, and remembered; and not more
// than once a minute.
func TestLookAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, Job{Probe: ProbeFull})
		w.known = memory{probeFact: probeFact{RTTms: 40, Capacity: 12.5e6, Free: 12.5e6, UDP: true, MTU: 1500}, weight: 0.8}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w.lookout.open()
		wg.Go(func() { w.lookout.run(ctx, func() { w.lookAgain(ctx, w.measure) }) })

		g := glance{c: engine.Totals{Streams: 8, Listed: true, Bytes: 1 << 50}}
		g.run(100, 12e6)
		if err := w.net.Set("h0.up", "rate=25mbit"); err != nil {
			t.Fatal(err)
		}
		g.run(30, 3e6)
		if len(g.found) != 1 {
			t.Fatalf("found %+v", g.found)
		}
		began := time.Now()
		w.notice(g.found)
		time.Sleep(10 * time.Second)
		list := w.told.take()
		if a, ok := list[0].(events.Anomaly); !ok || a.Action == "" {
			t.Errorf("at first %+v", list[0])
		}
		all, findings := probes(list)
		if len(all) != 2 || len(findings) != 1 {
			t.Fatalf("%d probes, said %q", len(all), findings)
		}
		const want = "looked at the path to h1 again: the link carries 25.0 Mbit/s, it was 100 Mbit/s"
		if findings[0] != want || all[0].Finding != want {
			t.Errorf("said %q, and in the event %q; want %q", findings[0], all[0].Finding, want)
		}
		if p := all[0]; p.Ms > 1500 || p.SentBytes > 2*againBytes || p.SentBytes == 0 || p.CapacityIs != estimate.Measured.String() {
			t.Errorf("the look: %+v", p)
		}
		select {
		case c := <-w.hears.known:
			if free := c.Known.Free; free < 0.9*25e6/8*payloadShare || free > 1.1*25e6/8*payloadShare || c.Known.NoUDP {
				t.Errorf("the end hears of %+v", c.Known)
			}
		default:
			t.Error("the end that chooses does not hear of it")
		}
		r, err := history.At(filepath.Join(w.job.StateDir, historyName)).Load(w.job.pair())
		if f, ok := r.Facts[probeFactName]; err != nil || !ok || f.At.Before(began.UTC()) {
			t.Errorf("remembered is %+v, %v", r.Facts, err)
		}

		t.Log("# the next alarm comes too early, the one after it in time")
		w.notice(g.found)
		time.Sleep(10 * time.Second)
		if all, _ := probes(w.told.take()); len(all) > 0 {
			t.Errorf("looked twice within a minute: %+v", all)
		}
		time.Sleep(lookApart)
		w.notice(g.found)
		time.Sleep(10 * time.Second)
		if _, findings := probes(w.told.take()); len(findings) != 1 || !strings.Contains(findings[0], "nothing else has changed") {
			t.Errorf("after a minute: %q", findings)
		}
		cancel()
		wg.Wait()
		w.lookout.close()
		if w.lookout.ask() {
			t.Error("somebody is to look when there is no session")
		}
	})
}

// TestAtStart: what is not known of the path is measured beside the start, with no
// more than 1% of the bytes, within 1.5 s; not where the job is small, nearly over, or
// the path is known.
func TestAtStart(t *testing.T) {
	tests := []struct {
		name        string
		probe       string
		known       float64 // weight
		done, bytes int64
		probed      bool
		trains      bool
	}{
		{"nothing known", "", 0, 1e6, 1e9, true, false},
		{"known since a day", "", 0.9, 1e6, 1e9, false, false},
		{"known since three days", "", 0.75, 1e6, 1e9, true, false},
		{"small", "", 0, 0, 31 << 20, false, false},
		{"soon over", "", 0, 150e6, 1e9, false, false},
		{"full, though known", ProbeFull, 1, 0, 1e9, true, true},
		{"full, and small", ProbeFull, 0, 0, 31 << 20, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatched(t, Job{Probe: tt.probe})
				w.known.weight = tt.known
				w.current = counted{engine.Totals{Listed: true, Bytes: tt.bytes, DoneBytes: tt.done, Sent: 1}}
				began := time.Now()
				w.atStart(t.Context(), w.measure)
				if took := time.Since(began) - besideAfter - progressEvery; took > besideLimit {
					t.Errorf("took %v", took)
				}
				all, _ := probes(w.told.take())
				if (len(all) == 2) != tt.probed || w.lookout.looked() != tt.probed {
					t.Fatalf("%d probes", len(all))
				}
				if !tt.probed {
					return
				}
				if p := all[0]; p.RTTMinMs < 40 || p.RTTMinMs > 41 || p.MTU != 1500 || !p.UDP || p.Cached || (p.SentBytes > 0) != tt.trains || p.SentBytes > tt.bytes/100 {
					t.Errorf("%+v", p)
				}
				if _, m := w.job.begin(time.Now()); m.MTU != 1500 || m.weight < 0.99 {
					t.Errorf("remembered: %+v", m)
				}
				w.atStart(t.Context(), w.measure)
				if all, _ := probes(w.told.take()); len(all) > 0 {
					t.Error("the next session of the job begins with a probe, too")
				}
			})
		})
	}
}

// counted is an end that has moved so much.
type counted struct{ t engine.Totals }

func (c counted) Run(context.Context) error { return nil }
func (c counted) Totals() engine.Totals     { return c.t }

// TestUDPNotFoundOut: a look for which the time was over says nothing of UDP.
func TestUDPNotFoundOut(t *testing.T) {
	late := func(context.Context, probe.Params) (*probe.Report, error) {
		return &probe.Report{Connect: 300 * time.Millisecond}, context.DeadlineExceeded
	}
	blocked := func(context.Context, probe.Params) (*probe.Report, error) {
		return &probe.Report{Connect: 300 * time.Millisecond}, nil
	}
	for name, tt := range map[string]struct {
		m    measure
		want bool
	}{"no time": {late, true}, "blocked": {blocked, false}} {
		w := newWatched(t, Job{})
		if r := w.look(t.Context(), tt.m, probe.Params{}); r == nil || w.known.UDP != tt.want {
			t.Errorf("%s: UDP is taken to work: %v", name, w.known.UDP)
		}
	}
}

func TestFinding(t *testing.T) {
	before := memory{probeFact: probeFact{RTTms: 20, Capacity: 125e6, UDP: true, MTU: 1500}, weight: 1}
	same := func() *probe.Report {
		return &probe.Report{RTT: estimate.Delays{N: 20, Min: 20 * time.Millisecond}, Echoes: 20, MTU: 1500, UDPOut: probe.Reach{OK: true},
			There: probe.Direction{Capacity: estimate.Capacity{Verdict: estimate.Measured, Rate: 125e6}}}
	}
	tests := []struct {
		name   string
		before memory
		change func(r *probe.Report)
		full   bool
		want   string
	}{
		{"nothing", before, func(*probe.Report) {}, false, "nothing else has changed, round trip 20 ms"},
		{"a longer way", before, func(r *probe.Report) { r.RTT.Min = 45 * time.Millisecond }, false, "the round trip is 45 ms, it was 20 ms"},
		{"full queues", before, func(r *probe.Report) { r.RTT.Min = 45 * time.Millisecond }, true, "the round trip is 45 ms with what waits in queues, it was 20 ms"},
		{"losses", before, func(r *probe.Report) { r.Lost = 3 }, false, "3 of 20 echoes were lost"},
		{"a slower link", before, func(r *probe.Report) { r.There.Rate = 25e6 }, false, "the link carries 200 Mbit/s, it was 1.00 Gbit/s"},
		{"a link that was not known", memory{}, func(*probe.Report) {}, false, "the link carries 1.00 Gbit/s"},
		{"trains that tell nothing", before, func(r *probe.Report) { r.There.Verdict, r.There.Rate = estimate.Unusable, 0 }, false, "nothing else has changed, round trip 20 ms"},
		{"a tunnel", before, func(r *probe.Report) { r.MTU = 1400 }, false, "packets of up to 1400 bytes pass, it was 1500"},
		{"no UDP", before, func(r *probe.Report) { r.UDPOut.OK = false }, false, "UDP does not get through any more"},
		{"busy hosts", before, func(r *probe.Report) { r.Here.Processor.Busy, r.Far.Disk.Busy = 0.97, 1 }, false, "the processors here are busy for 97% of the time; the disk on far is busy for 100% of the time"},
	}
	for _, tt := range tests {
		r := same()
		tt.change(r)
		if got := finding(&tt.before, r, &r.There, tt.full, "far"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// bare is the login of a host on which no copy of the program is. What is written to
// the process there is counted.
type bare struct {
	sshboot.Shell
	said  *strings.Reader
	taken int
}

func (b *bare) Remote() (a netip.AddrPort)                             { return a }
func (b *bare) Canonical() (user, host string, port int)               { return "me", "h1", 22 }
func (b *bare) Start(context.Context, string) (sshboot.Process, error) { return b, nil }
func (b *bare) Read(p []byte) (int, error)                             { return b.said.Read(p) }
func (b *bare) Write(p []byte) (int, error)                            { b.taken += len(p); return len(p), nil }
func (b *bare) CloseWrite() error                                      { return nil }
func (b *bare) Close() error                                           { return nil }
func (b *bare) Stderr() string                                         { return "" }
func (b *bare) Wait() error                                            { return nil }

// TestProbeBringsNoProgram: for a probe beside a job the program is not uploaded again,
// where the copy that the job runs there is none that was left.
func TestProbeBringsNoProgram(t *testing.T) {
	opened := 0
	w := newWatched(t, Job{Boot: sshboot.BootOptions{Hash: strings.Repeat("0", 64), GOOS: "linux", GOARCH: "amd64",
		Program: func() (io.ReadCloser, int64, error) {
			opened++
			return io.NopCloser(strings.NewReader("program")), 7, nil
		}}})
	const need = "GOMOVER-BOOT-5e1d0c7b9a42 need Linux x86_64 -\n"
	b := &bare{said: strings.NewReader(need)}
	if _, err := w.probeOver(t.Context(), b, probe.Params{Bytes: -1}); err == nil || opened > 0 || b.taken > 0 {
		t.Errorf("%v; the program was opened %d times, %d bytes were sent", err, opened, b.taken)
	}
}
