// Command demopull shows how one file comes from several places at once: it starts two
// small ssh servers and a web server on loopback as sites of different speeds, has the
// real program pull a file from all of them, slows the fastest one down on the way, and
// draws which share each of them had over time.
//
//	demopull PROGRAM PICTURE
//
// PICTURE.svg and PICTURE.png stay; everything else is in one temporary directory,
// which is removed at the end, also after an interrupt.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomover/gomover/examples/internal/stage"
	"github.com/gomover/gomover/internal/payload"
)

const (
	fileName   = "big.bin"
	fileBytes  = 384 << 20
	eventsName = "events.jsonl"
)

// What becomes of the fastest site on the way.
const (
	slowAfter = 2 * time.Second
	slowBy    = 4
)

func main() { os.Exit(stage.Main("demopull", run)) }

// run is the whole demo. All it made but the pictures is gone when it returns.
func run(ctx context.Context) (err error) {
	if len(os.Args) != 3 {
		return errors.New("usage: demopull PROGRAM PICTURE, where PROGRAM is gomover (make demo-pull does it)")
	}
	d := &demo{picture: os.Args[2]}
	if d.program, err = filepath.Abs(os.Args[1]); err != nil {
		return fmt.Errorf("finding %s: %w", os.Args[1], err)
	}
	if d.dir, err = os.MkdirTemp("", "gomover-demo-"); err != nil {
		return fmt.Errorf("making a directory for the demo: %w", err)
	}
	defer func() {
		if e := os.RemoveAll(d.dir); e != nil && err == nil {
			err = fmt.Errorf("removing %s: %w", d.dir, e)
		}
	}()
	source := filepath.Join(d.dir, "source")
	if err := payload.MakeFile(ctx, source, fileBytes, 7); err != nil {
		return err
	}
	config := ""
	for _, s := range []*site{
		{name: "north", rate: 10e6},
		{name: "east", rate: 20e6, mirror: true, latency: 30 * time.Millisecond},
		{name: "south", rate: 40e6},
	} {
		if err := s.start(source, d.dir, filepath.Join(d.dir, ".ssh")); err != nil {
			return err
		}
		defer s.close()
		d.sites = append(d.sites, s)
		stage.Say("Site %-5s, %-17s on %s, has the file and sends %2.0f MB/s.", s.name, s.what(), s.address, s.rate/1e6)
		if s.mirror {
			continue
		}
		text, err := os.ReadFile(s.config)
		if err != nil {
			return err
		}
		config += string(text)
	}
	if err := os.WriteFile(filepath.Join(d.dir, ".ssh", "config"), []byte(config), 0o600); err != nil {
		return err
	}
	stage.Say("The hosts have no gomover: it brings itself there. No list says what the file must be:")
	stage.Say("what one site sends is compared with what the hosts say of their copies.")
	if err := d.pull(ctx); err != nil {
		return err
	}
	if err := payload.SameFile(source, filepath.Join(d.dir, fileName)); err != nil {
		return fmt.Errorf("what arrived is not what the sites have: %w", err)
	}
	return d.report(ctx)
}

// demo is one showing.
type demo struct {
	program string
	picture string // without its ending
	dir     string
	sites   []*site
	began   time.Time // of the pull
	took    time.Duration
}

// pull runs the program and slows the fastest site down on the way.
func (d *demo) pull(ctx context.Context) error {
	words := []string{"pull", "--json=" + eventsName, "--transport=ssh"}
	for _, s := range d.sites {
		words = append(words, s.where())
	}
	words = append(words, "./")
	stage.Say("\n$ gomover %s", strings.Join(words, " "))
	fast := d.sites[len(d.sites)-1]
	fast.began(func() { time.AfterFunc(slowAfter, func() { fast.setRate(fast.rate / slowBy) }) })
	d.began = time.Now()
	if err := stage.Run(ctx, d.program, d.dir, words...); err != nil {
		return fmt.Errorf("gomover %s: %w", strings.Join(words, " "), err)
	}
	d.took = time.Since(d.began)
	return nil
}

// report says what happened and draws it.
func (d *demo) report(ctx context.Context) error {
	stage.Say("\nWhat happened")
	begun, ended := time.Now(), time.Time{}
	for _, s := range d.sites {
		if _, first, last := s.sent(); !first.IsZero() {
			begun, ended = earlier(begun, first), later(ended, last)
		}
	}
	sum := 0.0
	for _, s := range d.sites {
		sent, _, last := s.sent()
		stage.Say("  %-5s sent %5.1f MB, the last of it %.2f s after the first data", s.name, float64(sent)/1e6, last.Sub(begun).Seconds())
		sum += s.rate
	}
	fast := d.sites[len(d.sites)-1].rate
	optimum := slowAfter.Seconds() + (fileBytes-sum*slowAfter.Seconds())/(sum-fast+fast/slowBy)
	stage.Say("  %.0f MB in %.2f s from start to exit, %.2f s of these from the first data to the last.", fileBytes/1e6, d.took.Seconds(), ended.Sub(begun).Seconds())
	stage.Say("  After %v the site south fell to a quarter of its rate: with these rates nobody can do", slowAfter)
	stage.Say("  it in less than %.2f s.", optimum)
	stage.Say("  The demo has compared every byte by itself: the file is the same.")
	for _, ending := range []string{".svg", ".png"} {
		name, err := filepath.Abs(d.picture + ending)
		if err != nil {
			return err
		}
		if err := stage.Run(ctx, d.program, d.dir, "plot", eventsName, "-o", name); err != nil {
			return fmt.Errorf("drawing %s: %w", name, err)
		}
	}
	stage.Say("\nThe picture: %s.svg, and the same as .png", d.picture)
	stage.Say(`
What to type next
  bin/gomover pull HOST:f HOST2:f URL ./ one file from hosts and mirrors
  bin/gomover pull -r HOST:d/ HOST2:d/ ./d/
                                         a tree from all that have it
  bin/gomover pull --metalink FILE ./    what a list names, verified piece by piece
  bin/gomover pull --explain ...         who gives which share, and why
  docs/replica.md                        how the shares are chosen`)
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
