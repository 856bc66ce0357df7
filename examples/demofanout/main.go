// Command demofanout shows how one command brings a file to several hosts: it
// starts small ssh servers on loopback as hosts, has the real program copy a file to
// one, two and three of them at once, to each by itself, along a chain and by multicast on
// loopback, compares what arrived, and draws how many bytes the sender had to send for how
// many receivers.
//
//	demofanout PROGRAM PICTURE
//
// PICTURE.svg and PICTURE.png stay; everything else is in one temporary directory,
// which is removed at the end, also after an interrupt.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/examples/internal/stage"
	"github.com/gomover/gomover/internal/chart"
	"github.com/gomover/gomover/internal/payload"
	"github.com/gomover/gomover/sshboot/boottest"
)

const (
	loopback  = "127.0.0.1"
	fileName  = "big.bin"
	fileBytes = 128 << 20
	hosts     = 3
)

func main() { os.Exit(stage.Main("demofanout", run)) }

// demo is one showing.
type demo struct {
	program string
	picture string // without its ending
	near    string // home and working directory of the user
	far     []string
	runs    []result
}

// ways are those in which the file goes to the hosts, as --fanout calls them.
var ways = []string{"unicast", "chain", "multicast"}

// result is what came of a copy to so many hosts.
type result struct {
	hosts int
	how   string
	sent  int64 // payload bytes
	heard int   // hosts that got some of it by multicast
	took  time.Duration
}

// silent tells that the hosts were to get it by multicast, and did not.
func (r *result) silent() bool { return r.how == "multicast" && r.hosts > 1 && r.heard == 0 }

// run is the whole demo. All it made but the pictures is gone when it returns.
func run(ctx context.Context) (err error) {
	if len(os.Args) != 3 {
		return errors.New("usage: demofanout PROGRAM PICTURE, where PROGRAM is gomover (make demo-fanout does it)")
	}
	d := &demo{picture: os.Args[2]}
	if d.program, err = filepath.Abs(os.Args[1]); err != nil {
		return fmt.Errorf("finding %s: %w", os.Args[1], err)
	}
	dir, err := os.MkdirTemp("", "gomover-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the demo: %w", err)
	}
	defer func() {
		if e := os.RemoveAll(dir); e != nil && err == nil {
			err = fmt.Errorf("removing %s: %w", dir, e)
		}
	}()
	d.near = filepath.Join(dir, "near")
	stop, err := d.start(dir)
	defer stop()
	if err != nil {
		return err
	}
	if err := payload.MakeFile(ctx, filepath.Join(d.near, fileName), fileBytes, 9); err != nil {
		return err
	}
	for _, how := range ways {
		for n := 1; n <= hosts; n++ {
			if err := d.copyTo(ctx, n, how); err != nil {
				return err
			}
		}
	}
	return d.report()
}

// start makes the homes and a server in front of each. stop ends the servers.
func (d *demo) start(dir string) (stop func(), err error) {
	var servers []*boottest.Server
	stop = func() {
		for _, s := range servers {
			s.Close()
		}
	}
	config := ""
	for i := 1; i <= hosts; i++ {
		name := fmt.Sprintf("h%d", i)
		home := filepath.Join(dir, name)
		d.far = append(d.far, home)
		if err := os.Mkdir(home, 0o700); err != nil {
			return stop, fmt.Errorf("making a home directory: %w", err)
		}
		l, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			return stop, fmt.Errorf("listening on loopback: %w", err)
		}
		// As ssh servers do it tells by which address it was reached: by the interface of that
		// its host joins groups.
		env := []string{"PATH=" + os.Getenv("PATH"), fmt.Sprintf("SSH_CONNECTION=%s 1 %s 22", loopback, loopback)}
		s, err := boottest.Start(l, boottest.Options{Home: home, Env: env})
		if err != nil {
			l.Close()
			return stop, err
		}
		servers = append(servers, s)
		path, err := s.WriteClient(filepath.Join(d.near, ".ssh", name), name)
		if err != nil {
			return stop, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return stop, err
		}
		config += string(text)
		stage.Say("An ssh server on %s plays the host %s; its home is an empty directory.", s.Addr(), name)
	}
	return stop, os.WriteFile(filepath.Join(d.near, ".ssh", "config"), []byte(config), 0o600)
}

// copyTo copies the file to the first n hosts and compares what they have.
func (d *demo) copyTo(ctx context.Context, n int, how string) error {
	words := []string{"--fanout=" + how}
	if how == "multicast" {
		// What goes to the group comes from the hosts' own network, and hosts that share this
		// machine's processors stay in one group.
		words = append(words, "--bind="+loopback, "--slow-dest=wait")
	}
	words = append(words, fileName)
	for i := 1; i <= n; i++ {
		words = append(words, fmt.Sprintf("h%d:%s%d", i, how, n))
	}
	stage.Say("\n$ gomover %s", strings.Join(words, " "))
	events := filepath.Join(d.near, "events.jsonl")
	began := time.Now()
	if err := stage.Run(ctx, d.program, d.near, append([]string{"--json=" + events}, words...)...); err != nil {
		return fmt.Errorf("gomover %s: %w", strings.Join(words, " "), err)
	}
	r := result{hosts: n, how: how, took: time.Since(began)}
	var err error
	if r.sent, r.heard, err = sent(events); err != nil {
		return err
	}
	for i := range n {
		if err := payload.SameFile(filepath.Join(d.near, fileName), filepath.Join(d.far[i], fmt.Sprintf("%s%d", how, n))); err != nil {
			return fmt.Errorf("what arrived at h%d is not what was sent: %w", i+1, err)
		}
	}
	d.runs = append(d.runs, r)
	return nil
}

// sent reads from the events of a run what it has sent, and to how many hosts by multicast.
func sent(path string) (bytes int64, heard int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e struct {
			Ev        string `json:"ev"`
			Sent      int64  `json:"sent_bytes"`
			Multicast struct {
				Dests int `json:"dests"`
			} `json:"multicast"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return 0, 0, fmt.Errorf("reading the events of the run: %w", err)
		}
		if e.Ev == "job.end" {
			return e.Sent, e.Multicast.Dests, nil
		}
	}
	return 0, 0, errors.Join(errors.New("the events of the run have no end"), lines.Err())
}

// report says what happened and draws it.
func (d *demo) report() error {
	stage.Say("\nWhat happened")
	series := map[string]*chart.Series{
		"unicast":   {Name: "to each by itself", Kind: chart.Bars, Style: 1},
		"chain":     {Name: "along a chain", Kind: chart.Bars, Style: 2},
		"multicast": {Name: "by multicast", Kind: chart.Bars, Style: 3},
	}
	silent := false
	for i := range d.runs {
		r := &d.runs[i]
		note := ""
		if r.silent() {
			note, silent = ", by unicast: the hosts did not hear the group", true
		}
		stage.Say("  %-9s to %d: %6.1f MB sent, %4.2f times the file, in %.2f s from start to exit%s", r.how, r.hosts, float64(r.sent)/1e6, float64(r.sent)/fileBytes, r.took.Seconds(), note)
		s := series[r.how]
		s.X, s.Y = append(s.X, float64(r.hosts-1)), append(s.Y, float64(r.sent))
	}
	stage.Say("  Each host was logged into once, all at the same time, and confirmed every block.")
	stage.Say("  The first run to a host brings the program there, too, and all share this machine:")
	stage.Say("  compare what was sent, not the times.")
	if silent {
		stage.Say("  On the loopback of this machine nobody hears a multicast group, so each host was sent")
		stage.Say("  a copy of its own, as between any hosts that multicast does not reach.")
		delete(series, "multicast")
	}
	stage.Say("  The demo has compared every byte by itself: all files are the same.")
	panel := chart.Panel{X: "receivers", Y: "sent", YUnit: chart.Bytes}
	for n := 1; n <= hosts; n++ {
		panel.Categories = append(panel.Categories, strconv.Itoa(n))
	}
	for _, how := range ways {
		if s := series[how]; s != nil {
			panel.Series = append(panel.Series, *s)
		}
	}
	picture := chart.Chart{Title: "One file to several hosts", Subtitle: "payload that the sender sent", Panels: []chart.Panel{panel}}
	for _, ending := range []string{".svg", ".png"} {
		if err := picture.WriteFile(d.picture + ending); err != nil {
			return err
		}
	}
	stage.Say("\nThe picture: %s.svg, and the same as .png", d.picture)
	stage.Say(`
What to type next
  bin/gomover FILE h1 h2 h3                    into the home directories of three hosts
  bin/gomover FILE h1:dir/ h2:/scratch/x       to a different place on each
  bin/gomover --fanout=chain FILE h1 h2 h3     each passes on to the next, one copy leaves here
  bin/gomover --fanout=multicast FILE h1 h2    one copy for all; without the word where it is worth it
  bin/gomover -r DIR --hosts @FILE --dest PATH a tree to all hosts of a list
  docs/fanout.md                               what happens when one of them fails`)
	return nil
}
