package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
)

// firstPeers are those that gomover without flags is held against at their best
// setting. The last ones log in by ssh, as gomover does.
var (
	firstPeers  = []string{"GridFTP", "xrdcp", "lftp", "rclone", "scp"}
	firstLogins = []string{"rclone", "scp"}
)

// firstSeconds is about how long a peer may take; what is slower moves less, and the
// rest is reckoned at the rate that it had when it was under way.
const firstSeconds = 30.0

// standing is how long a program took in seconds, reckoned to the full size.
type standing struct {
	name, setting string
	whole, after  float64 // the command; without what a login takes, if it logs in
	known         float64 // the command from the moment on that it was known to the server; 0: not told
	less          bool    // it moved less than the full size
}

// text is for people.
func (s standing) text() string {
	reckoned := ""
	if s.less {
		reckoned = ", reckoned from less"
	}
	text := fmt.Sprintf("%s (%s) %.2f s, %.2f s behind its login%s", s.name, s.setting, s.whole, s.after, reckoned)
	if s.known > 0 {
		text += fmt.Sprintf(", %.2f s behind its authentication", s.known)
	}
	return text
}

// first measures who moves one large file first over a path: gomover without flags, and
// peers at the best setting that a search finds, in one run.
type first struct {
	path  Path
	probe int64 // of the file of the search, MiB
}

// run is the row.
func (f first) run(ctx context.Context, b *bench, name string) error {
	t, err := b.between(ctx, name, f.path)
	if err != nil {
		return err
	}
	login, err := t.loginTime(ctx)
	if err != nil {
		return err
	}
	own, err := t.firstOwn(ctx, login)
	if err != nil {
		return fmt.Errorf("gomover: %w", err)
	}
	list := []standing{own}
	for _, peer := range b.named(firstPeers...) {
		s, err := t.firstPeer(ctx, peer, b.size(f.probe<<20, 4<<20), login)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.fail(name+", "+peer.Name, err)
			continue
		}
		list = append(list, s)
	}
	for _, bar := range firstBars(name, list, len(b.named(firstLogins...)) > 0) {
		b.report.Bars = append(b.report.Bars, bar)
		fmt.Printf("%s: %s (%s): %s\n", bar.Row, bar.Figure, bar.Bar, map[bool]string{true: "reached", false: "missed"}[bar.Pass])
	}
	return nil
}

// firstSize is that of the file.
func (t table) firstSize() int64 { return t.b.size(2<<30, 32<<20) }

// firstOwn measures gomover. Its login is what it is for all others, which cannot be
// asked: that of ssh, with the start of the user's shell. Its events tell when the server
// knew it, which is sooner.
func (t table) firstOwn(ctx context.Context, login float64) (standing, error) {
	s := standing{name: "gomover", setting: "no flags"}
	log := filepath.Join(t.dir, "first-events")
	defer os.Remove(log)
	for _, p := range t.b.named("gomover") {
		plan := p.Plan
		p.Plan = func(t peer.Transfer, s peer.Settings) peer.Plan {
			made := plan(t, s)
			made.Client.Args = slices.Insert(slices.Clone(made.Client.Args), 1, "--json="+log)
			return made
		}
		r, err := t.firstRun(ctx, entry{program: p, label: "default", bytes: t.firstSize()})
		if err != nil {
			return s, err
		}
		text, err := os.ReadFile(log)
		if err != nil {
			return s, err
		}
		known, err := knownAfter(text)
		if err != nil {
			return s, err
		}
		s.whole, s.after, s.known = r.Seconds, max(0, r.Seconds-login), r.Seconds-known
	}
	return s, nil
}

// firstRun is execute without the limit of slow programs.
func (t table) firstRun(ctx context.Context, e entry) (Run, error) {
	j := t.job(e)
	if err := t.file(ctx, j.source, e.bytes); err != nil {
		return Run{}, err
	}
	return t.run(ctx, j)
}

// knownAfter gives how many seconds a run of gomover took until the server knew it,
// from its events.
func knownAfter(text []byte) (float64, error) {
	var began time.Time
	for line := range bytes.Lines(text) {
		var e struct {
			Time  time.Time `json:"t"`
			Name  string    `json:"ev"`
			State string    `json:"state"`
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return 0, fmt.Errorf("reading events: %w", err)
		}
		switch {
		case e.Name == "job.start":
			began = e.Time
		case e.Name == "host" && e.State == "agent" && !began.IsZero():
			return e.Time.Sub(began).Seconds(), nil
		}
	}
	return 0, errors.New("the events tell of no login")
}

// loginTime is what ssh takes for a login and nothing else, in seconds.
func (t table) loginTime(ctx context.Context) (float64, error) {
	var l ground.Samples
	for range 3 {
		u, err := t.Timed(ctx, ground.Run{Host: t.from[0], Args: []string{"ssh", "-F", t.Config(), t.to[0].Name, "true"}})
		if err != nil {
			return 0, fmt.Errorf("logging in: %w", err)
		}
		l = append(l, u.Wall.Seconds())
	}
	return l.Median(), nil
}

// firstPeer finds a peer's best setting and measures it.
func (t table) firstPeer(ctx context.Context, p peer.Program, probe int64, login float64) (s standing, err error) {
	found, err := t.search(ctx, p, probe)
	if err != nil {
		return s, err
	}
	t.b.report.Searches = append(t.b.report.Searches, found)
	size := t.firstSize()
	e := entry{program: p, settings: found.Best, label: "tuned", bytes: fitting(found.rateOf(found.Best), firstSeconds, size, leastBytes)}
	r, err := t.firstRun(ctx, e)
	if errors.Is(err, ground.ErrLimit) { // slower than its search told: the rate it had must do
		r.Seconds, e.bytes, err = 0, 0, nil
		if max(r.steady, r.Goodput) <= 0 {
			err = fmt.Errorf("nothing came in %v", commandLimit)
		}
	}
	if err != nil {
		return s, err
	}
	s = standing{name: p.Name, setting: found.Best.String(), whole: r.Seconds}
	if s.less = e.bytes < size; s.less {
		s.whole += float64(size-e.bytes) / max(r.steady, r.Goodput)
	}
	s.after = s.whole
	if slices.Contains(firstLogins, p.Name) {
		s.after = max(0, s.whole-login)
	}
	return s, nil
}

// firstBars judges a list whose first entry is gomover's; logins says that peers were
// chosen that log in by ssh.
func firstBars(row string, list []standing, logins bool) []Bar {
	judge := func(what string, of func(standing) float64, among func(standing) bool) Bar {
		own, best := of(list[0]), standing{}
		var notes []string
		for _, s := range list[1:] {
			if !among(s) {
				continue
			}
			notes = append(notes, s.text())
			if best.name == "" || of(s) < of(best) {
				best = s
			}
		}
		if best.name == "" {
			return Bar{Row: row + ": " + what, Figure: "no peer could be measured", Bar: "first", Notes: notes}
		}
		return Bar{Row: row + ": " + what, Figure: fmt.Sprintf("%.2f s: %s; %s", own, list[0].text(), strings.Join(notes, "; ")), Bar: "first", Value: own, Limit: of(best), Notes: notes, Pass: own <= of(best)}
	}
	bars := []Bar{judge("from the end of the login", func(s standing) float64 { return s.after }, func(standing) bool { return true })}
	if logins {
		bars = append(bars, judge("whole commands that log in by ssh", func(s standing) float64 { return s.whole }, func(s standing) bool { return slices.Contains(firstLogins, s.name) }))
	}
	return bars
}
