package ground

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Emulator runs the program that makes networks.
type Emulator struct {
	program string
	group   *Group
}

// Link is one direction of a host's access link, or both. The zero value has no
// limit and no delay.
type Link struct {
	Rate  string  `json:"rate,omitempty"`  // such as 1gbit
	Queue string  `json:"queue,omitempty"` // such as 12.5MB
	Delay string  `json:"delay,omitempty"` // one way, of this link alone
	Loss  float64 `json:"loss,omitempty"`  // share of packets
}

// Site is a host of a topology.
type Site struct {
	Name      string `json:"name"`
	Multicast bool   `json:"multicast,omitempty"`
	Link      *Link  `json:"link,omitempty"` // both directions
	Up        *Link  `json:"up,omitempty"`
	Down      *Link  `json:"down,omitempty"`
}

// Topology is what the emulator is asked for. Control is the hosts' TCP
// congestion control; Quantum the least time between two deliveries to one host, ""
// for the emulator's own.
type Topology struct {
	Control string `json:"cc"`
	Quantum string `json:"quantum,omitempty"`
	Sites   []Site `json:"hosts"`
}

// Counters is the part of the emulator's counters that is looked at.
type Counters struct {
	CPU     float64        `json:"cpu"`      // seconds of processor time of the emulator, since its start
	LateAvg float64        `json:"late_avg"` // seconds by which packets came after their time
	LateMax float64        `json:"late_max"`
	Links   []LinkCounters `json:"links"`
}

// LinkCounters are those of one direction of a host's link, since they were reset.
type LinkCounters struct {
	Name      string           `json:"name"` // such as far.down
	Unicast   Count            `json:"unicast"`
	Multicast Count            `json:"multicast"`
	Out       Count            `json:"out"`
	Drops     map[string]int64 `json:"drops"` // packets by cause
}

// Count counts IP packets with their headers.
type Count struct {
	Packets int64 `json:"packets"`
	Bytes   int64 `json:"bytes"`
}

// Setup is what an emulated network is made with.
type Setup struct {
	Groups  *Groups
	Program string // the emulator
	Dir     string // in memory, for what is needed meanwhile
	Cache   string // the user's cache, where agents are kept; new ones are removed by Close
}

// Emulated brings up the hosts of a topology, with an ssh server on each. Errors:
// a network is up already, or the program's.
func Emulated(ctx context.Context, s Setup, t Topology) (g *Ground, err error) {
	program := s.Program
	if exec.CommandContext(ctx, program, "stats", "--json").Run() == nil {
		return nil, fmt.Errorf("%s: a network is up already; end it with its user's consent: %s down", program, program)
	}
	g = &Ground{Home: filepath.Join(s.Dir, "home"), Emulator: &Emulator{program: program}}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if g.Emulator.group, err = s.Groups.Group("emulator"); err != nil {
		return nil, err
	}
	for i, site := range t.Sites {
		wrap := func(args []string) []string { return append([]string{program, "exec", site.Name, "--"}, args...) }
		if _, err := g.AddHost(s.Groups, site.Name, fmt.Sprintf("10.77.0.%d", i+1), wrap); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(g.Home, 0o700); err != nil {
		return nil, err
	}
	g.OnClose(func() { os.RemoveAll(g.Home) })
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.Dir, "topology.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return nil, err
	}
	// From here on the network may be half up.
	g.OnClose(keepAgents(s.Cache))
	g.OnClose(func() { Quiet(context.Background(), nil, program, "down") })
	if err := Quiet(ctx, g.Emulator.group, program, "up", file); err != nil {
		return nil, err
	}
	return g, g.serve(ctx, s.Groups)
}

// serve starts the ssh servers and puts each into its host's group.
func (g *Ground) serve(ctx context.Context, groups *Groups) error {
	all, err := groups.Group("servers")
	if err != nil {
		return err
	}
	if err := Quiet(ctx, all, g.Emulator.program, "sshd", "--install-home", g.Home); err != nil {
		return err
	}
	for _, h := range g.Hosts {
		space, err := exec.CommandContext(ctx, g.Emulator.program, "exec", h.Name, "--", "readlink", "/proc/self/ns/net").Output()
		if err != nil {
			return fmt.Errorf("looking for the network namespace of %s: %w", h.Name, err)
		}
		for _, pid := range all.PIDs() {
			if own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && own == strings.TrimSpace(string(space)) {
				h.PID = pid
				if err := h.Group.Adopt(pid); err != nil {
					return err
				}
			}
		}
		if h.PID == 0 {
			return fmt.Errorf("%s: %s has no ssh server", g.Emulator.program, h.Name)
		}
	}
	for _, h := range g.Hosts {
		if err := g.Ready(ctx, h, h); err != nil {
			return err
		}
	}
	_, err = g.Rest(ctx)
	return err
}

// CPU is the processor time that the emulator has used.
func (e *Emulator) CPU() time.Duration { return e.group.CPU() }

// Set changes links, as {"all", "delay=5ms"}.
func (e *Emulator) Set(ctx context.Context, args ...string) error {
	return Quiet(ctx, nil, append([]string{e.program, "set"}, args...)...)
}

// Reset sets all counters to zero.
func (e *Emulator) Reset(ctx context.Context) error {
	return Quiet(ctx, nil, e.program, "stats", "--reset")
}

// ErrVoid says that the emulator was too slow, so that nothing measured meanwhile
// counts.
var ErrVoid = errors.New("the emulator could not keep up: the measurement is void")

// Counters reads the counters. It is an error, ErrVoid, if the emulator was too slow since
// the last Reset: the measurement is then void.
func (e *Emulator) Counters(ctx context.Context) (c Counters, err error) {
	text, err := exec.CommandContext(ctx, e.program, "stats", "--json").Output()
	if err != nil {
		return c, fmt.Errorf("reading the emulator's counters: %w", err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("reading the emulator's counters: %w", err)
	}
	for _, l := range c.Links {
		if l.Drops["overrun"] > 0 {
			return c, ErrVoid
		}
	}
	return c, nil
}

// Link finds a link's counters by its name, such as far.down; zero ones if there
// is none.
func (c Counters) Link(name string) LinkCounters {
	for _, l := range c.Links {
		if l.Name == name {
			return l
		}
	}
	return LinkCounters{}
}

// Dropped counts the packets that a link has lost, in its queue or by its loss.
func (l LinkCounters) Dropped() (sum int64) {
	for _, n := range l.Drops {
		sum += n
	}
	return sum
}

// keepAgents notes the agents that are kept in a user's cache and returns a
// function that removes those that have come since.
func keepAgents(cache string) func() {
	pattern := filepath.Join(cache, "gomover", "gomover-*")
	had := map[string]bool{}
	names, _ := filepath.Glob(pattern)
	for _, name := range names {
		had[name] = true
	}
	return func() {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if !had[name] {
				os.Remove(name)
			}
		}
	}
}
