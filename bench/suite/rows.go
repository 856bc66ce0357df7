package main

import (
	"context"
	"slices"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
	"github.com/gomover/gomover/internal/payload"
)

// row is one part of the run: its name on the command line, what it says, and
// what measures it.
type row struct {
	name string
	what string
	// minutes is about how long the row takes in full on two processors; it is for a
	// person who waits.
	minutes float64
	run     func(ctx context.Context, b *bench, name string) error
}

// rows are all, in the order in which they run.
var rows = []row{
	{"wan", "one large file, 1 Gbit/s, RTT 100 ms", 11, wide{path: wanPath, full: 512, probe: 96, quick: 6}.run},
	{"lossy", "the same with 0.1% loss in each direction", 12, wide{path: lossyPath, full: 512, probe: 16, quick: 4, brief: true}.run},
	{"fat", "one large file, no limit, RTT 10 ms", 5, wide{path: Path{RTTSeconds: 0.01}, full: 512, probe: 256, quick: 64, brief: true}.run},
	{"lan", "one large file, no limit, no delay", 5, wide{path: Path{}, full: 512, probe: 256, quick: 64, brief: true}.run},
	{"grid", "RTT and loss, 1 Gbit/s", 8, rowGrid},
	{"tree", "many files of 4 KiB at RTT 50 ms", 2, trees{programs: []string{"gomover", "rsync", "tar"}, files: 20_000, quick: 2_000}.run},
	{"few", "few files of 4 KiB at RTT 50 ms, more programs", 2, trees{programs: []string{"gomover", "rsync", "tar", "scp", "rclone"}, files: 200, quick: 10}.run},
	{"fairness", "beside one TCP flow, 200 Mbit/s, RTT 40 ms", 6, rowFairness},
	{"receivers", "one file to several receivers, 100 Mbit/s, RTT 40 ms", 7, rowReceivers},
	{"sources", "one file from several replicas", 3, rowSources},
	{"first-wan", "2 GiB, 1 Gbit/s, RTT 100 ms: no flags beside peers at their best", 6, first{wanPath, 96}.run},
	{"first-lossy", "the same with 0.1% loss in each direction", 6, first{lossyPath, 16}.run},
	{"bars", "the bars of the main job, by bench/copy", 22, rowBars},
}

// The paths that several rows use.
var (
	wanPath   = Path{RateBits: 1e9, RTTSeconds: 0.1}
	lossyPath = Path{RateBits: 1e9, RTTSeconds: 0.1, Loss: 0.001}
)

// Hosts of the network of two ends; the third sends what competes with the first.
const (
	nearHost  = "near"
	farHost   = "far"
	otherHost = "other"
)

// pair is the network of the rows with one sender and one receiver; it stays up
// until another one is needed.
func (b *bench) pair(ctx context.Context) (*scene, error) {
	if b.kept != nil {
		return b.kept, nil
	}
	s, err := b.network(ctx, []ground.Site{{Name: nearHost, Multicast: true}, {Name: farHost, Multicast: true}, {Name: otherHost}})
	b.kept = s
	return s, err
}

// release takes down what pair has kept.
func (b *bench) release() {
	if b.kept != nil {
		b.kept.Close()
		b.kept = nil
	}
}

// between is a table of the pair on one path.
func (b *bench) between(ctx context.Context, name string, p Path) (t table, err error) {
	s, err := b.pair(ctx)
	if err != nil {
		return t, err
	}
	return table{
		scene: s, name: name, rounds: b.Rounds,
		from: []*ground.Host{s.Host(nearHost)}, to: []*ground.Host{s.Host(farHost)},
	}, s.set(ctx, p)
}

// wide compares all programs on one path.
type wide struct {
	path               Path
	full, probe, quick int64 // of the file, of the file of the search, and of both in a quick run; MiB
	brief              bool  // a quick run takes but some programs, at their defaults
}

// run is the row.
func (w wide) run(ctx context.Context, b *bench, name string) error {
	t, err := b.between(ctx, name, w.path)
	if err != nil {
		return err
	}
	full, probe := b.size(w.full<<20, w.quick<<20), b.size(w.probe<<20, w.quick<<20)
	var list []entry
	if b.quick && w.brief {
		for _, p := range b.named("gomover", "iperf3", "scp", "GridFTP") {
			list = append(list, entry{program: p, label: "default", bytes: full})
		}
	} else if list, err = t.entries(ctx, b.programs(), full, probe); err != nil {
		return err
	}
	return t.compare(ctx, list)
}

// The grid has many runs: gridSeconds is how long one may take, about, and what takes
// gridOnce or longer is not repeated.
const (
	gridSeconds = 6.0
	gridOnce    = 5.0
)

// rowGrid shows how a path's RTT and loss act on some programs.
func rowGrid(ctx context.Context, b *bench, name string) error {
	trips, losses := []float64{0.01, 0.05, 0.1, 0.2}, []float64{0, 0.0001, 0.001, 0.01}
	if b.quick {
		trips, losses = []float64{0.01, 0.1}, []float64{0, 0.001}
	}
	full, least := b.size(128<<20, 8<<20), b.size(1<<20, 512<<10)
	for _, rtt := range trips {
		for _, loss := range losses {
			t, err := b.between(ctx, name, Path{RateBits: 1e9, RTTSeconds: rtt, Loss: loss})
			if err != nil {
				return err
			}
			t.rounds, t.once = min(t.rounds, 2), gridOnce // the neighbours of a point bear it out
			var list []entry
			for _, p := range b.named("gomover", "scp", "GridFTP", "libudt") {
				if b.quick && p.Name == "libudt" {
					continue
				}
				e := entry{program: p, label: "default"}
				if p.Name == "GridFTP" || p.Name == "libudt" {
					e.settings, e.label = b.tuned(p, t.path), "tuned"
				}
				e.bytes = fitting(expected(t.path, p, e.settings), gridSeconds, full, least)
				list = append(list, e)
			}
			if err := t.compare(ctx, list); err != nil {
				return err
			}
		}
	}
	return nil
}

// trees compares programs with a tree of small files.
type trees struct {
	programs     []string
	files, quick int
}

// run is the row. rclone also runs with 32 files at once, since its default is
// four.
func (r trees) run(ctx context.Context, b *bench, name string) error {
	const fileSize = 4096 // bytes
	t, err := b.between(ctx, name, Path{RateBits: 1e9, RTTSeconds: 0.05})
	if err != nil {
		return err
	}
	t.files = max(10, int(b.size(int64(r.files)*fileSize, int64(r.quick)*fileSize)/fileSize))
	t.tree, t.source = true, t.dir+"/tree"
	if err := payload.MakeTree(ctx, t.source, max(1, t.files/100), t.files, fileSize); err != nil {
		return err
	}
	defer removeAll(t.source)
	var list []entry
	for _, p := range b.named(r.programs...) {
		e := entry{program: p, label: "default", bytes: int64(t.files) * fileSize}
		list = append(list, e)
		if p.Name == "rclone" {
			e.label, e.settings = "tuned", peer.Settings{Streams: 32}
			list = append(list, e)
		}
	}
	return t.compare(ctx, list)
}

// rowReceivers shows what more receivers cost. A program that knows one only runs
// once for each, one after another, and all at once.
func rowReceivers(ctx context.Context, b *bench, name string) error {
	counts := []int{1, 2, 4, 8}
	if b.quick {
		counts = []int{1, 2}
	}
	sites := []ground.Site{{Name: "sender", Multicast: true}}
	for i := range slices.Max(counts) {
		sites = append(sites, ground.Site{Name: "r" + string(rune('1'+i)), Multicast: true})
	}
	b.release()
	s, err := b.network(ctx, sites)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.set(ctx, Path{RateBits: 100e6, RTTSeconds: 0.04}); err != nil {
		return err
	}
	list, err := s.receiverEntries(ctx, name)
	if err != nil {
		return err
	}
	for _, n := range counts {
		t := table{scene: s, name: name, from: s.Hosts[:1], to: s.Hosts[1 : 1+n], rounds: b.Rounds}
		entries := slices.DeleteFunc(slices.Clone(list), func(e entry) bool {
			return n == 1 && e.settings.AtOnce // one after another is the same
		})
		if err := t.compare(ctx, entries); err != nil {
			return err
		}
	}
	return nil
}

// receiverEntries are the programs of the row receivers: those for one receiver one
// after another and all at once, those for groups at the best setting that is found
// with two.
func (s *scene) receiverEntries(ctx context.Context, name string) (list []entry, err error) {
	b := s.b
	size := b.size(16<<20, 4<<20)
	for _, p := range b.named("gomover", "rsync", "GridFTP") {
		if b.quick && p.Name == "rsync" {
			continue
		}
		list = append(list, entry{program: p, label: "default", bytes: size})
		if !b.quick {
			list = append(list, entry{program: p, label: "tuned", settings: peer.Settings{AtOnce: true}, bytes: size})
		}
	}
	for _, p := range b.named("UFTP", "udpcast") {
		if b.quick { // as the row wan has found
			list = append(list, entry{program: p, label: "tuned", settings: b.tuned(p, s.path), bytes: size})
			continue
		}
		t := table{scene: s, name: name, from: s.Hosts[:1], to: s.Hosts[1:3]}
		found, err := t.search(ctx, p, b.size(8<<20, 8<<20))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		b.report.Searches = append(b.report.Searches, found)
		if err != nil {
			b.fail(name+", "+p.Name, err)
			continue
		}
		list = append(list, entry{program: p, label: "tuned", settings: found.Best, bytes: size})
	}
	return list, nil
}

// rowSources shows what more senders bring. A program that knows one only takes
// the fastest.
func rowSources(ctx context.Context, b *bench, name string) error {
	sender := func(name, rate, delay string) ground.Site {
		return ground.Site{Name: name, Up: &ground.Link{Rate: rate, Delay: delay}, Down: &ground.Link{Rate: "1gbit", Delay: delay}}
	}
	b.release()
	s, err := b.network(ctx, []ground.Site{
		{Name: "receiver", Link: &ground.Link{Rate: "1gbit"}},
		sender("s400", "400mbit", "60ms"), sender("s200", "200mbit", "30ms"), sender("s100", "100mbit", "10ms"),
	})
	if err != nil {
		return err
	}
	defer s.Close()
	size := b.size(256<<20, 16<<20)
	rates := []int64{400e6, 600e6, 700e6} // all senders together
	for n, rate := range rates {
		if b.quick && n == 1 {
			continue
		}
		s.path = Path{RateBits: rate, RTTSeconds: 0.12}
		t := table{scene: s, name: name, from: s.Hosts[1 : 2+n], to: s.Hosts[:1], pull: true, rounds: b.Rounds}
		var list []entry
		for _, p := range b.named("gomover", "aria2") {
			list = append(list, entry{program: p, label: "default", bytes: size})
			if p.Name == "aria2" {
				list = append(list, entry{program: p, label: "tuned", settings: b.tuned(p, s.path), bytes: size})
			}
		}
		if err := t.compare(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

// competitorStart is how long the competing flow has the link for itself.
const competitorStart = 3 * time.Second

// rowFairness runs programs beside one TCP flow that was there before.
func rowFairness(ctx context.Context, b *bench, name string) error {
	t, err := b.between(ctx, name, Path{RateBits: 200e6, RTTSeconds: 0.04})
	if err != nil {
		return err
	}
	t.against = t.Host(otherHost)
	t.rounds = min(t.rounds, 2) // between them the competitor needs as long as a program
	size := b.size(64<<20, 24<<20)
	programs := b.named("gomover", "iperf3", "scp", "GridFTP", "aria2", "xrdcp", "libudt", "UFTP")
	if b.quick {
		programs = b.named("gomover", "scp", "GridFTP")
	}
	var list []entry
	for _, p := range programs {
		if p.DefaultBytes == 0 {
			list = append(list, entry{program: p, label: "default", bytes: size})
		}
		if b.quick || p.Name == "gomover" || p.Name == "iperf3" || p.Name == "scp" {
			continue
		}
		if best := b.tuned(p, t.path); !best.Default() {
			list = append(list, entry{program: p, label: "tuned", settings: best, bytes: size})
		}
	}
	stop, err := t.compete(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return t.compare(ctx, list)
}

// compete starts a TCP flow from the third host to the receiver.
func (t table) compete(ctx context.Context) (stop func(), err error) {
	const port = 5301 // another than that of the program iperf3
	far := t.to[0]
	flow := peer.Plan{Servers: []peer.Server{
		{Command: peer.IperfServer(peer.Host{Name: far.Name}, port), Protocol: "tcp", Port: port},
	}}
	_, end, err := t.serve(ctx, flow)
	if err != nil {
		end()
		return nil, err
	}
	client := t.Command(ctx, t.against, "iperf3", "-c", far.Address, "-p", "5301", "-t", "86400")
	if err := client.Start(); err != nil {
		end()
		return nil, err
	}
	stop = func() {
		end() // of both: it ends all that has come since
		client.Wait()
	}
	err = ground.Wait(ctx, competitorStart)
	if err == nil {
		_, err = t.Rest(ctx)
	}
	if err != nil {
		stop()
	}
	return stop, err
}
