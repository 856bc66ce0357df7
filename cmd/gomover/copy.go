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
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/wire"
)

// runCopy does one copy and shows it.
func runCopy(ctx context.Context, env Env, o *Options, words []string) error {
	plan, err := readWords(env, o, words)
	if err != nil {
		return refused(env, o.Output.JSON, err)
	}
	if len(plan.Dests) > 1 {
		return runFan(ctx, env, o, plan)
	}
	far := plan.Dests[0].Host
	if far == "" {
		far = plan.Sources[0].Host
	}
	if far != "" {
		o = o.ForHost(far)
	}
	if o.Fan.MinDests > 1 {
		return refused(env, o.Output.JSON, usageError(fmt.Sprintf("--min-dests %d: there is one destination", o.Fan.MinDests)))
	}
	o.Net.Limit = o.Net.Limit.Under(o.Fan.LimitEach)
	j, err := newJob(ctx, env, o, plan)
	if err != nil {
		return refused(env, o.Output.JSON, err)
	}
	v, err := newView(env, o, j.ID(), j.StateDir)
	if err != nil {
		return err
	}
	j.Login.Prompt = v.prompter(env)
	j.Controls = mover.NewControls(j)
	v.control(env, j.ID(), j.StateDir, j.Controls)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer v.watchSignals(cancel)()

	mode := "copy"
	if far == "" {
		mode = "local"
	}
	v.rec.Record(time.Now(), events.JobStart{Version: version, Argv: withoutSecrets(env.Args), Mode: mode, Sources: shown(j.Sources), Dests: shown([]mover.Place{j.Dest})})
	if o.Net.Encrypt == "off" && far != "" {
		v.rec.Record(time.Now(), events.Warn{Code: "net.plain", Message: "--encrypt=off: data can be read and changed on its way"})
	}
	r, err := mover.Run(ctx, j, v.rec)
	return v.end(env, o, j, &r, err)
}

// refused writes the events of a command that never became a job to where --json
// says, for programs that read nothing else, and returns its error.
func refused(env Env, to string, err error) error {
	var x *exitError
	if !errors.As(err, &x) {
		x = &exitError{Code: exitInternal, Msg: err.Error()}
	}
	w, e := openJSON(env, to)
	if e != nil || w == nil {
		return err // the first error is the one to show
	}
	defer w.Close()
	lines, now := newJSONLines(w, "", false), time.Now()
	lines.Record(now, errorEvent(x))
	lines.Record(now, events.JobEnd{Exit: x.Code, Reason: x.Msg, Dests: []events.DestEnd{}, Sources: []events.SourceEnd{}})
	lines.Close()
	return err
}

// refusedEarly is refused for a command line that could not be read: where its
// events go is looked for in the words themselves.
func refusedEarly(env Env, err error) error {
	var o Options
	for _, a := range env.Args {
		if a == "--" {
			break
		}
		if a == "--json" {
			o.Output.JSON = "-"
		} else if v, ok := strings.CutPrefix(a, "--json="); ok && storeJSON(&o, v) != nil {
			return err // what is wrong with it is this error, or will be the next one
		}
	}
	return refused(env, o.Output.JSON, err)
}

// errorEvent is the event of an error that ends the run.
func errorEvent(x *exitError) events.Error {
	e := events.Error{Code: codeWord(x.Code), Message: x.Msg, Fatal: true}
	if len(x.Hints) > 0 {
		e.Hint = x.Hints[0]
	}
	return e
}

func shown(l []mover.Place) (s []string) {
	for i := range l {
		s = append(s, l[i].Shown)
	}
	return s
}

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
	has := func(s string) bool {
		for _, x := range show {
			if x == s {
				return true
			}
		}
		return show == nil
	}
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

// exitOf turns the end of a job into a code and a message.
func exitOf(err error, failed map[wire.Class]int64, r *mover.Report) (int, *exitError) {
	if err == nil {
		return exitOfFiles(failed, r)
	}
	var sig *signalError
	var f *wire.Fail
	var s *sshboot.Error
	x := &exitError{Code: exitInternal, Msg: err.Error(), Err: err}
	switch {
	case errors.As(err, &sig):
		x = &exitError{Code: sig.code}
	case errors.Is(err, mover.ErrInterrupted): // by a request to the running job
		x.Code = exitINT
	case errors.Is(err, mover.ErrReplicas):
		x.Code = exitReplicas
	case errors.Is(err, mover.ErrTooSlow), errors.Is(err, mover.ErrBelowRate), errors.Is(err, mover.ErrMinRate):
		x.Code = exitTooSlow
	case errors.As(err, &f):
		x = &exitError{Code: classCode(f.Class), Msg: f.Text, Hints: f.Hints, Err: err}
	case errors.As(err, &s):
		x = &exitError{Code: exitAgent, Msg: s.Line(), Hints: s.Hints, Err: err}
		if s.Kind.Login() {
			x.Code = exitSSH
		} else if s.Kind == sshboot.Config {
			x.Code = exitUsage
		}
		x.Lines = s.Said()
	}
	return x.Code, x
}

// exitOfFiles is the end of a job that ran through, with files that failed or
// none. The summary has said which.
func exitOfFiles(failed map[wire.Class]int64, r *mover.Report) (int, *exitError) {
	some := r.Totals.DoneFiles > 0
	var codes []int
	for class, n := range failed {
		if n == 0 {
			continue
		}
		code := classCode(class)
		if (code == exitSource || code == exitDestination) && some {
			code = exitPartFiles
		}
		codes = append(codes, code)
	}
	if len(codes) == 0 {
		return exitOK, nil
	}
	code := codes[0]
	for _, k := range codes[1:] {
		code = worstExit(code, k)
	}
	return code, &exitError{Code: code}
}

// classCode is the exit code of a class of errors.
func classCode(c wire.Class) int {
	switch c {
	case wire.ClassUsage:
		return exitUsage
	case wire.ClassSource:
		return exitSource
	case wire.ClassDest:
		return exitDestination
	case wire.ClassSpace:
		return exitSpace
	case wire.ClassIntegrity:
		return exitIntegrity
	case wire.ClassChanged:
		return exitChanged
	case wire.ClassBusy:
		return exitBusy
	case wire.ClassNoPath:
		return exitNoPath
	case wire.ClassLost, wire.ClassStopped:
		return exitLost
	case wire.ClassProtocol, wire.ClassVersion:
		return exitAgent
	case wire.ClassTime:
		return exitTimeLimit
	case wire.ClassReplica:
		return exitReplicas
	case wire.ClassSlow:
		return exitTooSlow
	}
	return exitInternal
}

// codeWord is the first part of an error event's code.
func codeWord(code int) string {
	words := map[int]string{exitUsage: "usage", exitSource: "source", exitChanged: "source.changed", exitDestination: "dest", exitSpace: "dest.space",
		exitSSH: "ssh", exitAgent: "agent", exitNoPath: "net.path", exitLost: "net.lost", exitIntegrity: "integrity", exitTimeLimit: "limit.time", exitTooSlow: "limit.rate", exitPartDests: "dest.some", exitBusy: "state.busy", exitReplicas: "replica", exitNothing: "limit.nothing"}
	if w, ok := words[code]; ok {
		return w
	}
	return "internal"
}

func reasonOf(code int, x *exitError) string {
	switch {
	case code == exitOK:
		return "done"
	case x != nil && x.Msg != "":
		return x.Msg
	case code == exitINT || code == exitTERM || code == exitHUP:
		return "stopped by a signal"
	}
	return "some files failed"
}

// typeAgain is the command to type again, quoted for a shell.
func typeAgain(args []string) string {
	words := []string{"gomover"}
	for _, a := range args {
		plain := a != ""
		for _, r := range a {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,", r) {
				plain = false
			}
		}
		if !plain {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
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
