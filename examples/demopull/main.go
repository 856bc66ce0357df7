// Command demopull shows how one file comes from several places at once: it starts
// three small web servers on loopback as sites of different speeds, has the real
// program pull a file from all of them, slows the fastest one down on the way, and
// draws which share each of them had over time.
//
//	demopull PROGRAM PICTURE
//
// PICTURE.svg and PICTURE.png stay; everything else is in one temporary directory,
// which is removed at the end, also after an interrupt.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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
	pieceBytes = 1 << 20
	listName   = fileName + ".meta4"
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
	for _, s := range []*site{
		{name: "north", rate: 10e6, latency: 10 * time.Millisecond},
		{name: "east", rate: 20e6, latency: 30 * time.Millisecond},
		{name: "south", rate: 40e6, latency: 60 * time.Millisecond},
	} {
		if err := s.start(source); err != nil {
			return err
		}
		defer s.close()
		d.sites = append(d.sites, s)
		stage.Say("Site %-5s has the file and sends %2.0f MB/s: %s", s.name, s.rate/1e6, s.url())
	}
	if err := d.writeList(source); err != nil {
		return err
	}
	stage.Say("A list (RFC 5854) names all three, and the SHA-256 of each MiB of the file.")
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
	took    time.Duration
}

// writeList writes the list of the sites.
func (d *demo) writeList(source string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	var text strings.Builder
	fmt.Fprintf(&text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n<file name=\"%s\">\n", fileName)
	fmt.Fprintf(&text, "<size>%d</size>\n<pieces length=\"%d\" type=\"sha-256\">\n", int64(fileBytes), int64(pieceBytes))
	piece := make([]byte, pieceBytes)
	for range fileBytes / pieceBytes {
		if _, err := io.ReadFull(f, piece); err != nil {
			return fmt.Errorf("hashing the file: %w", err)
		}
		fmt.Fprintf(&text, "<hash>%x</hash>\n", sha256.Sum256(piece))
	}
	text.WriteString("</pieces>\n")
	for _, s := range d.sites {
		fmt.Fprintf(&text, "<url priority=\"1\">%s</url>\n", s.url())
	}
	text.WriteString("</file>\n</metalink>\n")
	return os.WriteFile(filepath.Join(d.dir, listName), []byte(text.String()), 0o644)
}

// pull runs the program and slows the fastest site down on the way.
func (d *demo) pull(ctx context.Context) error {
	words := []string{"pull", "--json=" + eventsName, "--metalink", listName, "./"}
	stage.Say("\n$ gomover %s", strings.Join(words, " "))
	fast := d.sites[len(d.sites)-1]
	slow := time.AfterFunc(slowAfter, func() { fast.setRate(fast.rate / slowBy) })
	defer slow.Stop()
	began := time.Now()
	if err := stage.Run(ctx, d.program, d.dir, words...); err != nil {
		return fmt.Errorf("gomover %s: %w", strings.Join(words, " "), err)
	}
	d.took = time.Since(began)
	return nil
}

// report says what happened and draws it.
func (d *demo) report(ctx context.Context) error {
	stage.Say("\nWhat happened")
	for _, s := range d.sites {
		sent, last := s.sent()
		stage.Say("  %-5s sent %5.1f MB, the last of it %.2f s after the start", s.name, float64(sent)/1e6, last.Sub(d.sites[0].first()).Seconds())
	}
	sum := 0.0
	for _, s := range d.sites {
		sum += s.rate
	}
	fast := d.sites[len(d.sites)-1].rate
	optimum := slowAfter.Seconds() + (fileBytes-sum*slowAfter.Seconds())/(sum-fast+fast/slowBy)
	stage.Say("  %d MB in %.2f s from start to exit. After %v the site south fell to a quarter of", fileBytes/1_000_000, d.took.Seconds(), slowAfter)
	stage.Say("  its rate: with these rates, and no latency, nobody can do it in less than %.2f s.", optimum)
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
  bin/gomover pull URL URL ./            one file from several mirrors
  bin/gomover pull --metalink FILE ./    what a list names, verified piece by piece
  bin/gomover pull --explain ...         who gives which share, and why
  docs/replica.md                        how the shares are chosen`)
	return nil
}
