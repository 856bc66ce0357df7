package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/jobs"
)

// settable is what can be changed while it runs: one job, or those to several
// destinations.
type settable interface {
	Set([]jobs.Setting) ([]string, error)
	Settings() map[string]string
	ToggleLimit()
}

// jobControl answers on the control socket of the job that runs in this process, and
// hands its events on to those who follow it.
type jobControl struct {
	id, command string
	began       time.Time
	what        settable
	server      *jobs.Server

	following atomic.Int32 // how many there are
	mu        sync.Mutex   // guards what follows
	last      events.Progress
	followers map[*jsonLines]bool
	gone      chan struct{} // closed when the job has ended
	flushed   sync.WaitGroup
}

var (
	_ events.Recorder = (*jobControl)(nil)
	_ jobs.Handler    = (*jobControl)(nil)
)

// control lets others on this machine see and change the job; without a socket, which a
// state directory that cannot be written does not get, it goes on alone.
func (v *view) control(env Env, id, stateDir string, what settable) {
	c := &jobControl{id: id, command: strings.TrimPrefix(typeAgain(withoutSecrets(env.Args)), "gomover "), began: env.Now(), what: what,
		last: events.Progress{ETAms: -1}, followers: make(map[*jsonLines]bool), gone: make(chan struct{})}
	v.ctl = c
	var err error
	if c.server, err = jobs.Serve(stateDir, id, c); err != nil {
		return
	}
	v.rec = append(v.rec, c)
}

// Record implements events.Recorder.
func (c *jobControl) Record(t time.Time, e events.Event) {
	p, isProgress := e.(events.Progress)
	if !isProgress && c.following.Load() == 0 {
		return
	}
	c.mu.Lock()
	if isProgress {
		c.last = p
	}
	var list []*jsonLines
	for f := range c.followers {
		list = append(list, f)
	}
	c.mu.Unlock()
	for _, f := range list {
		f.Record(t, e)
	}
}

// Answer implements jobs.Handler.
func (c *jobControl) Answer(r jobs.Request) (a jobs.Answer) {
	if r.Ask == jobs.AskSet {
		var err error
		if a.Said, err = c.what.Set(r.Set); err != nil {
			a.Error = err.Error()
		}
	}
	a.Status = c.status()
	return a
}

func (c *jobControl) status() *jobs.Status {
	c.mu.Lock()
	p := c.last
	c.mu.Unlock()
	s := &jobs.Status{Job: c.id, Process: os.Getpid(), Command: c.command, Began: c.began, Done: p.DoneBytes, Total: -1, Rate: p.RateBps, Left: p.ETAms,
		Limited: p.LimitedBy, Streams: p.Streams, State: p.State, Settings: c.what.Settings()}
	if p.TotalBytes != nil {
		s.Total = *p.TotalBytes
	}
	return s
}

// Follow implements jobs.Handler.
func (c *jobControl) Follow(ctx context.Context, w io.Writer) {
	lines := newJSONLines(w, c.id, true)
	c.mu.Lock()
	select {
	case <-c.gone:
		c.mu.Unlock()
		return
	default:
	}
	c.followers[lines] = true
	c.flushed.Add(1)
	c.mu.Unlock()
	c.following.Add(1)
	defer c.flushed.Done()
	select {
	case <-ctx.Done():
	case <-c.gone:
	}
	c.mu.Lock()
	delete(c.followers, lines)
	c.mu.Unlock()
	c.following.Add(-1)
	_ = lines.Close() // who follows a job and goes is no concern of it
}

// close ends the socket, when those who follow have what was to be told.
func (c *jobControl) close() {
	if c == nil || c.server == nil {
		return
	}
	c.mu.Lock()
	close(c.gone)
	c.mu.Unlock()
	c.flushed.Wait() // no longer than one write may take
	c.server.Close()
}

// listTimeout is how long a job has to say how it stands.
const listTimeout = 3 * time.Second

// runJobs is the command jobs: what runs on this machine for this user.
func runJobs(ctx context.Context, env Env, o *Options, words []string) error {
	if len(words) > 0 {
		return usageError("jobs takes no words", "gomover ctl "+words[0])
	}
	dir := stateDir(env, o.Safety.StateDir)
	ids, err := jobs.Running(dir)
	if err != nil {
		return &exitError{Code: exitInternal, Msg: fmt.Sprintf("listing jobs: %v", err), Err: err}
	}
	var list []*jobs.Status
	for _, id := range ids {
		one, cancel := context.WithTimeout(ctx, listTimeout)
		a, err := jobs.Ask(one, dir, id, jobs.Request{Ask: jobs.AskStatus}, nil)
		cancel()
		switch {
		case errors.Is(err, jobs.ErrNotRunning): // its process was killed
		case err != nil:
			writeWarning(env.Stderr, err.Error())
		case a.Status != nil:
			list = append(list, a.Status)
		}
	}
	text := jobsText(list, viewStyle{UTF8: utf8Locale(env), Bits: o.Output.Bits})
	if o.Output.JSON != "" {
		w, err := openJSON(env, o.Output.JSON)
		if err != nil {
			return err
		}
		defer w.Close()
		for _, s := range list {
			if err := json.NewEncoder(w).Encode(s); err != nil {
				return outputError(err)
			}
		}
		return nil
	}
	if _, err := io.WriteString(env.Stdout, text); err != nil {
		return outputError(err)
	}
	return nil
}

func outputError(err error) error {
	return &exitError{Code: exitDestination, Msg: "standard output: " + err.Error(), Err: err}
}

// jobsText is a list of jobs for people.
func jobsText(list []*jobs.Status, style viewStyle) string {
	if len(list) == 0 {
		return "no job runs here\n"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(s.Job), percentOf(s), style.rate(s.Rate), stateOf(s), printable(s.Command))
	}
	_ = w.Flush() // to memory
	return b.String()
}

func percentOf(s *jobs.Status) string {
	if s.Total <= 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", 100*s.Done/s.Total)
}

// stateOf is what a job is at, in few words.
func stateOf(s *jobs.Status) string {
	switch {
	case s.State != "":
		return printable(s.State)
	case s.Left >= 0:
		return "about " + units.FormatLeft(time.Duration(s.Left)*time.Millisecond) + " left"
	}
	return "running"
}

// runCtl is the command ctl: it changes a running job, or shows its settings.
func runCtl(ctx context.Context, env Env, o *Options, words []string) error {
	if len(words) == 0 {
		return usageError("ctl: which job?", "gomover jobs")
	}
	r := jobs.Request{Ask: jobs.AskStatus}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		r.Ask = jobs.AskSet
		r.Set = append(r.Set, jobs.Setting{Name: name, Value: value})
	}
	a, err := askJob(ctx, env, o, words[0], r, nil)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, line := range a.Said {
		b.WriteString(printable(line) + "\n")
	}
	if r.Ask == jobs.AskStatus && a.Status != nil {
		b.WriteString(jobsText([]*jobs.Status{a.Status}, viewStyle{UTF8: utf8Locale(env), Bits: o.Output.Bits}))
		for _, name := range []string{"bwlimit", "limit", "streams", "priority", "finish-by"} {
			if v, ok := a.Status.Settings[name]; ok {
				fmt.Fprintf(&b, "  %s=%s\n", name, printable(v))
			}
		}
	}
	if _, err := io.WriteString(env.Stdout, b.String()); err != nil {
		return outputError(err)
	}
	return nil
}

// runAttach is the command attach: the events of a running job.
func runAttach(ctx context.Context, env Env, o *Options, words []string) error {
	if len(words) != 1 {
		return usageError("attach: needs one job", "gomover jobs")
	}
	_, err := askJob(ctx, env, o, words[0], jobs.Request{Ask: jobs.AskEvents}, env.Stdout)
	return err
}

// askJob asks the job whose name begins with prefix.
func askJob(ctx context.Context, env Env, o *Options, prefix string, r jobs.Request, w io.Writer) (jobs.Answer, error) {
	dir := stateDir(env, o.Safety.StateDir)
	id, err := jobs.Find(dir, prefix)
	if err != nil {
		return jobs.Answer{}, usageError(err.Error(), "gomover jobs")
	}
	a, err := jobs.Ask(ctx, dir, id, r, w)
	var pe *os.PathError
	switch {
	case err == nil:
	case errors.Is(err, jobs.ErrNotRunning):
		err = usageError(err.Error(), "gomover jobs")
	case errors.As(err, &pe):
		err = outputError(err)
	default:
		err = usageError(err.Error())
	}
	return a, err
}
