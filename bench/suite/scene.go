package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
	"github.com/gomover/gomover/internal/payload"
)

// scene is a network that is up, with a directory in memory that all hosts see.
type scene struct {
	*ground.Ground
	b     *bench
	dir   string
	iface string
	path  Path // as the links are set now
}

// network brings a network up and copies one small file to each host but the
// first, so that the agent is there.
func (b *bench) network(ctx context.Context, sites []ground.Site) (*scene, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("looking for the agents kept in the user's cache: %w", err)
	}
	setup := ground.Setup{Groups: b.Groups, Program: b.Lab, Dir: b.Dir, Cache: cache}
	g, err := ground.Emulated(ctx, setup, ground.Topology{Control: b.control, Sites: sites})
	if err != nil {
		return nil, err
	}
	g.Quiet, g.Reserve = b.Quiet, b.reserve
	s := &scene{Ground: g, b: b, iface: ground.Interface(g.Hosts[0].PID)}
	m := &b.report.Machine // the emulator raises them
	m.ReceiveMax, m.SendMax = ground.FirstLine("/proc/sys/net/core/rmem_max"), ground.FirstLine("/proc/sys/net/core/wmem_max")
	if s.dir, err = os.MkdirTemp(b.Dir, "scene-"); err == nil {
		err = os.Chmod(s.dir, 0o755)
	}
	g.OnClose(func() { os.RemoveAll(s.dir) })
	if err == nil {
		err = s.warm(ctx)
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return s, nil
}

// warm copies one small file to each host but the first.
func (s *scene) warm(ctx context.Context) error {
	src := filepath.Join(s.dir, "warm")
	if err := os.WriteFile(src, []byte("warm\n"), 0o644); err != nil {
		return err
	}
	defer os.Remove(src)
	for _, h := range s.Hosts[1:] {
		if _, err := s.Timed(ctx, ground.Run{Host: s.Hosts[0], Args: append(s.mover(), src, h.Name+":"+src+".copy")}); err != nil {
			return err
		}
		os.Remove(src + ".copy")
	}
	return nil
}

// mover is gomover's command line without operands.
func (s *scene) mover() []string { return []string{s.b.mover, "--progress=none"} }

// set makes every link of a path between two hosts the same: a packet passes two.
// Loss is that of one direction, and the queue is one bandwidth-delay product.
func (s *scene) set(ctx context.Context, p Path) error {
	rate, queue := strconv.FormatInt(p.RateBits, 10), strconv.FormatInt(max(1<<20, bdp(p)), 10)+"B"
	if err := s.Emulator.Set(ctx, "all", "rate="+rate, "queue="+queue, fmt.Sprintf("delay=%gms", p.RTTSeconds*1000/4), "loss=0"); err != nil {
		return err
	}
	s.path = p
	if p.Loss == 0 {
		return nil
	}
	return s.Emulator.Set(ctx, "all.down", fmt.Sprintf("loss=%g", p.Loss))
}

// bdp is the bandwidth-delay product in bytes. An unlimited path counts as
// 10 Gbit/s, and a round trip as 1 ms at least.
func bdp(p Path) int64 {
	rate := float64(p.RateBits)
	if rate == 0 {
		rate = 10e9
	}
	return int64(rate / 8 * max(p.RTTSeconds, 0.001))
}

// job is one execution that is to be measured.
type job struct {
	program  peer.Program
	settings peer.Settings
	from, to []*ground.Host
	source   string // a file, or with tree a directory
	bytes    int64
	tree     bool
	pull     bool
	limit    time.Duration // of the command; 0: commandLimit
	against  *ground.Host  // sends a competing flow meanwhile; nil without
}

// Commands that do not end are ended.
const (
	commandLimit = 4 * time.Minute
	waitLimit    = 2 * time.Minute // all that is around a command, beside waiting for a quiet machine
)

// run executes one job: it starts the servers, times the command, looks at the
// counters, and compares what has arrived. With ground.ErrLimit the run holds how
// long it took and how fast data had come until then.
func (s *scene) run(ctx context.Context, j job) (r Run, err error) {
	if j.limit == 0 {
		j.limit = commandLimit
	}
	limited, cancel := context.WithTimeout(ctx, j.limit+waitLimit+s.Quiet)
	defer cancel()
	t := s.describe(j)
	places := append([]string{t.Work}, t.Dirs...)
	defer func() {
		for _, dir := range places {
			os.RemoveAll(dir)
		}
	}()
	if err := open(places); err != nil {
		return r, err
	}
	plan := j.program.Plan
	if j.tree {
		plan = j.program.Tree
	}
	p := plan(t, j.settings)
	ends, stop, err := s.serve(ctx, p)
	defer stop()
	if err != nil {
		return r, err
	}
	var w *watcher
	before := func(ctx context.Context) error {
		if j.against != nil {
			if err := s.recovered(ctx, j.against); err != nil {
				return err
			}
		}
		w = s.watch(j)
		return s.Emulator.Reset(ctx)
	}
	args := p.Client.Args
	if len(p.Client.Env) > 0 {
		args = append(append([]string{"env"}, p.Client.Env...), args...)
	}
	u, err := s.Timed(limited, ground.Run{Host: s.Host(p.Client.Host), Args: args, Steady: !j.tree, Before: before, Look: func() { w.look() }, Then: ends, Limit: j.limit})
	if errors.Is(err, ground.ErrLimit) {
		return w.cut(u), err
	}
	if err != nil {
		return r, err
	}
	counters, err := s.Emulator.Counters(ctx)
	if err != nil {
		return r, err
	}
	if j.program.Received != nil {
		if j.bytes, err = j.program.Received(u.Output); err != nil {
			return r, err
		}
	} else if err := s.compare(j, t); err != nil {
		return r, err
	}
	r = w.result(s, j, u)
	if j.against != nil && (r.Fairness == nil || r.Fairness.Competitor == 0) {
		return r, errors.New("the competing flow did not run all the time")
	}
	return r, carried(&r, counters, j)
}

// recovered waits until a competing flow has the path for itself again, so that each
// program meets the same one. Errors: it does not come to that.
func (s *scene) recovered(ctx context.Context, h *ground.Host) error {
	const span, most = 500 * time.Millisecond, 20 * time.Second
	const enough = 0.85 // of the rate of the path
	for deadline := time.Now().Add(most); time.Now().Before(deadline); {
		_, before := ground.Traffic(h.PID)
		start := time.Now()
		if err := ground.Wait(ctx, span); err != nil {
			return err
		}
		_, after := ground.Traffic(h.PID)
		if float64(after-before)*8/time.Since(start).Seconds() >= enough*float64(s.path.RateBits) {
			return nil
		}
	}
	return fmt.Errorf("the competing flow has not filled the path within %v", most)
}

// describe says where everything of a job is.
func (s *scene) describe(j job) peer.Transfer {
	t := peer.Transfer{
		Source: j.source, Size: j.bytes, Work: filepath.Join(s.dir, "work"), Interface: s.iface, RateBits: s.path.RateBits,
		Config: s.Config(), Key: filepath.Join(s.Home, ".ssh/id_ed25519"), KnownHosts: filepath.Join(s.Home, ".ssh/known_hosts"),
		Pull: j.pull, Mover: s.mover(), UDT: s.b.udt,
	}
	for _, h := range j.from {
		t.From = append(t.From, peer.Host{Name: h.Name, Address: h.Address})
	}
	for _, h := range j.to {
		t.To = append(t.To, peer.Host{Name: h.Name, Address: h.Address})
		t.Dirs = append(t.Dirs, filepath.Join(s.dir, "to-"+h.Name))
	}
	return t
}

// open makes directories that everybody may write to.
func open(dirs []string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			return err
		}
	}
	return nil
}

// compare looks whether each receiver has what was sent.
func (s *scene) compare(j job, t peer.Transfer) error {
	for _, dir := range t.Dirs {
		target := filepath.Join(dir, filepath.Base(j.source))
		same := payload.SameFile
		if j.tree {
			same = payload.SameTree
		}
		if err := same(j.source, target); err != nil {
			return fmt.Errorf("%s: what arrived is not what was sent: %w", j.program.Name, err)
		}
	}
	return nil
}

// carried fills in what the links have carried and checks that the payload passed
// each receiver's, and once those of the senders.
func carried(r *Run, c ground.Counters, j job) error {
	var in, out, left int64
	for _, h := range j.to {
		bytes := c.Link(h.Name + ".down").Out.Bytes
		if bytes < j.bytes {
			return fmt.Errorf("the link of %s carried %d bytes, less than the payload of %d: something went another way", h.Name, bytes, j.bytes)
		}
		in += bytes
	}
	for _, h := range j.from {
		l := c.Link(h.Name + ".up")
		out += l.Unicast.Bytes + l.Multicast.Bytes
		left += l.Out.Bytes
	}
	if left < j.bytes {
		return fmt.Errorf("the links of the senders carried %d bytes, less than the payload of %d: something went another way", left, j.bytes)
	}
	for _, l := range c.Links {
		r.Dropped += l.Dropped()
	}
	total := float64(j.bytes) * float64(len(j.to))
	r.Wire, r.SentWire = float64(in)/total, float64(out)/total
	if j.against != nil {
		r.Wire, r.Dropped = 0, 0 // the competitor's are among them
	}
	return nil
}
