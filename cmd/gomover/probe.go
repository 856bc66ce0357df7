package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/location"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/probe"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/host"
)

// readHosts reads the words of probe and doctor: hosts, as copy would read them
// with a colon behind. Errors: *exitError with exitUsage.
func readHosts(env Env, command string, words []string) (list []location.Location, err error) {
	if len(words) == 0 {
		return nil, usageError(command+": needs a host", "gomover "+command+" HOST")
	}
	for _, w := range words {
		word := w
		if !strings.Contains(w, "://") && !strings.HasSuffix(w, ":") {
			word = w + ":"
		}
		l, err := location.Parse(word, env.Windows)
		if err != nil || l.Kind != location.Remote {
			return nil, usageError(fmt.Sprintf("%s %s: is not a host", command, w), "gomover "+command+" HOST, or USER@HOST, or ssh://HOST:PORT")
		}
		if l.Path != "" {
			return nil, usageError(fmt.Sprintf("%s %s: takes a host without a path", command, w), "gomover "+command+" "+hostWord(l))
		}
		list = append(list, l)
	}
	return list, nil
}

// hostWord is a place's host as probe takes it.
func hostWord(l location.Location) string {
	if l.Path = ""; l.Port != 0 {
		return l.String()
	}
	word := l.Host
	if l.User != "" {
		word = l.User + "@" + word
	}
	return word
}

// newProbe makes the job for one host.
func newProbe(ctx context.Context, env Env, o *Options, l location.Location) (*mover.ProbeJob, error) {
	o = o.ForHost(l.Host)
	// Logging in, ports and addresses are those of a copy to the host.
	j, err := newJob(ctx, env, o, location.Plan{Sources: []location.Location{{Kind: location.Local, Path: "."}}, Dests: []location.Location{l}}, "")
	if err != nil {
		return nil, err
	}
	p := &mover.ProbeJob{User: j.Dest.User, Host: j.Dest.Host, Port: j.Dest.Port, Ports: j.Ports, Bind: j.Bind, IPv4: j.IPv4, IPv6: j.IPv6,
		DataAddr: j.DataAddr, Login: j.Login, Boot: j.Boot, Version: version}
	p.Login.Prompt = (&view{}).prompter(env)
	if p.Dir, err = os.Getwd(); err != nil {
		p.Dir = "" // the directory is gone: its disk is not looked at
	}
	if o.Output.Verbose > 0 {
		p.Step = func(what string) { fmt.Fprintf(env.Stderr, "gomover: %s: %s\n", printable(l.Host), what) }
	}
	return p, nil
}

// eachHost does something for each host, until a signal comes; one that fails does
// not keep the others from it. The errors are joined.
func eachHost(ctx context.Context, env Env, o *Options, command string, words []string, do func(context.Context, *mover.ProbeJob) error) error {
	list, err := readHosts(env, command, words)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	go func() {
		select {
		case s := <-signals:
			code := map[os.Signal]int{os.Interrupt: exitINT, syscall.SIGTERM: exitTERM, syscall.SIGHUP: exitHUP}[s]
			cancel(&signalError{fmt.Errorf("ended by %v", s), code})
		case <-ctx.Done():
		}
	}()
	var all []error
	for _, l := range list {
		j, err := newProbe(ctx, env, o, l)
		if err == nil {
			err = do(ctx, j)
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			_, x := exitOf(err, nil, nil)
			var given *exitError
			if errors.As(err, &given) {
				x = given
			}
			all = append(all, x)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

// hostWriter writes what a command about hosts has found, to people or as events.
type hostWriter struct {
	text  io.Writer
	json  *jsonLines
	file  io.Closer
	began time.Time
	told  bool // an error
}

func newHostWriter(env Env, o *Options) (*hostWriter, error) {
	w, err := openJSON(env, o.Output.JSON)
	if err != nil {
		return nil, err
	}
	h := &hostWriter{text: env.Stdout, began: time.Now()}
	if w != nil {
		h.json, h.file = newJSONLines(w, "", false), w
		h.json.SetJob("") // there is none, so nothing waits for its name
		if o.Output.JSON == "-" {
			h.text = io.Discard // standard output is for events alone
		}
	}
	return h, nil
}

func (h *hostWriter) record(e events.Event) {
	if h.json != nil {
		h.json.Record(time.Now(), e)
	}
}

// failed records what a host could not be asked for.
func (h *hostWriter) failed(name string, err error) {
	if h.json == nil || err == nil {
		return
	}
	_, x := exitOf(err, nil, nil)
	if x.Msg == "" { // a signal, which is no fault of the host
		return
	}
	e := errorEvent(x)
	e.Host, e.Fatal = name, false
	h.told = true
	h.record(e)
}

// close ends the events, with the error that the command ends with.
func (h *hostWriter) close(err error) error {
	if h.json == nil {
		return nil
	}
	end := events.JobEnd{Exit: exitCodeOf(err), Reason: "done", Ms: time.Since(h.began).Milliseconds(), Dests: []events.DestEnd{}, Sources: []events.SourceEnd{}}
	if err != nil {
		x := &exitError{Code: end.Exit, Msg: err.Error()}
		errors.As(err, &x)
		if end.Reason = err.Error(); end.Reason == "" {
			end.Reason = reasonOf(end.Exit, x)
		}
		if !h.told && x.Msg != "" {
			h.record(errorEvent(x))
		}
	}
	h.record(end)
	if err := errors.Join(h.json.Close(), h.file.Close()); err != nil && !errors.Is(err, syscall.EPIPE) {
		return &exitError{Code: exitDestination, Msg: "writing events: " + err.Error(), Err: err}
	}
	return nil
}

// runProbe is the command probe.
func runProbe(ctx context.Context, env Env, o *Options, words []string) error {
	w, err := newHostWriter(env, o)
	if err != nil {
		return err
	}
	if o.Output.History {
		err = probeHistory(env, o, w, words)
		return joinFirst(err, w.close(err))
	}
	if o.Output.Plot != "" {
		err = usageError("--plot: draws what --history tells", "gomover probe --history --plot=path.svg HOST")
		return joinFirst(err, w.close(err))
	}
	err = eachHost(ctx, env, o, "probe", words, func(ctx context.Context, j *mover.ProbeJob) error {
		p, err := mover.Probe(ctx, j)
		if p.Report != nil {
			for _, e := range probeEvents(j.Host, &p) {
				w.record(e)
			}
			if _, werr := io.WriteString(w.text, probeText(j.Host, &p)); werr != nil {
				return &exitError{Code: exitDestination, Msg: "standard output: " + werr.Error(), Err: werr}
			}
		}
		w.failed(j.Host, err)
		return err
	})
	return joinFirst(err, w.close(err))
}

// exitCodeOf is the exit code of an error of eachHost.
func exitCodeOf(err error) int { return reportError(io.Discard, err) }

// joinFirst joins an error with one that matters only without it.
func joinFirst(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// localHost is how this machine is called in events.
const localHost = "local"

// probeEvents are the events of a report: each direction, and each end.
func probeEvents(name string, p *mover.Probed) []events.Event {
	r := p.Report
	there, back := mover.ProbeEvents(name, r)
	return []events.Event{
		there, back,
		facts(localHost, &r.Here), facts(name, &r.Far),
		events.Plan{Transport: "tcp", Streams: p.Start.Streams, Dial: "source", RTTms: ms(r.RTT.Min), Encrypt: "on", CC: p.Start.CC, Reason: p.Start.Reason},
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// facts is the event of one end.
func facts(name string, f *host.Facts) events.Facts {
	return events.Facts{Host: name, OS: f.OS, Cores: f.Processor.Cores, CPUBusy: f.Processor.Busy, CPUHottest: f.Processor.Hottest,
		MemoryBytes: f.Memory.Bytes, MemoryFreeBytes: f.Memory.Free, Interface: f.Network.Name, MTU: f.Network.MTU, SpeedBps: f.Network.Speed,
		SendsBps: f.Network.Sends, GetsBps: f.Network.Gets, RmemMax: f.Buffers.ReadMax, WmemMax: f.Buffers.WriteMax,
		TCPRmemMax: f.Buffers.TCPRead[2], TCPWmemMax: f.Buffers.TCPWrite[2], CC: f.Buffers.Control, CCs: f.Buffers.Controls, AllowedCCs: f.Buffers.Allowed,
		Dir: f.Disk.Dir, FS: f.Disk.FS, DiskBytes: f.Disk.Bytes, DiskFreeBytes: f.Disk.Free, DiskBusy: f.Disk.Busy}
}

// probeText is a report for people.
func probeText(name string, p *mover.Probed) string {
	r := p.Report
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", what, printable(fmt.Sprintf(format, args...)))
	}
	at := ""
	if r.UDPOut.At.IsValid() {
		at = " at " + r.UDPOut.At.Addr().String()
	}
	fmt.Fprintf(&b, "%s%s, measured in %s with %s\n", printable(name), at, units.FormatDuration(r.Took), units.FormatBytes(r.Bytes))
	if r.RTT.N > 0 {
		line("round trip", "%s at least, %s mostly, %s at most for 19 of 20", milli(r.RTT.Min), milli(r.RTT.P50), milli(r.RTT.P95))
		line("loss", "%s", lossText(r))
		line("packets", "up to %d bytes whole", r.MTU)
	} else if r.Connect > 0 {
		line("round trip", "%s, of one TCP handshake", milli(r.Connect))
	}
	line("to "+name, "%s", capacityText(&r.There, r))
	line("from "+name, "%s", capacityText(&r.Back, r))
	line("ports", "TCP %s, UDP %s", eachWay(r.TCPOut, r.TCPIn), eachWay(r.UDPOut, r.UDPIn))
	if g := &r.Group; g.OK {
		line("multicast", "to there: %d of %d packets to a group arrived", g.Heard, g.Sent)
	} else if g.Why != "" {
		line("multicast", "none to there: %s", g.Why)
	}
	line("this end", "%s", factsText(&r.Here))
	line("far end", "%s", factsText(&r.Far))
	line("a copy", "begins with %d TCP streams: %s", p.Start.Streams, p.Start.Reason)
	for _, f := range r.Flags {
		line("note", "%s", f)
	}
	return b.String()
}

// milli prints a round trip.
func milli(d time.Duration) string { return fmt.Sprintf("%.3g ms", ms(d)) }

func lossText(r *probe.Report) string {
	order := ""
	if r.Order.Reordered > 0 {
		order = fmt.Sprintf("; %d out of order, by up to %d", r.Order.Reordered, r.Order.Extent)
	}
	if r.Lost == 0 {
		return fmt.Sprintf("none of %d echoes, so surely less than %.0f%%%s", r.Echoes, 100*r.LossHigh, order)
	}
	return fmt.Sprintf("%d of %d echoes, so %.0f%% to %.0f%%%s", r.Lost, r.Echoes, 100*r.LossLow, 100*r.LossHigh, order)
}

func capacityText(d *probe.Direction, r *probe.Report) string {
	if d.Verdict == estimate.Unusable {
		why := d.Why
		if !r.UDPOut.OK {
			why = "no UDP"
		}
		return "capacity not known: " + why
	}
	out := units.FormatRate(d.Rate, true)
	if d.Verdict == estimate.AtLeast {
		out = "at least " + out + ", " + d.Why
	}
	if d.Class != "" {
		out += " (as Ethernet of " + d.Class + ")"
	}
	switch d.Free {
	case estimate.Measured:
		out += ", " + units.FormatRate(d.Available, true) + " of it free"
	case estimate.AtLeast:
		if d.Verdict == estimate.Measured {
			out += ", at least " + units.FormatRate(d.Available, true) + " of it free"
		}
	}
	return out + ", " + units.FormatBytes(d.BDP) + " under way when full"
}

// eachWay says which directions of a protocol work.
func eachWay(out, in probe.Reach) string {
	switch {
	case out.OK && in.OK:
		return "both ways"
	case out.OK:
		return "only to there (" + in.Why + ")"
	case in.OK:
		return "only from there (" + out.Why + ")"
	}
	return "not at all (" + out.Why + ")"
}

// factsText says what an end has to offer.
func factsText(f *host.Facts) string {
	var out []string
	add := func(known bool, format string, args ...any) {
		if known {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	p, n, k := &f.Processor, &f.Network, &f.Disk
	add(p.Cores > 0, "%d processors %.0f%% busy", p.Cores, 100*p.Busy)
	add(n.Name != "" && n.Speed > 0, "%s of %s", n.Name, units.FormatRate(units.Rate(n.Speed), true))
	add(n.Name != "" && n.Speed == 0, "%s", n.Name)
	add(n.Sends+n.Gets > 1e6, "which sends %s and gets %s", units.FormatRate(units.Rate(max(n.Sends, 0)), true), units.FormatRate(units.Rate(max(n.Gets, 0)), true))
	add(f.Buffers.Known, "TCP buffers up to %s in and %s out", units.FormatBytes(f.Buffers.TCPRead[2]), units.FormatBytes(f.Buffers.TCPWrite[2]))
	add(slices.Contains(f.Buffers.Allowed, "bbr"), "bbr allowed")
	add(k.Bytes > 0, "%s free of %s", units.FormatBytes(k.Free), units.FormatBytes(k.Bytes))
	if len(out) == 0 {
		return "not known"
	}
	return strings.Join(out, ", ")
}
