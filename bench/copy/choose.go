package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// allowedControls is the system's list of congestion controls for users without
// privileges. It is the whole machine's, whatever the network namespace.
const allowedControls = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"

// plainUser begins a command line of a user who may not set what is not allowed.
var plainUser = []string{"setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"}

// chosenWay is one setting of the row choice.
type chosenWay struct {
	name    string
	link    link
	allowed string   // congestion controls; "": all
	window  string   // of tcp_rmem and tcp_wmem at both ends; "": as they are
	args    []string // of gomover
	bar     float64
	// held is what must be told to hold the copy back before a step of tuning that has it
	// for its reason; "": nothing.
	held string
}

// chosenWays are what is measured, in this order.
var chosenWays = []chosenWay{
	{"lossy, no bbr, no flags", lossyLink, "reno cubic", "", nil, 0.80, ""},
	{"lossy, no bbr, TCP alone", lossyLink, "reno cubic", "", []string{"--transport=tcp"}, 0.55, ""},
	{"lossy, bbr allowed", lossyLink, "", "", nil, 0.88, ""},
	{"buffers of 4 MiB", wanLink, "", "4096 131072 4194304", nil, 0.85, ""}, // the streams of the start are enough
	{"buffers of 1 MiB", wanLink, "", "4096 131072 1048576", nil, 0.85, "receiver window"},
	{"clean, no bbr, no flags", wanLink, "reno cubic", "", nil, 0.85, ""},
}

// rowChoice measures what is chosen where the usual way is slow, or must not be left.
// The time of a login is taken off, since it is ssh's.
func rowChoice(ctx context.Context, b *bench) error {
	for _, c := range chosenWays {
		if !strings.Contains(c.name, b.cases) {
			continue
		}
		if err := b.choose(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (b *bench) choose(ctx context.Context, c chosenWay) (err error) {
	g, err := b.emulated(ctx, c.link)
	if err != nil {
		return err
	}
	defer g.Close()
	before, err := os.ReadFile(allowedControls)
	if err != nil {
		return err
	}
	if c.allowed != "" {
		if err := os.WriteFile(allowedControls, []byte(c.allowed), 0o644); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.WriteFile(allowedControls, before, 0o644)) }()
	}
	for _, far := range []bool{false, true} {
		for _, name := range []string{"tcp_rmem", "tcp_wmem"} {
			if c.window == "" {
				continue
			}
			if out, err := g.command(ctx, far, "sysctl", "-qw", "net.ipv4."+name+"="+c.window).CombinedOutput(); err != nil {
				return fmt.Errorf("setting %s: %w: %s", name, err, out)
			}
		}
	}
	size := b.Size(2 << 30)
	src, dst := filepath.Join(b.Dir, "src"), filepath.Join(b.Dir, "dst")
	if err := payload.MakeFile(ctx, src, size, 5); err != nil {
		return err
	}
	defer os.Remove(src)
	var share, whole ground.Samples
	var notes []string
	explained := true
	for range b.Rounds {
		home := filepath.Join(b.Dir, "state") // each copy is the first one on this path
		if err := os.RemoveAll(home); err != nil {
			return err
		}
		args := slices.Concat(plainUser, g.mover(slices.Concat(c.args, []string{"--json", "--state-dir", home, src, g.target(dst)})...))
		u, err := g.steady(ctx, dst, nil, args...)
		if err != nil {
			return err
		}
		login, err := g.timed(ctx, "ssh", "-F", g.Config(), g.far.Name, "true")
		if err != nil {
			return err
		}
		if err := payload.SameFile(src, dst); err != nil {
			return err
		}
		if err := os.Remove(dst); err != nil {
			return err
		}
		share = append(share, 100*rate(size, u.wall-login.wall)/payloadRate)
		whole = append(whole, 100*rate(size, u.wall)/payloadRate)
		note := fmt.Sprintf("%.2f s, of which login %.2f s; %s", u.wall.Seconds(), login.wall.Seconds(), moves(u.output))
		if c.held != "" {
			told, reason := remedy(u.output, c.held)
			explained = explained && told && reason != ""
			note += fmt.Sprintf("; %s told first: %t; then: %s", c.held, told, reason)
		}
		notes = append(notes, note)
	}
	b.Add(ground.Result{
		Row: "choice: " + c.name, Figure: share.Text("%.1f", "% of the payload rate") + fmt.Sprintf(", with the login %.1f%%", whole.Median()),
		Bar: fmt.Sprintf(">= %.0f%%", 100*c.bar), Value: share.Median(), Limit: 100 * c.bar, Samples: share, Notes: notes, Pass: explained && share.Median() >= 100*c.bar,
	})
	return nil
}

// remedy finds the first change of the number of streams whose reason has a word in it,
// "" if there is none, and says whether the word was told before to hold the copy back.
func remedy(output, word string) (told bool, reason string) {
	for line := range strings.Lines(output) {
		told = told || strings.Contains(line, `"ev":"progress"`) && field(line, "limited_by") == word
		var e struct {
			What     string
			Reason   string
			From, To int64
		}
		if !strings.Contains(line, `"ev":"tune"`) || json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		if e.What == "streams" && e.From != e.To && strings.Contains(e.Reason, word) {
			return told, e.Reason
		}
	}
	return told, ""
}

// moves says by which ways the data of a run went, from its events.
func moves(output string) string {
	var l []string
	for line := range strings.Lines(output) {
		for _, key := range []string{`"ev":"plan"`, `"ev":"transport"`} {
			if strings.Contains(line, key) {
				l = append(l, strings.Trim(key[5:], `"`)+" "+field(line, "transport")+field(line, "to")+" "+field(line, "cc"))
			}
		}
	}
	return strings.Join(l, ", ")
}

// field is the value of a string in one JSON line, or "".
func field(line, name string) string {
	_, rest, _ := strings.Cut(line, `"`+name+`":"`)
	v, _, _ := strings.Cut(rest, `"`)
	return v
}
