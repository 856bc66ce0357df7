package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/store"
)

// ErrWrong means that the object is complete and is not the one that was asked
// for, from whichever place.
var ErrWrong = errors.New("the content is not what it must be")

// ErrLost means that nothing came from anywhere for as long as Job.GiveUp says.
var ErrLost = errors.New("no replica delivers")

// ErrSlow means that for a minute less came than Job.MinRate.
var ErrSlow = errors.New("less came than was asked for")

// Facts is what a place says of the object.
type Facts struct {
	Size        int64  // bytes
	Ranges      bool   // it can be asked for parts
	Version     string // as long as it is the same here, so is the content; "": not known
	ModTime     int64  // nanoseconds since 1970; 0: not known
	Latency     time.Duration
	Connections int // to be used at once; 0: Job.Streams
}

// Source is a place that has the object.
//
// Errors of both methods may have a method Final() bool, which tells that asking
// again is of no use. Open is called again after failures, never while a Range is
// open; Range by several goroutines.
type Source interface {
	Open(ctx context.Context) (Facts, error)
	// Range gives n bytes from offset on, then io.EOF. A place without ranges is
	// asked for all bytes only.
	Range(ctx context.Context, offset, n int64) (io.ReadCloser, error)
}

// Pipe is one connection to a place, over which requests are sent before the bytes
// that earlier ones ask for have come. One goroutine at a time. After an error it is
// of no use but to be closed.
type Pipe interface {
	// Ask requests n bytes from offset on and does not wait for them.
	Ask(offset, n int64) error
	// Next gives the bytes of the earliest request that it has not given yet, then
	// io.EOF. What it gave before was read to the end.
	Next() (io.Reader, error)
	Close() error
}

// Piper is a Source with ranges that has pipes. Where it gives nil, or a source is
// none, one range is asked for after the other.
type Piper interface {
	Source
	Pipe(ctx context.Context) Pipe
}

// Elastic is a Source that is read over more or fewer connections as it goes.
type Elastic interface {
	Source
	// Connections is how many are to be used at once by now; 0: as many as there are.
	// It is called now and then.
	Connections() int
}

// Place is a source and what is known of it before.
type Place struct {
	Name   string // for people, without passwords
	Source Source
	Cost   int // the smaller the better, where fewer are enough
	// Past, if not nil, tells what earlier runs say of it, for one that asks it for so
	// many bytes.
	Past func(bytes int64) replica.Past
}

// Check is how the content is verified. The zero value knows nothing.
type Check struct {
	Known bool  // Size is set
	Size  int64 // bytes
	// PieceLen, if not 0, is how long the parts are that Piece verifies, in bytes; the
	// last one is shorter. At most MaxPiece.
	PieceLen int64
	Piece    func(i int64, data []byte) bool
	// Whole, if not nil, starts a hash of all content; sum tells whether what was
	// written to it is right.
	Whole func() (w io.Writer, right func() bool)
	// Root, if not "", is the BLAKE3 hash of all content in hexadecimal.
	Root string
	// ID names the content: equal for equal content, "" if that is not known. An
	// unfinished file of another ID is not continued.
	ID string
}

// MaxPiece is the longest piece in bytes that can be verified by itself: it is
// held in memory for each connection.
const MaxPiece = 64 << 20

// pieces tells whether every block can be verified.
func (c *Check) pieces() bool { return c.PieceLen > 0 }

// known tells whether the whole can be verified.
func (c *Check) known() bool { return c.pieces() || c.Whole != nil || c.Root != "" }

// Job is one object to fetch.
type Job struct {
	Places []Place
	Check  Check
	Dest   store.Dest
	Name   string // below Dest
	JobID  [16]byte
	Attrs  store.Attrs

	Streams      int           // connections to each place; 0: 4
	MaxSources   int           // places at once; 0: 8
	Rate         units.Rate    // bytes per second of all places together; 0: no limit
	MinRate      units.Rate    // bytes per second: who is below for a minute is left out, and the job ends when all together are
	Trust        bool          // samples of the content are enough to mix
	Seed         uint64        // of the samples, not known to the places
	Prefer       int           // the place to believe, plus one; 0: none
	Restart      bool          // take nothing of an unfinished file
	Force        bool          // fetch even if the file seems to be here
	NoSync       bool          // do not sync before the final name
	NoSpaceCheck bool          // do not look whether there is room
	GiveUp       time.Duration // without a block; 0: never
	Patience     time.Duration // the same while other places wait; 0: 30 s

	// Warn tells people what they should know; it may be called by any goroutine.
	Warn func(code, text string)
}

// Result is what came of a job.
type Result struct {
	Skipped  bool // it was here already
	Size     int64
	Had      int64         // bytes that were here before
	Hash     integrity.Sum // BLAKE3 of all content; zero if skipped
	Verified string        // pieces, hash, blocks, wire, sampled, none
	Places   []PlaceResult // as in Job.Places
	Plan     replica.Plan  // the last one
}

// PlaceResult is what came from a place.
type PlaceResult struct {
	Bytes int64  // stored
	Out   string // why it is left out; "" if it is not

	Seen    replica.Seen  // how fast it was
	Start   time.Duration // that it took until it could be asked for the first time; 0: it never could
	Latency time.Duration // from a request to its first byte; 0: not known
}

// Pull is a job at work.
type Pull struct {
	job    Job
	place  []placeState
	limit  limiter
	voters []int // places that tell the sums of blocks, which must be compared; none if the content is verified otherwise

	mu      sync.Mutex // guards what follows
	now     *conductor // nil before and between
	size    int64
	had     int64
	fetched int64 // by conductors that have ended, and is still here
	ready   bool  // size is known
	doing   string
	notes   []note // not told yet
}

// note is something that people should know.
type note struct{ code, text string }

// note keeps something to be told when no lock is held.
func (p *Pull) note(code, text string) {
	p.mu.Lock()
	p.notes = append(p.notes, note{code, text})
	p.mu.Unlock()
}

// tell tells what was noted. The caller holds no lock.
func (p *Pull) tell() {
	p.mu.Lock()
	notes := p.notes
	p.notes = nil
	p.mu.Unlock()
	for _, n := range notes {
		p.job.Warn(n.code, n.text)
	}
}

// placeState is what was learned of a place.
type placeState struct {
	facts *Facts // of the first opening, until they are used
	bytes int64  // of rounds that have ended
	state replica.State
	out   string

	seen           replica.Seen // in rounds that have ended
	start, latency time.Duration
}

// opened opens a place and notes how long that took.
func (p *Pull) opened(ctx context.Context, i int) (Facts, error) {
	began := time.Now()
	f, err := p.job.Places[i].Source.Open(ctx)
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		at := &p.place[i]
		if at.start == 0 {
			at.start = time.Since(began)
		}
		if f.Latency > 0 {
			at.latency = f.Latency
		}
	}
	return f, err
}

// Bounds of what is waited for. Ours.
const (
	openTimeout    = 20 * time.Second // for a place to answer
	loginTimeout   = 60 * time.Second // for one to which it must be logged in, and perhaps the program brought
	surveyPatience = 3 * time.Second  // for the others once one has answered
	surveyMost     = 64               // places that are asked at once
	sparePatience  = 30 * time.Second // without a block, until a waiting place has its turn
	defaultBlock   = 1 << 20          // bytes, when there are no pieces
	mostBlocks     = 1 << 20          // then blocks grow
	longestBlock   = 16 << 20
	sampleBlocks   = 5 // first, last, three between
	sampleBytes    = 64 << 10
)

// New prepares a job. It is run once.
func New(j Job) *Pull {
	if j.Streams <= 0 {
		j.Streams = 4
	}
	if j.MaxSources <= 0 {
		j.MaxSources = 8
	}
	if j.Patience <= 0 {
		j.Patience = sparePatience
	}
	if j.Warn == nil {
		j.Warn = func(string, string) {}
	}
	if j.Check.PieceLen > MaxPiece {
		j.Check.PieceLen, j.Check.Piece = 0, nil
	}
	return &Pull{job: j, limit: limiter{rate: j.Rate}, place: make([]placeState, len(j.Places)), doing: "asking the replicas"}
}

// SetRate changes Job.Rate while the job runs. Any goroutine may call it.
func (p *Pull) SetRate(r units.Rate) { p.limit.set(r) }

// Run fetches the object.
//
// Errors: replica.ErrDisagree, replica.ErrNoReplica, ErrWrong, ErrLost, ErrSlow, those
// of store, and the cause of ctx's end. What has arrived stays for the next run unless
// it is known to be wrong.
func (p *Pull) Run(ctx context.Context) (Result, error) {
	a, err := p.agree(ctx)
	r := Result{Size: a.Size}
	if err == nil {
		err = p.fetch(ctx, a, &r)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	for i := range p.place {
		at := &p.place[i]
		r.Places = append(r.Places, PlaceResult{Bytes: at.bytes, Out: at.out, Seen: at.seen, Start: at.start, Latency: at.latency})
	}
	return r, err
}

// leave notes that a place is not used, and why.
func (p *Pull) leave(i int, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.place[i].out == "" {
		p.place[i].out = why
		p.notes = append(p.notes, note{"replica.left", p.job.Places[i].Name + " left out: " + why})
	}
}

// fetch brings the content and gives it its name.
func (p *Pull) fetch(ctx context.Context, a replica.Agreement, r *Result) error {
	e := p.entry(a)
	if here, err := p.job.Dest.Lookup(p.job.Name); err == nil {
		switch {
		case here.Kind == store.Dir:
			return errIsDir
		case here.Kind == store.Special:
			return errIsSpecial
		case !p.job.Force && p.job.Check.known() && here.Kind == store.File && here.Size == e.Size:
			if p.same(ctx, e.Size) {
				r.Skipped, r.Had, r.Verified = true, e.Size, p.verified(a, nil, nil)
				return nil
			}
		case !p.job.Force && here.Kind == store.File && here.Size == e.Size && e.ModTime != 0 && here.ModTime == e.ModTime:
			r.Skipped, r.Had = true, e.Size
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	o, err := openObject(p, e, a)
	if err != nil {
		return err
	}
	defer o.close()
	defer func() { o.useless = o.done.Total() == 0 && !o.finished }()
	if free, _, err := p.job.Dest.Free(); err == nil && free < a.Size-o.had && !p.job.NoSpaceCheck {
		return fmt.Errorf("%s: needs %d bytes more, %d are free: %w", p.job.Name, a.Size-o.had, free, store.ErrNoSpace)
	}
	p.mu.Lock()
	p.size, p.had, p.ready, p.doing = a.Size, o.had, true, ""
	p.mu.Unlock()
	r.Had = o.had
	return p.rounds(ctx, a, o, r)
}

// What is never replaced by a file: /dev/null is no place for one.
var (
	errIsDir     = errors.New("is a directory")
	errIsSpecial = errors.New("is a device, a pipe or a socket, and is not replaced")
)

// rounds uses the places that agree and, if nobody is left of these or the whole
// is wrong, one place after the other.
func (p *Pull) rounds(ctx context.Context, a replica.Agreement, o *object, r *Result) error {
	groups := [][]int{a.Use}
	single := a.Spare
	if len(a.Use) > 1 && !p.job.Check.pieces() && (p.job.Check.known() || o.trial != nil) {
		single = slices.Concat(a.Use, a.Spare)
	}
	for _, i := range single {
		groups = append(groups, []int{i})
	}
	var worst error
	for n, group := range groups {
		if len(group) == 1 && p.place[group[0]].out != "" {
			continue
		}
		if n > 0 && !p.job.Check.pieces() {
			// Bytes of another place must not be beside those of the first ones.
			if err := o.empty(); err != nil {
				return err
			}
		}
		// Sources that are away for a while are waited for, when what came from them
		// is worth more than what another one could send alone.
		quiet, last := p.job.GiveUp, n == len(groups)-1 || o.trial != nil
		if !last && (quiet == 0 || quiet > p.job.Patience) {
			quiet = p.job.Patience
		}
		err := p.round(ctx, group, o, r, quiet)
		r.Verified = p.verified(a, group, o)
		if err == nil {
			if err = o.finish(ctx, r); err == nil {
				return nil
			}
		}
		lost := errors.Is(err, ErrLost) && !last
		if ctx.Err() != nil || !lost && !errors.Is(err, ErrWrong) && !errors.Is(err, replica.ErrNoReplica) {
			return err
		}
		if lost && len(group) == 1 {
			p.leave(group[0], fmt.Sprintf("nothing came for %v, and others wait", quiet))
		}
		if errors.Is(err, ErrWrong) {
			if len(group) == 1 {
				p.leave(group[0], "its content has another hash than it must have")
			} else {
				p.note("replica.mixed", "what came from several replicas is not the right whole; each is tried alone")
			}
			if err := o.empty(); err != nil {
				return err
			}
		}
		p.tell()
		worst = err
	}
	return worst
}

// round runs the schedule over some places, until nothing came for quiet.
func (p *Pull) round(ctx context.Context, group []int, o *object, r *Result, quiet time.Duration) error {
	c, err := newConductor(p, group, o, quiet)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.now = c
	p.mu.Unlock()
	err = c.run(ctx)
	r.Plan = c.sched.Plan(c.clock())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = nil
	p.fetched = o.fetched
	for k, i := range group {
		p.place[i].bytes += r.Plan.Shares[k].Stored
		seen := c.sched.Seen(replica.SourceID(k))
		p.place[i].seen = replica.Seen{Took: p.place[i].seen.Took + seen.Took, Rates: append(p.place[i].seen.Rates, seen.Rates...)}
		p.place[i].state = r.Plan.Shares[k].State
		if sh := r.Plan.Shares[k]; sh.State == replica.Out && p.place[i].out == "" {
			p.place[i].out = sh.Why
		}
	}
	return err
}

// entry is the file to be.
func (p *Pull) entry(a replica.Agreement) store.Entry {
	e := store.Entry{Name: p.job.Name, Kind: store.File, Size: a.Size, Mode: 0o666}
	for _, i := range slices.Concat(a.Use, a.Spare) {
		if f := p.place[i].facts; f != nil && f.ModTime != 0 {
			e.ModTime = f.ModTime
			break
		}
	}
	return e
}

// verified says by what the content is known to be right that came from a group of
// places.
func (p *Pull) verified(a replica.Agreement, group []int, o *object) string {
	switch c := &p.job.Check; {
	case c.pieces():
		return "pieces"
	case c.known():
		return "hash"
	case o != nil && o.trial != nil:
		return "blocks"
	case a.Sampled && len(group) > 1:
		return "sampled"
	case len(group) == 1:
		if _, ok := p.job.Places[group[0]].Source.(Attester); ok {
			return "wire"
		}
	}
	return "none"
}

// State is how far a job is.
type State struct {
	Ready bool // Size is known
	Size  int64
	Done  int64 // bytes that are here and right as far as is known
	Had   int64 // of these, before this run
	Doing string
	Plan  replica.Plan // empty before the first source is opened

	Places []PlaceState // as in Job.Places
	Spent  Spent        // since the round began
}

// PlaceState is how far a place is.
type PlaceState struct {
	State   replica.State
	Bytes   int64      // that came from it first and are kept
	Rate    units.Rate // bytes per second of late; 0: it is asked for nothing, or none was seen yet
	Planned int64      // bytes that are still to come from it
}

// State tells how far the job is. It may be called at any time.
func (p *Pull) State() State {
	p.mu.Lock()
	c := p.now
	s := State{Ready: p.ready, Size: p.size, Had: p.had, Done: p.had + p.fetched, Doing: p.doing, Places: make([]PlaceState, len(p.place))}
	for i := range p.place {
		s.Places[i].Bytes, s.Places[i].State = p.place[i].bytes, p.place[i].state
		if p.place[i].out != "" {
			s.Places[i].State = replica.Out
		}
	}
	p.mu.Unlock()
	if c == nil {
		return s
	}
	s.Plan, s.Done = c.state()
	s.Spent = c.spent.now()
	for k, sh := range s.Plan.Shares {
		at := &s.Places[c.feeds[k].place]
		at.State, at.Planned = sh.State, sh.Planned
		at.Bytes += sh.Stored
		if sh.Measured && sh.Asked > 0 {
			at.Rate = sh.Rate
		}
	}
	return s
}
