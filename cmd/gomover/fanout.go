package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/location"
	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/tuner/pace"
)

// runFan copies to several destinations and shows it.
func runFan(ctx context.Context, env Env, o *Options, plan location.Plan) error {
	fan, err := newFan(ctx, env, o, plan)
	if err != nil {
		return refused(env, o.Output.JSON, err)
	}
	v, err := newView(env, o, fan.ID(), fan.Jobs[0].StateDir)
	if err != nil {
		return err
	}
	if ask := v.prompter(env); ask != nil {
		known := &answers{m: make(map[string]string)}
		for _, j := range fan.Jobs {
			j.Login.Prompt = &sharedPrompter{Prompter: ask, known: known, asked: make(map[string]bool)}
		}
	}
	fan.Controls = mover.NewFanControls(fan)
	v.control(env, fan.ID(), fan.Jobs[0].StateDir, fan.Controls)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer v.watchSignals(cancel)()
	if plan.ByName && env.IsTerminal && !o.Output.Quiet {
		v.print(byName(fan))
	}
	v.rec.Record(time.Now(), events.JobStart{Version: version, Argv: withoutSecrets(env.Args), Mode: "fanout", Sources: shown(fan.Jobs[0].Sources), Dests: fan.Names()})
	if o.Net.Encrypt == "off" {
		v.rec.Record(time.Now(), events.Warn{Code: "net.plain", Message: "--encrypt=off: data can be read and changed on its way"})
	}
	began := time.Now()
	told := &onceTold{seen: make(map[string]bool)}
	out, together := fan.Run(ctx, v.rec, func(i int, r mover.Outcome) { v.destEnd(fan, i, r, told) })
	return v.endFan(env, o, fan, out, together, time.Since(began))
}

// byName says which words were taken for hosts.
func byName(fan *mover.Fan) string {
	text := "fan-out of " + strings.Join(shown(fan.Jobs[0].Sources), " ") + " to " + viewPlural(int64(len(fan.Jobs)), "host") + ":"
	for _, j := range fan.Jobs {
		text += " " + j.FarHost()
	}
	return text
}

// newFan makes a job for each destination of a plan, with the options of its host.
func newFan(ctx context.Context, env Env, o *Options, plan location.Plan) (*mover.Fan, error) {
	n := len(plan.Dests)
	if o.Fan.MinDests > n {
		return nil, usageError(fmt.Sprintf("--min-dests %d: there are %d destinations", o.Fan.MinDests, n))
	}
	fan := &mover.Fan{Limit: o.Net.Limit, Slow: o.Fan.Slow, Chain: o.Fan.How == "chain", PassOn: o.Fan.How == "any", Group: o.Fan.Group}
	var err error
	if fan.Multicast, err = fanHow(o); err != nil {
		return nil, err
	}
	if name := fan.Group.Interface; name != "" && (fan.Multicast == mover.MulticastAuto || fan.Multicast == mover.MulticastAlways) {
		if _, err := net.InterfaceByName(name); err != nil {
			return nil, usageError(fmt.Sprintf("--mcast-if %s: this machine has no such interface", name))
		}
	}
	uploads, hash := new(sshboot.Uploads), ""
	for _, d := range plan.Dests {
		one := plan
		one.Dests = []location.Location{d}
		ho := o
		if d.Host != "" {
			ho = o.ForHost(d.Host)
		}
		own := *ho
		// What this process may use is for all of them.
		own.Storage.Memory = ho.Storage.Memory / int64(n)
		own.Net.Limit = pace.Constant(ho.Fan.LimitEach)
		j, err := newJob(ctx, env, &own, one, hash)
		if err != nil {
			return nil, err
		}
		j.Boot.Uploads, hash = uploads, j.Boot.Hash
		fan.Jobs = append(fan.Jobs, j)
	}
	return fan, nil
}

// fanHow decides on multicast. A list of transports is what is permitted: without xm,
// which is multicast, there is none but where it is asked for.
func fanHow(o *Options) (string, error) {
	how := fanMulticast[o.Fan.How]
	named := len(o.Net.Transports) > 0
	switch {
	case o.Net.Multicast && !named && how == mover.MulticastAuto:
		return mover.MulticastAlways, nil
	case o.Net.Multicast && !named && how != mover.MulticastAlways:
		return "", usageError("--transport xm: is multicast, which --fanout " + o.Fan.How + " excludes")
	case named && !o.Net.Multicast && how == mover.MulticastAuto:
		return mover.MulticastNever, nil
	}
	return how, nil
}

// answers are what the user has answered already, by question.
type answers struct {
	mu sync.Mutex
	m  map[string]string
}

// sharedPrompter asks for the login to one of several hosts. A question that was
// answered for another host, such as for the passphrase of a key, is asked again
// only when the answer does not do here.
type sharedPrompter struct {
	sshboot.Prompter
	known *answers
	asked map[string]bool // by this login; a login asks one question at a time
}

// Ask implements sshboot.Prompter.
func (p *sharedPrompter) Ask(ctx context.Context, question string, secret bool) (string, error) {
	again := p.asked[question]
	p.asked[question] = true
	// One question after the other, so that the second host finds the answer
	// that was given for the first.
	p.known.mu.Lock()
	defer p.known.mu.Unlock()
	if a, ok := p.known.m[question]; ok && !again {
		return a, nil
	}
	a, err := p.Prompter.Ask(ctx, question, secret)
	if err == nil {
		p.known.m[question] = a
	}
	return a, err
}

// onceTold keeps what is the same for all destinations from being told for each.
type onceTold struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (t *onceTold) first(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.seen[text]
	t.seen[text] = true
	return !known
}

// destEnd tells at once that a destination has failed, while the others go on.
func (v *view) destEnd(fan *mover.Fan, i int, r mover.Outcome, told *onceTold) {
	name := fan.Names()[i]
	code, x := exitOf(r.Err, v.fails.at(name), &r.Report)
	var sig *signalError
	if code == exitOK || x.Msg == "" || errors.As(r.Err, &sig) || !told.first(x.Msg) {
		return
	}
	e := errorEvent(x)
	e.Fatal, e.Host = false, strings.TrimSuffix(name, ":")
	e.Message = strings.Join(append([]string{destReason(fan, i, x)}, x.Lines...), "\n  ")
	v.rec.Record(time.Now(), e)
}

// destReason is why a destination is not complete, without its host's name in
// front.
func destReason(fan *mover.Fan, i int, x *exitError) string {
	return strings.TrimPrefix(strings.TrimPrefix(x.Msg, plainDest(fan.Names()[i])), fan.Jobs[i].FarHost()+": ")
}

// endFan shows what came of all destinations and returns the error for the exit
// code.
func (v *view) endFan(env Env, o *Options, fan *mover.Fan, out []mover.Outcome, together mover.Together, took time.Duration) error {
	e := events.JobEnd{Ms: took.Milliseconds(), Sources: []events.SourceEnd{}, SentBytes: together.Group.Bytes}
	var codes []int
	var missing []string
	var most int64
	started := false
	complete := 0
	for i := range out {
		r, name := &out[i], fan.Names()[i]
		code, x := exitOf(r.Err, v.fails.at(name), &r.Report)
		t := r.Totals
		d := events.DestEnd{Dest: name, Exit: code, DoneBytes: t.DoneBytes, FilesFailed: t.Failed,
			GroupBytes: r.Group.Bytes, GroupPackets: r.Group.Packets, UnicastBytes: r.Unicast.Bytes, UnicastPackets: r.Unicast.Packets, ResentBytes: r.Resent,
			RefusedBlocks: r.Refused.Blocks, RefusedPackets: r.Refused.Packets}
		if code == exitOK {
			complete++
		} else {
			if d.Reason = destReason(fan, i, x); d.Reason == "" {
				d.Reason = reasonOf(code, x)
				if code == exitPartFiles {
					d.Reason = viewPlural(t.Failed, "file") + " failed"
				}
			}
			text := plainDest(name) + d.Reason
			if safe := safePercent(&t); safe > 0 && resumableExit(code) && !strings.Contains(text, "%") {
				text += " (" + progressPercent(safe) + " is safe there)"
			}
			missing = append(missing, text)
			codes = append(codes, code)
		}
		e.Dests = append(e.Dests, d)
		e.DoneBytes += t.DoneBytes
		e.SentBytes += t.Sent
		e.FilesOK += t.OK
		e.FilesSkipped += t.Skipped
		e.FilesFailed += t.Failed
		e.Retrans += t.Retrans
		e.AvgBps += t.Verified
		most = max(most, t.Bytes)
		started = started || r.Started
	}
	e.Multicast = multicastOf(out, &together)
	e.TotalBytes = max(most*int64(len(out)), e.DoneBytes)
	e.AvgBps = summaryRate(e.AvgBps, e.Ms)
	e.Exit = fanExit(complete, o.Fan.MinDests, codes)
	var x *exitError
	switch {
	case e.Exit == exitOK && o.Safety.ErrorOnNoTransfer && e.FilesOK == 0 && e.SentBytes == 0:
		e.Exit = exitNothing
		x = &exitError{Code: exitNothing, Msg: "nothing to transfer: everything is there already"}
	case e.Exit != exitOK:
		x = &exitError{Code: e.Exit, Msg: fanMessage(len(missing), len(out)), Lines: fanLines(missing)}
		if resumableExit(e.Exit) && started {
			x.Hints = []string{"the same command sends only what is missing"}
		}
		if signalled(e.Exit) {
			x = &exitError{Code: e.Exit}
		}
	}
	e.Reason = reasonOf(e.Exit, x)
	if e.Resumable = resumableExit(e.Exit) && started; e.Resumable {
		e.ResumeCmd = typeAgain(withoutSecrets(env.Args))
	}
	err := v.finish(env, o, e, x)
	if e.Exit == exitOK && len(missing) > 0 && !o.Output.Quiet {
		writeMessage(env.Stderr, "gomover: warning: ", fanMessage(len(missing), len(out))+", which --min-dests permits", fanLines(missing), nil)
	}
	return err
}

// multicastOf sums up what was sent to several destinations at once; nil: nothing was.
func multicastOf(out []mover.Outcome, t *mover.Together) *events.Multicast {
	if t.Wire == 0 {
		return nil
	}
	m := &events.Multicast{GroupBytes: t.Group.Bytes, GroupPackets: t.Group.Packets, CodedBytes: t.Coded,
		UnicastBytes: t.Unicast.Bytes, UnicastPackets: t.Unicast.Packets, ResentBytes: t.Resent, WireBytes: t.Wire}
	for i := range out {
		got := out[i].Totals.Verified
		m.GotBytes += got
		m.CopyBytes = max(m.CopyBytes, got)
		if out[i].Group.Bytes > 0 {
			m.Dests++
		}
	}
	return m
}

// safePercent is how much of what a destination is to have is there: below 1 there is
// nothing to be told, and an incomplete one never has all.
func safePercent(t *engine.Totals) int {
	if t.Bytes <= 0 {
		return 0
	}
	return int(min(99, 100*float64(t.DoneBytes)/float64(t.Bytes)))
}

// signalled tells whether a code is that of a signal.
func signalled(code int) bool { return code == exitHUP || code == exitINT || code == exitTERM }

// fanMessage says how many destinations are not complete.
func fanMessage(missing, all int) string {
	verb := " are incomplete"
	if missing == 1 {
		verb = " is incomplete"
	}
	return strconv.Itoa(missing) + " of " + strconv.Itoa(all) + " destinations" + verb
}

// fanLines bounds the reasons that are shown.
func fanLines(missing []string) []string {
	if n := len(missing); n > summaryFailedMost {
		return append(missing[:summaryFailedMost:summaryFailedMost], "and "+strconv.Itoa(n-summaryFailedMost)+" more")
	}
	return missing
}

// fanExit is the exit code of a job with several destinations: complete have 0,
// codes are those of the others, least how many must be complete, 0 for all.
func fanExit(complete, least int, codes []int) int {
	for _, c := range codes {
		if signalled(c) {
			return c
		}
	}
	switch {
	case len(codes) == 0, least > 0 && complete >= least:
		return exitOK
	case complete > 0:
		return exitPartDests
	}
	return worstExit(codes...)
}
