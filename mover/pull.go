package mover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/replica/pull"
	"github.com/gomover/gomover/replica/tree"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// ErrReplicas means that the replicas of a pull differ, or that none of them
// can be used.
var ErrReplicas = errors.New("the replicas cannot be used")

// ErrBelowRate means that all replicas of a pull together were slower than was
// asked for.
var ErrBelowRate = errors.New("too slow")

// Replica is one place that has a copy of a file.
type Replica struct {
	URL   string // http or https, perhaps with a password; "" for another one
	Host  string // that is reached over ssh; "" for a local one
	User  string // there; "" as ssh is set up
	Port  int    // of ssh there; 0 as ssh is set up
	Path  string // of a local one, or of one on a host
	Base  string // the file's name there; "" if it has none
	Shown string // for people, without a password
	// Inside tells that of a directory its contents are meant.
	Inside bool

	text []byte // of a list that was read before; nil: it was not
}

// Pull is what a job fetches from several replicas, instead of its sources.
type Pull struct {
	Replicas []Replica // of one file, or of one tree where the job is recursive; may be empty when there are lists
	Lists    []Replica // metalinks, each of which may name several files

	ListFile         string     // the one file of the lists that is meant; "": all
	Location         string     // country whose mirrors come first; "": any
	RequireSignature bool       // refuse lists that are not signed, and those whose signature cannot be checked
	Streams          int        // connections to each mirror; 0: 4
	MaxSources       int        // at once; 0: 8
	MinRate          units.Rate // bytes per second; 0: none
	Trust            bool       // samples are enough to mix what nothing can verify
	Prefer           int        // replica to believe, plus one; 0: none
	Proxy            func(*http.Request) (*url.URL, error)
}

// below is the name of the file within a directory that is the destination; "" if
// the destination is the file, or if a list says the name.
func (p *Pull) below(j *Job) string {
	if len(p.Replicas) == 0 || j.Exact {
		return ""
	}
	if j.Dest.Remote {
		return p.Replicas[0].Base // only that host knows what its path is
	}
	if info, err := os.Stat(j.Dest.Path); j.Dest.Inside || j.IntoDir || err == nil && info.IsDir() {
		return p.Replicas[0].Base
	}
	return ""
}

// pullFile is one file with all that is known of it.
type pullFile struct {
	base   string // its name below a directory, with slashes; "" if it has none
	places []pull.Place
	check  pull.Check
	prefer int // place to believe, plus one; 0: none
}

// sessionPull fetches the files of a pull.
func (d *director) sessionPull(ctx context.Context) error {
	if d.job.Recursive && len(d.job.Pull.Replicas) > 0 {
		hosts := newPullHosts(context.WithoutCancel(ctx), d)
		err := d.sessionTree(ctx, hosts)
		hosts.close()
		if !errors.Is(err, tree.ErrFile) {
			return err
		}
	}
	hosts := newPullHosts(context.WithoutCancel(ctx), d)
	defer hosts.close()
	files, err := d.pullFiles(ctx, hosts)
	if err != nil {
		return err
	}
	root, names, err := d.pullDest(files)
	if err != nil {
		return err
	}
	dest, err := osfs.NewDest(root, osfs.DestOptions{JobID: d.id, Denied: denyOnce(d.rec)})
	if err != nil {
		return wire.Failf(wire.ClassDest, "%s: %s", d.job.Dest.Shown, plainError(err))
	}
	defer dest.Close()
	return d.runEnd(ctx, &pullEnd{d: d, dest: dest, hosts: hosts, files: files, names: names})
}

// pullDest finds the directory and the names below it.
func (d *director) pullDest(files []pullFile) (root string, names []string, err error) {
	j := d.job
	p := j.Dest.Path
	if p == "" {
		p = "."
	}
	info, serr := os.Stat(p)
	isDir := serr == nil && info.IsDir()
	slash := j.Dest.Inside || j.IntoDir || strings.HasSuffix(p, "/")
	if serr != nil && !errors.Is(serr, fs.ErrNotExist) {
		return "", nil, wire.Failf(wire.ClassDest, "%s: %s", j.Dest.Shown, plainError(serr))
	}
	if !slash && (!isDir || j.Exact) {
		switch {
		case isDir:
			return "", nil, wire.Failf(wire.ClassDest, "%s: is a directory", j.Dest.Shown)
		case len(files) > 1:
			return "", nil, wire.Failf(wire.ClassDest, "%s: several files need a directory, and this is none", j.Dest.Shown)
		}
		to, err := followLink(p)
		if err != nil {
			return "", nil, wire.Failf(wire.ClassDest, "%s: %s", j.Dest.Shown, plainError(err))
		}
		root = filepath.Dir(filepath.FromSlash(to))
		if j.MkPath {
			err = os.MkdirAll(root, 0o777)
		}
		return root, []string{filepath.Base(to)}, err
	}
	switch {
	case serr == nil && !isDir:
		return "", nil, wire.Failf(wire.ClassDest, "%s: is not a directory", j.Dest.Shown)
	case isDir:
	case j.MkPath:
		err = os.MkdirAll(p, 0o777)
	default:
		err = os.Mkdir(p, 0o777)
	}
	if err != nil {
		return "", nil, wire.Failf(wire.ClassDest, "%s: %s", j.Dest.Shown, plainError(err))
	}
	for _, f := range files {
		if f.base == "" || store.CheckName(f.base) != nil {
			return "", nil, &wire.Fail{Class: wire.ClassUsage, Text: "the replicas give the file no name", Hints: []string{"write the name at the end of the destination"}}
		}
		names = append(names, f.base)
	}
	return p, names, nil
}

// plainError is the reason of an error of the operating system.
func plainError(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// pullEnd fetches files one after the other.
type pullEnd struct {
	d     *director
	dest  store.Dest
	hosts *pullHosts
	files []pullFile
	names []string

	mu     sync.Mutex // guards what follows
	at     int        // which file
	now    *pull.Pull
	totals engine.Totals // of files that have ended
	limit  pullLimit
}

var (
	_ end        = (*pullEnd)(nil)
	_ controlled = (*pullEnd)(nil)
)

// Run fetches all files. Errors: those of the only file; of several, ErrReplicas
// when one of them failed for that, otherwise they are counted only.
func (e *pullEnd) Run(ctx context.Context) error {
	var worst error
	for i := range e.files {
		err := e.file(ctx, i)
		switch {
		case err == nil:
		case ctx.Err() != nil || len(e.files) == 1:
			return err
		case errors.Is(err, ErrReplicas):
			worst = err
		}
	}
	return worst
}

func (e *pullEnd) file(ctx context.Context, i int) error {
	f := &e.files[i]
	name := e.names[i]
	began := time.Now()
	if err := e.parents(name); err != nil {
		return err
	}
	o := e.d.job.Engine
	if skip, err := e.existing(name, o.Existing); skip || err != nil {
		e.ended(i, name, "skip", pull.Result{}, began, err)
		return err
	}
	spec := e.d.job.Pull
	p := pull.New(pull.Job{
		Places: f.places, Check: f.check, Dest: e.dest, Name: name, JobID: jobID(e.d.id), Attrs: o.Attrs,
		Streams: spec.Streams, MaxSources: spec.MaxSources, MinRate: spec.MinRate, Rate: units.Rate(e.d.controls.limit()), Trust: spec.Trust, Prefer: f.prefer, Seed: uint64(time.Now().UnixNano()),
		Restart: o.Resume == "never", Force: o.Existing == "replace", NoSync: o.Fsync == "none", GiveUp: e.d.job.GiveUp, NoSpaceCheck: o.NoSpaceCheck,
		Warn: func(code, text string) { record(e.d.rec, events.Warn{Code: code, Message: text}) },
	})
	e.mu.Lock()
	e.at, e.now = i, p
	e.mu.Unlock()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { e.explain(p, stop) })
	r, err := p.Run(ctx)
	close(stop)
	wg.Wait()
	for _, s := range e.d.sourceStates() {
		record(e.d.rec, s)
	}
	err = pullError(name, err)
	action := "new"
	switch {
	case err != nil:
		action = "fail"
	case r.Skipped:
		action = "skip"
	case r.Had > 0:
		action = "resume"
	}
	e.ended(i, name, action, r, began, err)
	return err
}

// jobID is a job's ID as journals hold it.
func jobID(id string) (b [16]byte) {
	copy(b[:], id)
	return b
}

// parents makes the directories that a name has in it.
func (e *pullEnd) parents(name string) error {
	for i, c := range name {
		if c == '/' {
			if err := e.dest.Mkdir(name[:i]); err != nil {
				return wire.Failf(wire.ClassDest, "%s: %s", e.d.job.Dest.Shown, plainError(err))
			}
		}
	}
	return nil
}

// existing applies --existing to what stands at a name already.
func (e *pullEnd) existing(name, mode string) (skip bool, err error) {
	if mode != "skip" && mode != "fail" {
		return false, nil
	}
	if _, err := e.dest.Lookup(name); err != nil {
		return false, nil // what is wrong with it shows when it is written
	}
	if mode == "fail" {
		return false, wire.Failf(wire.ClassDest, "%s: exists", name)
	}
	return true, nil
}

// pullError gives an error of a pull the class from which the exit code follows.
func pullError(name string, err error) error {
	var f *wire.Fail
	switch {
	case err == nil || errors.As(err, &f) || errors.Is(err, context.Canceled) || errors.Is(err, ErrInterrupted):
		return err
	case errors.Is(err, replica.ErrDisagree), errors.Is(err, replica.ErrNoReplica):
		return fmt.Errorf("%s: %w: %w", name, err, ErrReplicas)
	case errors.Is(err, pull.ErrSlow):
		return fmt.Errorf("%s: %w: %w; what has arrived is kept", name, ErrBelowRate, err)
	case errors.Is(err, pull.ErrWrong):
		return wire.Failf(wire.ClassIntegrity, "%s: %v", name, err)
	case errors.Is(err, pull.ErrLost):
		return wire.Failf(wire.ClassLost, "%s: %v; what has arrived is kept", name, err)
	case errors.Is(err, store.ErrNoSpace):
		return wire.Failf(wire.ClassSpace, "%v", err)
	case errors.Is(err, store.ErrLocked):
		return wire.Failf(wire.ClassBusy, "%s: %v", name, err)
	}
	return wire.Failf(wire.ClassDest, "%s: %v", name, err)
}

// ended counts and reports a file that has ended.
func (e *pullEnd) ended(i int, name, action string, r pull.Result, began time.Time, err error) {
	e.mu.Lock()
	t := &e.totals
	e.at, e.now = i+1, nil
	fetched := int64(0)
	for _, p := range r.Places {
		fetched += p.Bytes
	}
	t.Sent += fetched
	t.Verified += fetched
	switch {
	case err != nil:
		t.Failed++
	case action == "skip":
		t.Skipped++
	default:
		t.OK++
	}
	if err == nil {
		t.DoneFiles++
		t.DoneBytes += r.Size
		t.Had += r.Had
	}
	e.mu.Unlock()
	e.d.gave(e.files[i].places, r)
	for k, p := range r.Places {
		source := e.files[i].places[k].Source
		e.d.pasts.gave(source, wayOf(source), p)
	}
	ev := events.File{Path: name, Dest: e.d.job.Dest.Shown, Action: action, SizeBytes: r.Size, SentBytes: fetched, Verified: r.Verified, Ms: time.Since(began).Milliseconds()}
	if (r.Hash != integrity.Sum{}) {
		ev.Hash = integrity.Name + ":" + r.Hash.String()
	}
	if err != nil && len(e.files) == 1 {
		return // the job ends with this error and says it
	}
	if err != nil {
		var f *wire.Fail
		ev.Error, ev.Class = err.Error(), byte(wire.ClassSource)
		if errors.As(err, &f) {
			ev.Class = byte(f.Class)
		}
	}
	record(e.d.rec, ev)
}

// Control changes the rate while the job runs.
func (e *pullEnd) Control(c engine.Control) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.Rate != nil && e.now != nil {
		e.now.SetRate(units.Rate(*c.Rate)) // files that come later begin with it
	}
	return nil
}

// Totals tells how far the job is.
func (e *pullEnd) Totals() engine.Totals {
	e.mu.Lock()
	t, p, at := e.totals, e.now, e.at
	e.mu.Unlock()
	t.Files = int64(len(e.files))
	t.Listed, t.Bytes = true, t.DoneBytes
	for i := at; i < len(e.files); i++ {
		c := &e.files[i].check
		switch s := (pull.State{}); {
		case i == at && p != nil:
			if s = p.State(); !s.Ready {
				t.Listed = t.Listed && c.Known
				t.Bytes += c.Size
				t.State = s.Doing
				continue
			}
			t.Bytes += s.Size
			t.DoneBytes += s.Done
			t.Had += s.Had
			t.Sent += s.Done - s.Had
			t.Verified += s.Done - s.Had
			t.LimitedBy, t.LimitDetail = e.limits(i, p, &s)
			t.Current = e.names[i]
			if s.Size > 0 {
				t.CurrentShare = float64(s.Done) / float64(s.Size)
			}
			for k := range s.Places {
				if s.Places[k].State == replica.Active {
					t.Streams += e.streams(i, k)
				}
			}
		default:
			t.Listed = t.Listed && c.Known
			t.Bytes += c.Size
		}
	}
	return t
}

// limits says what holds the file back that is being fetched.
func (e *pullEnd) limits(i int, p *pull.Pull, s *pull.State) (by, detail string) {
	places := e.files[i].places
	held, names := make([]string, len(places)), make([]string, len(places))
	for k, place := range places {
		names[k] = place.Name
		if src, ok := place.Source.(*sshSource); ok {
			held[k] = src.heldBy()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.limit.look(time.Now(), p, s, held, names)
	return e.limit.by, e.limit.detail
}

// explainAfter is when the plan is told: once rates have been seen. Ours.
const explainAfter = 2 * time.Second

// explain records the plan: what is expected at the start, what is seen after a
// while, and again when a source was found to share its bottleneck with another one.
func (e *pullEnd) explain(p *pull.Pull, stop <-chan struct{}) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	e.mu.Lock()
	at := e.at
	e.mu.Unlock()
	began, told, shared := time.Now(), 0, 0
	for {
		select {
		case <-t.C:
		case <-stop:
			return
		}
		s := p.State()
		n, idle := 0, 0
		for k := range s.Places {
			if st := s.Places[k].State; st == replica.Active || st == replica.Opening {
				n += e.streams(at, k)
			}
		}
		for _, sh := range s.Plan.Shares {
			if sh.Shared {
				idle++
			}
		}
		more := idle > shared
		shared = idle
		if len(s.Plan.Shares) == 0 || !more && (told == 1 && time.Since(began) < explainAfter || told >= 2) {
			continue
		}
		if told++; told == 1 {
			began = time.Now() // rates are seen from now on
		}
		way := e.transport(at)
		record(e.d.rec, events.Plan{Transport: way, Streams: n, Dial: "target", Encrypt: protection(way, e.secure(at), e.d.job.Seal), Reason: strings.ReplaceAll(s.Plan.String(), "\n  ", "; "), Alternatives: []events.Alternative{}})
	}
}

// protection is how data is protected that goes such a way, in the words of
// events.Plan; "" where not all of it is protected alike. tls tells that all mirrors are
// reached by https.
func protection(way string, tls bool, seal transports.Seal) string {
	sealed := !slices.ContainsFunc(strings.Split(way, "+"), func(w string) bool { return w != "tcp" && w != "udt" })
	switch {
	case way == "ssh":
		return "ssh"
	case sealed:
		return seal.String()
	case way == "http" && tls:
		return "tls"
	case way == "http":
		return "off"
	}
	return ""
}

// secure tells whether all mirrors of a file are reached by https.
func (e *pullEnd) secure(at int) bool {
	return !slices.ContainsFunc(e.files[at].places, func(p pull.Place) bool {
		s, ok := p.Source.(webSource)
		return ok && !s.Secure()
	})
}

// streams is over how many connections a replica of a file is read.
func (e *pullEnd) streams(at, place int) int {
	switch s := e.files[at].places[place].Source.(type) {
	case *sshSource:
		return max(1, s.Connections())
	case webSource:
		return max(1, e.d.job.Pull.Streams)
	}
	return 1
}

// wayOf is how a source's bytes travel, in a word; "" if that is not known.
func wayOf(s pull.Source) string {
	switch s := s.(type) {
	case webSource:
		return "http"
	case *localSource:
		return "local"
	case *sshSource:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.conn != nil {
			_, way := s.conn.client.Streams()
			return way
		}
	}
	return ""
}

// transport is how a file's bytes travel, in words.
func (e *pullEnd) transport(at int) string {
	ways := e.hosts.ways()
	for _, p := range e.files[at].places {
		way := ""
		if _, ok := p.Source.(*sshSource); !ok {
			way = wayOf(p.Source)
		}
		if way != "" && !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	return strings.Join(ways, "+")
}
