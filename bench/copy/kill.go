package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// Sizes and bars of the row kill.
const (
	killSize    = 512 << 20 // of the file, bytes
	killOldSize = 1 << 20   // of what is under the final name before, bytes
	killExtra   = 64 << 20  // payload that one kill may cost, bytes
	killLast    = 300 * time.Millisecond
)

// moment says when a trial kills.
type moment int

const (
	anyMoment  moment = iota // uniform from login to rename
	lastMoment               // uniform over the last 300 ms
	inResume                 // once anywhere, and once more in the resumed run
)

func (m moment) String() string {
	return [...]string{"any moment", "last 300 ms", "during a resume"}[m]
}

// victim says which ends a trial kills.
type victim int

const (
	killNear victim = iota
	killFar
	killBoth
)

func (v victim) String() string { return [...]string{"near end", "far end", "both ends"}[v] }

// trial is one run that is killed and its repetition.
type trial struct {
	g        *ends
	args     []string
	src      string
	old      string // "" or what is under the final name before
	dst      string
	when     moment
	who      victim
	random   *rand.Rand
	login    time.Duration // from the start to the agent's
	whole    time.Duration // from the start to the exit of an undisturbed run
	kills    int           // done so far
	extra    int64         // payload bytes beyond the file
	wrong    error         // what was seen under the final name
	selfDone bool          // the killed run ended well by itself
}

// errWrong says that something else than the old or the new file was seen under
// the final name.
var errWrong = errors.New("wrong under the final name")

// errTooLate says that a run ended before its kill; the trial is repeated.
var errTooLate = errors.New("the run ended before it was killed")

// rowKill kills ends at any moment and repeats the command.
func rowKill(ctx context.Context, b *bench) error {
	g, err := b.loopback(ctx)
	if err != nil {
		return err
	}
	defer g.Close()
	src, old := filepath.Join(b.Dir, "src"), filepath.Join(b.Dir, "old")
	if err := errors.Join(payload.MakeFile(ctx, src, b.Size(killSize), 5), payload.MakeFile(ctx, old, killOldSize, 6)); err != nil {
		return err
	}
	defer os.Remove(src)
	defer os.Remove(old)
	// Half of the runs are as fast as they can be, half are held to some seconds.
	paces := [][]string{nil, {"--bwlimit=" + strconv.FormatInt(b.Size(killSize)/2_000_000, 10) + "MB"}}
	var tally killTally
	var logins, wholes [2]ground.Samples
	random := rand.New(rand.NewPCG(b.seed, 0))
	for i := 0; tally.done < b.kills; i++ {
		pace := tally.done % 2
		t := trial{g: g, src: src, dst: filepath.Join(b.Dir, "final"), random: random, when: momentOf(tally.done), who: victim(tally.done / 2 % 3)}
		t.args = g.mover(append(paces[pace], src, g.target(t.dst))...)
		if random.IntN(2) == 1 {
			t.old = old
		}
		if len(wholes[pace]) < 3 || i%20 == 0 { // again and again, for the machine's pace changes
			if err := t.calibrate(ctx, &logins[pace], &wholes[pace]); err != nil {
				return err
			}
		}
		t.login, t.whole = duration(last(logins[pace]).Median()), duration(last(wholes[pace]).Median())
		err := t.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errTooLate) {
			if tally.late++; tally.late > 20+3*b.kills {
				return errors.New("runs end before they can be killed: the machine is too uneven")
			}
			continue
		}
		tally.count(t, err)
		if tally.done%10 == 0 {
			fmt.Fprintf(os.Stderr, "kill: %d of %d, %d identical, %d drawn again\n", tally.done, b.kills, tally.identical, tally.late)
		}
	}
	b.reportKill(tally)
	return nil
}

// momentOf spreads the kinds over the trials: an eighth in the last 300 ms and an
// eighth in a resume, each with all ends and both paces, which take turns in six.
func momentOf(i int) moment {
	switch i / 6 % 8 {
	case 3:
		return lastMoment
	case 6:
		return inResume
	}
	return anyMoment
}

// last are the newest few samples.
func last(s ground.Samples) ground.Samples { return s[max(0, len(s)-5):] }

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// place puts the state before a trial: nothing or an old file under the name.
func (t *trial) place(ctx context.Context) error {
	if err := os.RemoveAll(t.dst); err != nil {
		return err
	}
	if t.old == "" {
		return nil
	}
	return ground.Quiet(ctx, nil, "cp", "-p", t.old, t.dst)
}

// calibrate runs undisturbed and notes how long login and run take.
func (t *trial) calibrate(ctx context.Context, logins, wholes *ground.Samples) error {
	if err := t.place(ctx); err != nil {
		return err
	}
	r, err := t.start(ctx)
	if err != nil {
		return err
	}
	for !r.ended() && len(movers(t.g.far)) == 0 {
		time.Sleep(time.Millisecond)
	}
	login := time.Since(r.began)
	if err := r.wait(); err != nil {
		return err
	}
	*logins, *wholes = append(*logins, login.Seconds()), append(*wholes, time.Since(r.began).Seconds())
	if err := payload.SameFile(t.src, t.dst); err != nil {
		return err
	}
	return t.g.Settle(ctx)
}

// run does one trial: kill, look, repeat, compare.
func (t *trial) run(ctx context.Context) error {
	if err := t.place(ctx); err != nil {
		return err
	}
	before, err := t.sent()
	if err != nil {
		return err
	}
	look := t.watchName()
	defer func() { look() }()
	first, second := t.draw()
	switch {
	case t.when == inResume && t.who == killFar: // the command resumes by itself
		err = t.killed(ctx, first, second)
	case t.when == inResume:
		if err = t.killed(ctx, first); err == nil {
			err = t.killed(ctx, second)
		}
	default:
		err = t.killed(ctx, first)
	}
	if err != nil {
		// What was seen counts also if the run ended too early.
		if t.wrong = look(); t.wrong != nil {
			return t.wrong
		}
		return err
	}
	again, err := t.start(ctx)
	if err != nil {
		return err
	}
	if err := again.wait(); err != nil {
		return fmt.Errorf("the repeated command: %w", err)
	}
	if t.wrong = look(); t.wrong != nil {
		return t.wrong
	}
	look = func() error { return nil }
	if err := payload.SameFile(t.src, t.dst); err != nil {
		return err
	}
	if err := t.g.Settle(ctx); err != nil {
		return err
	}
	after, err := t.sent()
	if err != nil {
		return err
	}
	info, err := os.Stat(t.src)
	if err != nil {
		return err
	}
	t.extra = after - before - info.Size()
	return nil
}

// draw chooses the times of the kills, since the start of each run.
func (t *trial) draw() (first, second time.Duration) {
	span := t.whole - t.login
	uniform := func(from, to time.Duration) time.Duration {
		return from + time.Duration(t.random.Float64()*float64(max(0, to-from)))
	}
	switch t.when {
	case lastMoment:
		return uniform(max(t.login, t.whole-killLast), t.whole), 0
	case inResume:
		first = uniform(t.login+span/10, t.login+span*6/10)
		return first, uniform(t.login, t.login+(t.whole-first)*8/10)
	}
	return uniform(t.login, t.whole), 0
}

// killed starts a run and kills its victims at the given times: the first is
// counted since the start, each further one since the far end of a run that healed
// itself is there again, as if that run had just logged in.
func (t *trial) killed(ctx context.Context, at ...time.Duration) error {
	r, err := t.start(ctx)
	if err != nil {
		return err
	}
	began := r.began
	var dead []int
	for i, after := range at {
		if i > 0 {
			for !r.ended() && len(t.victims(dead)) == 0 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			began = time.Now().Add(-t.login)
		}
		if err := ground.Wait(ctx, after-time.Since(began)); err != nil {
			return err
		}
		pids := t.victims(dead)
		if r.ended() || len(pids) == 0 {
			err := r.wait()
			if err == nil {
				err = errTooLate
			}
			return errors.Join(err, t.g.Settle(ctx))
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		dead = append(dead, pids...)
		t.kills++
	}
	t.selfDone = r.wait() == nil
	return ctx.Err()
}

// victims are the processes to kill that have not been killed yet.
func (t *trial) victims(dead []int) []int {
	var pids []int
	if t.who != killFar {
		pids = append(pids, movers(t.g.near)...)
	}
	if t.who != killNear {
		pids = append(pids, movers(t.g.far)...)
	}
	return slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(dead, pid) })
}

// running is a started command.
type running struct {
	began time.Time
	done  chan struct{}
	err   error // once done is closed
}

// start starts the command.
func (t *trial) start(ctx context.Context) (*running, error) {
	cmd := t.g.command(ctx, false, t.args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	r := &running{began: time.Now(), done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(r.done)
		r.err = cmd.Wait()
		var exit *exec.ExitError
		if errors.As(r.err, &exit) {
			r.err = fmt.Errorf("%w: %s", r.err, ground.Tail(out.String()))
		}
	}()
	return r, nil
}

func (r *running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (r *running) wait() error {
	<-r.done
	return r.err
}

// sent are the bytes that the namespace's loopback interface has carried: data,
// acknowledgements, headers and ssh, each once.
func (t *trial) sent() (int64, error) {
	out, err := t.g.command(context.Background(), false, "cat", "/proc/net/dev").Output()
	if err != nil {
		return 0, fmt.Errorf("reading the interface's counters: %w", err)
	}
	return loopbackSent(string(out))
}

// loopbackSent reads what lo has sent from the text of /proc/net/dev.
func loopbackSent(text string) (int64, error) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 9 && f[0] == "lo:" {
			return strconv.ParseInt(f[9], 10, 64)
		}
	}
	return 0, errors.New("reading the interface's counters: no line for lo")
}

// watchName looks at the final name until the returned function is called, which
// gives the first wrong thing seen: anything but nothing, the old file or the
// new one.
func (t *trial) watchName() func() error {
	stop := make(chan struct{})
	var wrong error
	var done sync.WaitGroup
	done.Go(func() {
		var seen string
		for {
			if info, err := os.Stat(t.dst); err == nil {
				st := info.Sys().(*syscall.Stat_t)
				if now := fmt.Sprint(st.Ino, st.Size, st.Mtim); now != seen && wrong == nil {
					seen = now
					wrong = t.judge()
				}
			} else if t.old != "" && wrong == nil {
				wrong = fmt.Errorf("%w: the old file is gone: %w", errWrong, err)
			}
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	return sync.OnceValue(func() error {
		close(stop)
		done.Wait()
		return wrong
	})
}

// judge compares what is under the final name with what may be.
func (t *trial) judge() error {
	err := payload.SameFile(t.src, t.dst)
	if err != nil && t.old != "" {
		if payload.SameFile(t.old, t.dst) == nil || payload.SameFile(t.src, t.dst) == nil { // renamed meanwhile
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	return nil
}
