package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/wire"
)

// view is all that shows a job.
type view struct {
	rec      events.Multi
	tty      *ttyProgress
	plain    *plainLog
	json     *jsonLines
	jsonFile io.Closer
	sum      *summaryCollector
	fails    *failCounter
	style    viewStyle
	width    func() (cols, rows int)
	stderr   io.Writer
	ctl      *jobControl // nil: none
}

// failCounter counts failed files by destination and class.
type failCounter struct {
	mu sync.Mutex
	n  map[string]map[wire.Class]int64
}

func newFailCounter() *failCounter {
	return &failCounter{n: make(map[string]map[wire.Class]int64)}
}

// Record implements events.Recorder.
func (c *failCounter) Record(_ time.Time, e events.Event) {
	if f, ok := e.(events.File); ok && f.Action == "fail" {
		c.mu.Lock()
		if c.n[f.Dest] == nil {
			c.n[f.Dest] = make(map[wire.Class]int64)
		}
		c.n[f.Dest][f.Class]++
		c.mu.Unlock()
	}
}

// at are the failed files of one destination by class.
func (c *failCounter) at(dest string) map[wire.Class]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n[dest])
}

// all are the failed files by class.
func (c *failCounter) all() map[wire.Class]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := make(map[wire.Class]int64)
	for _, n := range c.n {
		for class, k := range n {
			sum[class] += k
		}
	}
	return sum
}

// explainer prints each plan.
type explainer struct {
	print func(string)
	style viewStyle
}

// Record implements events.Recorder.
func (x explainer) Record(_ time.Time, e events.Event) {
	if p, ok := e.(events.Plan); ok {
		for _, l := range explainLines(p, x.style) {
			x.print(l)
		}
	}
}

// newView makes all that shows a job.
func newView(env Env, o *Options, id, stateDir string) (*view, error) {
	v := &view{fails: newFailCounter(), stderr: env.Stderr}
	v.style = viewStyle{UTF8: utf8Locale(env), Bits: o.Output.Bits}
	v.width = func() (int, int) {
		c, r, err := term.GetSize(int(os.Stderr.Fd()))
		if err != nil {
			return 0, 0
		}
		return c, r
	}
	list := filepath.Join(stateDir, id+".failed")
	v.sum = newSummaryCollector(v.style, func() (io.WriteCloser, string, error) {
		if err := os.MkdirAll(stateDir, 0o700); err != nil {
			return nil, "", err
		}
		f, err := os.OpenFile(list, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		return f, list, err
	})
	v.rec = events.Multi{v.fails, v.sum}
	kind := o.Output.Progress
	if kind == "auto" {
		kind = "plain"
		if env.IsTerminal && env.Getenv("TERM") != "dumb" {
			kind = "tty"
		}
	}
	if o.Output.Quiet {
		kind = "none"
	}
	show := o.Output.Show
	has := func(s string) bool { return show == nil || slices.Contains(show, s) }
	switch kind {
	case "tty":
		color := o.Output.Color == "always" || (o.Output.Color != "never" && env.IsTerminal && env.Getenv("NO_COLOR") == "")
		v.tty = newTTYProgress(env.Stderr, progressOptions{Size: v.width, Interval: o.Output.ProgressInterval, Style: v.style, Color: color,
			Streams: has("streams"), Files: has("files"), Dests: has("dests"), Sources: has("sources")})
		v.rec = append(v.rec, v.tty)
	case "plain":
		v.plain = newPlainLog(env.Stderr, plainOptions{Interval: o.Output.ProgressInterval, Style: v.style, JobID: id, Verbose: o.Output.Verbose > 0})
		v.rec = append(v.rec, v.plain)
	default:
		v.rec = append(v.rec, warner{env.Stderr, v.style, o.Output.Quiet})
	}
	if o.Output.Explain || o.Output.Verbose > 0 {
		v.rec = append(v.rec, explainer{v.print, v.style})
	}
	w, err := openJSON(env, o.Output.JSON)
	if err != nil {
		v.close()
		return nil, err
	}
	if w != nil {
		v.json, v.jsonFile = newJSONLines(w, id, show != nil && has("streams")), w
		v.rec = append(v.rec, v.json)
	}
	return v, nil
}

// warner prints warnings where no progress is shown.
type warner struct {
	w     io.Writer
	style viewStyle
	quiet bool
}

// Record implements events.Recorder.
func (x warner) Record(_ time.Time, e events.Event) {
	if w, ok := e.(events.Warn); ok && !x.quiet {
		for _, l := range x.style.warnLines(w) {
			fmt.Fprintf(x.w, "gomover: %s\n", l)
		}
	}
}

// print shows a line beside whatever else is shown.
func (v *view) print(line string) {
	switch {
	case v.tty != nil:
		v.tty.Print(line)
	case v.plain != nil:
		v.plain.Print(line)
	default:
		fmt.Fprintln(v.stderr, line)
	}
}

func (v *view) close() {
	v.ctl.close()
	if v.tty != nil {
		v.tty.Close()
	}
	if v.plain != nil {
		v.plain.Close()
	}
	if v.json != nil {
		// A reader that has gone away wants no more; anything else is news.
		if err := errors.Join(v.json.Close(), v.jsonFile.Close()); err != nil && !errors.Is(err, syscall.EPIPE) {
			writeWarning(v.stderr, fmt.Sprintf("events are missing from --json: %v", err))
		}
	}
}

// signalError is the cause of an end by a signal.
type signalError struct {
	error
	code int
}

// Unwrap makes it mover.ErrInterrupted, so that the job is ended in order.
func (e *signalError) Unwrap() error { return mover.ErrInterrupted }

// end shows what came of the job and returns the error for the exit code.
func (v *view) end(env Env, o *Options, j *mover.Job, r *mover.Report, err error) error {
	code, out := exitOf(err, v.fails.all(), r)
	if code == exitOK && o.Safety.ErrorOnNoTransfer && r.Totals.OK == 0 && r.Totals.Verified == 0 {
		code, out = exitNothing, &exitError{Code: exitNothing, Msg: "nothing to transfer: everything is there already"}
	}
	t := r.Totals
	e := events.JobEnd{Exit: code, Reason: reasonOf(code, out), Resumable: resumableExit(code) && r.Started, DoneBytes: t.DoneBytes, TotalBytes: t.Bytes, SentBytes: t.Sent,
		Ms: r.Took.Milliseconds(), FilesOK: t.OK, FilesSkipped: t.Skipped, FilesFailed: t.Failed, Retrans: t.Retrans,
		Dests: []events.DestEnd{{Dest: j.Dest.Shown, Exit: code, DoneBytes: t.DoneBytes, FilesFailed: t.Failed}}, Sources: append([]events.SourceEnd{}, r.Sources...)}
	if s := r.Took.Seconds(); s > 0 {
		e.AvgBps = int64(float64(t.Verified) / s)
	}
	if e.Resumable {
		e.ResumeCmd = typeAgain(withoutSecrets(env.Args))
	}
	return v.finish(env, o, e, out)
}

// finish shows the end of a job and returns the error for the exit code.
func (v *view) finish(env Env, o *Options, e events.JobEnd, out *exitError) error {
	now := time.Now()
	if v.json != nil && out != nil && out.Msg != "" {
		v.json.Record(now, errorEvent(out))
	}
	v.rec.Record(now, e)
	v.close()
	cols, _ := v.width()
	so := summaryOptions{Kind: o.Output.Summary, Width: cols, Style: v.style, Headless: v.plain != nil}
	lines := summaryLines(e, v.sum.Info(), so)
	if o.Output.Quiet {
		lines = summaryFailedLines(v.sum.Info(), so)
	}
	for _, l := range lines {
		fmt.Fprintln(env.Stderr, l)
	}
	v.sum.Close()
	if out == nil {
		return nil
	}
	return out
}

// typeAgain is the command to type again, quoted for a shell.
func typeAgain(args []string) string {
	words := []string{"gomover"}
	for _, a := range args {
		words = append(words, shellWord(a))
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word for a shell where that is needed.
func shellWord(a string) string {
	plain := a != ""
	for _, r := range a {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,", r) {
			plain = false
		}
	}
	if plain {
		return a
	}
	return "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
}

// watchSignals acts on signals until the function it returns is called.
func (v *view) watchSignals(cancel context.CancelCauseFunc) func() {
	ch := make(chan os.Signal, 8)
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	list = append(list, viewSignals...)
	signal.Notify(ch, list...)
	stop := make(chan struct{})
	go func() {
		ended := false
		for {
			select {
			case <-stop:
				return
			case s := <-ch:
				code := map[os.Signal]int{os.Interrupt: exitINT, syscall.SIGTERM: exitTERM, syscall.SIGHUP: exitHUP}[s]
				switch {
				case code == 0:
					v.viewSignal(s)
				case ended:
					os.Exit(code)
				default:
					ended = true
					cancel(&signalError{fmt.Errorf("ended by %v", s), code})
				}
			}
		}
	}()
	return func() { signal.Stop(ch); close(stop) }
}

// utf8Locale tells whether the user's terminal shows UTF-8.
func utf8Locale(env Env) bool {
	for _, v := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if s := env.Getenv(v); s != "" {
			s = strings.ToLower(s)
			return strings.Contains(s, "utf-8") || strings.Contains(s, "utf8")
		}
	}
	return false
}

// openJSON opens where --json writes; nil when it is off.
func openJSON(env Env, to string) (io.WriteCloser, error) {
	switch {
	case to == "":
		return nil, nil
	case to == "-":
		return keepOpen{env.Stdout}, nil
	case strings.HasPrefix(to, "fd:"):
		var fd int
		if _, err := fmt.Sscanf(to, "fd:%d", &fd); err != nil {
			return nil, usageError("--json=" + to + ": no such descriptor")
		}
		f := os.NewFile(uintptr(fd), to)
		if f == nil {
			return nil, usageError("--json=" + to + ": no such descriptor")
		}
		if _, err := f.Stat(); err != nil {
			return nil, usageError("--json=" + to + ": no such descriptor")
		}
		return f, nil
	}
	f, err := os.Create(to)
	if err != nil {
		return nil, usageError(fmt.Sprintf("--json=%s: %v", to, err))
	}
	return f, nil
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }
