package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/events"
)

// progressNow is a time for tests of the pure part.
var progressNow = time.Date(2026, 2, 3, 10, 15, 0, 0, time.UTC)

// progressJob is a job a while after its start.
func progressJob(change func(p *progressState, v *events.Progress)) *progressState {
	p := &progressState{streams: true, files: true}
	at := progressNow.Add(-time.Minute)
	p.fold(at, events.JobStart{Sources: []string{"run42/"}, Dests: []string{"dtn2:/scratch"}})
	plan := planWide()
	plan.CC = ""
	p.fold(at, plan)
	p.fold(at, events.Progress{FilesTotal: 30119})
	total := int64(2e12)
	v := events.Progress{
		DoneBytes: 1240e9, TotalBytes: &total, FilesDone: 18402, FilesTotal: 30119, RateBps: 912e6,
		ETAms: 14 * 60e3, ETALoMs: 12 * 60e3, ETAHiMs: 17 * 60e3, LimitedBy: "network",
		CurrentPath: "evt0093.root", CurrentShare: 0.714,
	}
	for i, mbps := range []int64{152, 150, 151, 155, 149, 155} {
		p.fold(progressNow, events.ProgressStream{Stream: uint32(i + 1), RateBps: mbps * 1e6})
	}
	if change != nil {
		change(p, &v)
	}
	p.fold(progressNow, v)
	return p
}

func TestProgressLines(t *testing.T) {
	tune := events.Tune{ID: 1, What: "streams", From: 5, To: 6, BeforeBps: 852e6, AfterBps: 912e6}
	for _, c := range []struct {
		name        string
		width, most int
		change      func(p *progressState, v *events.Progress)
		want        []string
	}{
		{"as in the manual", 99, 12, func(p *progressState, v *events.Progress) { p.fold(progressNow, tune) }, []string{
			"run42/ -> dtn2:/scratch        tcp x6, 16 MiB each, rtt 88 ms, encrypted",
			" 62%  1.24 of 2.00 TB   912 MB/s   about 14 min left (12-17)   limited by: network",
			" stream  1 152  2 150  3 151  4 155  5 149  6 155 MB/s      tune: 5 -> 6 streams (+7%)",
			" file    18402 of 30119   evt0093.root 71%",
		}},
		{"40 columns", 39, 12, func(p *progressState, v *events.Progress) { p.fold(progressNow, tune) }, []string{
			"run42/ -> dtn2:/scratch        tcp x6",
			" 62%  1.24 of 2.00 TB  912 MB/s  14 min",
			" stream  6 at 149 to 155 MB/s",
			" file    18402 of 30119   evt...oot 71%",
			" tune: 5 -> 6 streams (+7%)",
		}},
		{"three lines of room", 79, 3, nil, []string{
			"run42/ -> dtn2:/scratch        tcp x6, 16 MiB each, rtt 88 ms, encrypted",
			" 62%  1.24 of 2.00 TB  912 MB/s  about 14 min left (12-17)  limited by: network",
			" stream  1 152  2 150  3 151  4 155  5 149  6 155 MB/s",
		}},
		{"one line of room", 79, 1, nil, []string{
			" 62%  1.24 of 2.00 TB  912 MB/s  about 14 min left (12-17)  limited by: network",
		}},
		{"listing", 99, 12, func(p *progressState, v *events.Progress) {
			p.streams = false
			v.TotalBytes, v.DoneBytes, v.FilesTotal = nil, 12e9, 0
			p.fold(progressNow, events.Scan{Files: 80211, Dirs: 10, Bytes: 412e9})
		}, []string{
			"run42/ -> dtn2:/scratch        tcp x6, 16 MiB each, rtt 88 ms, encrypted",
			" 12.0 GB of at least 412 GB in 80 211 files so far   912 MB/s   limited by: network",
			" file    18402 of at least 80211   evt0093.root 71%",
		}},
		{"stalled", 79, 2, func(p *progressState, v *events.Progress) {
			v.StalledMs, v.State = 31000, "reconnecting stream 3"
		}, []string{
			"run42/ -> dtn2:/scratch        tcp x6, 16 MiB each, rtt 88 ms, encrypted",
			" 62%  1.24 of 2.00 TB   stalled 31 s, reconnecting stream 3",
		}},
		{"paused", 79, 1, func(p *progressState, v *events.Progress) { p.paused = true },
			[]string{" 62%  1.24 of 2.00 TB   paused"}},
		{"no guess yet", 79, 1, func(p *progressState, v *events.Progress) { v.ETAms = -1 },
			[]string{" 62%  1.24 of 2.00 TB   912 MB/s   time left unknown   limited by: network"}},
		{"first seconds", 79, 1, func(p *progressState, v *events.Progress) {
			p.firstAt = progressNow.Add(-2 * time.Second)
		}, []string{" 62%  1.24 of 2.00 TB   912 MB/s   time left unknown   limited by: network"}},
		{"all bytes there", 79, 1, func(p *progressState, v *events.Progress) { v.DoneBytes = 2e12 },
			[]string{" 99%  2.00 of 2.00 TB   912 MB/s   finishing"}},
		{"bits", 99, 1, func(p *progressState, v *events.Progress) { p.style.Bits = true },
			[]string{" 62%  1.24 of 2.00 TB   7.30 Gbit/s   about 14 min left (12-17)   limited by: network"}},
		{"failures", 79, 3, func(p *progressState, v *events.Progress) {
			p.streams = false
			p.fold(progressNow, events.File{Path: "x", Action: "fail"})
			v.CurrentPath = "a\x1b[2J\xff日.root"
		}, []string{
			"run42/ -> dtn2:/scratch        tcp x6, 16 MiB each, rtt 88 ms, encrypted",
			" 62%  1.24 of 2.00 TB  912 MB/s  about 14 min left (12-17)  limited by: network",
			` file    18402 of 30119   1 failed   a\x1b[2J\xff\xe6\x97\xa5.root 71%`,
		}},
		{"ended", 79, 12, func(p *progressState, v *events.Progress) { p.fold(progressNow, events.JobEnd{}) }, nil},
	} {
		if got := progressJob(c.change).lines(c.width, c.most, progressNow); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestProgressBeforeTheFirstByte(t *testing.T) {
	p := &progressState{}
	if got := p.lines(79, 5, progressNow); got != nil {
		t.Errorf("before the first event: %q", got)
	}
	p.fold(progressNow, events.JobStart{Sources: []string{"a", "b", "c"}, Dests: []string{"h:"}})
	second := func() string { return p.lines(79, 5, progressNow)[1] }
	for _, c := range []struct {
		e    events.Event
		want string
	}{
		{events.Host{Host: "h", State: "connecting"}, " connecting to h"},
		{events.Host{Host: "h", State: "agent", Detail: "uploading 61%"}, " starting the agent on h, uploading 61%"},
		{events.Scan{Files: 1, Bytes: 5}, " starting the agent on h, uploading 61%, at least 5 B in 1 file so far"},
		{events.Host{Host: "h", State: "ready"}, " starting, at least 5 B in 1 file so far"},
	} {
		p.fold(progressNow, c.e)
		if got := second(); got != c.want {
			t.Errorf("after %+v: %q, want %q", c.e, got, c.want)
		}
	}
	if got, want := p.lines(79, 5, progressNow)[0], "a and 2 others -> h:"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
}

func TestProgressStreamsComeAndGo(t *testing.T) {
	p := progressJob(nil)
	for i := range uint32(3) {
		p.fold(progressNow.Add(4*time.Second), events.ProgressStream{Stream: i + 1, RateBps: 5e8})
	}
	if got, want := p.streamLine(79), " stream  1 500  2 500  3 500 MB/s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestProgressAlwaysFits draws many states at all widths: no line is ever wider
// than the window or longer than allowed, and none holds a control character.
func TestProgressAlwaysFits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	number := func() int64 { return rnd.Int64N(1 << rnd.IntN(63)) }
	for range 3000 {
		p := progressJob(func(p *progressState, v *events.Progress) {
			p.style = viewStyle{UTF8: rnd.IntN(2) == 0, Bits: rnd.IntN(2) == 0}
			p.title = strings.Repeat("日a\n", rnd.IntN(40))
			total := number()
			*v = events.Progress{DoneBytes: number(), RateBps: number(), ETAms: number() - 1, ETALoMs: number(), ETAHiMs: number(),
				FilesDone: number(), FilesTotal: number(), StalledMs: number() % 10000, LimitedBy: "too many small files",
				CurrentPath: strings.Repeat("\xff語x/", rnd.IntN(30)), CurrentShare: rnd.Float64() * 2}
			if rnd.IntN(3) > 0 {
				v.TotalBytes = &total
			}
			p.fold(progressNow, events.Tune{What: "window", From: number(), To: number()})
			p.fold(progressNow, events.Scan{Files: number(), Bytes: number()})
		})
		width, most := 1+rnd.IntN(140), 1+rnd.IntN(7)
		lines := p.lines(width, most, progressNow)
		if len(lines) > most || len(lines) == 0 {
			t.Fatalf("%d lines, at most %d allowed", len(lines), most)
		}
		for _, line := range lines {
			if viewWidth(line) > width {
				t.Fatalf("%d columns allowed, line has %d: %q", width, viewWidth(line), line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || !p.style.UTF8 && r > 0x7f }) {
				t.Fatalf("unsafe line %q", line)
			}
		}
	}
}

// vt is a terminal that knows what the view sends: text, \r, \n, cursor up and
// down, clearing lines. Anything else is a mistake.
type vt struct {
	t    *testing.T
	cols int

	mu   sync.Mutex // guards all below
	rows [][]rune
	x, y int
	err  error
}

func (v *vt) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return 0, v.err
	}
	text := []rune(string(p))
	for i := 0; i < len(text); i++ {
		switch r := text[i]; {
		case r == '\r':
			v.x = 0
		case r == '\n':
			v.y++
		case r == 0x1b:
			end := i + 2
			for text[end] < '@' {
				end++
			}
			v.escape(string(text[i+2:end]), text[end])
			i = end
		default:
			if v.x == v.cols {
				v.x = 0
				v.y++
			}
			for len(v.rows) <= v.y {
				v.rows = append(v.rows, nil)
			}
			for len(v.rows[v.y]) <= v.x {
				v.rows[v.y] = append(v.rows[v.y], ' ')
			}
			v.rows[v.y][v.x] = r
			v.x++
		}
	}
	return len(p), nil
}

func (v *vt) escape(arg string, final rune) {
	n, _ := strconv.Atoi(arg)
	switch {
	case final == 'A' && n > 0:
		if v.y -= n; v.y < 0 {
			v.t.Errorf("cursor moved above the place where the program began")
			v.y = 0
		}
	case final == 'B' && arg == "":
		v.y++
	case final == 'K' && (arg == "" || arg == "2"):
		if v.y < len(v.rows) {
			from := v.x
			if arg == "2" {
				from = 0
			}
			v.rows[v.y] = v.rows[v.y][:min(from, len(v.rows[v.y]))]
		}
	case final == 'm':
	default:
		v.t.Errorf("escape sequence %q %q is not expected", arg, final)
	}
}

// narrow makes the window narrower, breaking the lines that no longer fit, as
// most terminals do.
func (v *vt) narrow(cols int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var rows [][]rune
	below := 0
	for y, row := range v.rows {
		if y == v.y {
			below = len(rows)
		}
		for len(row) > cols {
			rows, row = append(rows, row[:cols:cols]), row[cols:]
		}
		rows = append(rows, row)
	}
	if v.y >= len(v.rows) {
		below = len(rows) + v.y - len(v.rows)
	}
	v.rows, v.cols, v.y = rows, cols, below
}

// screen gives what stands on the terminal.
func (v *vt) screen() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var lines []string
	for _, row := range v.rows {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// settle lets time pass until the view has drawn.
func settle() {
	time.Sleep(300 * time.Millisecond)
	synctest.Wait()
}

func TestTTYProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := &vt{t: t, cols: 80}
		cols := 80
		var mu sync.Mutex
		p := newTTYProgress(term, progressOptions{Streams: true, Files: true, Color: true, Size: func() (int, int) {
			mu.Lock()
			defer mu.Unlock()
			return cols, 24
		}})
		rec := func(e events.Event) { p.Record(time.Now(), e) }
		expect := func(when string, want ...string) {
			t.Helper()
			if got := term.screen(); got != strings.Join(want, "\n") {
				t.Errorf("%s:\n%s\nwant\n%s", when, got, strings.Join(want, "\n"))
			}
		}
		settle()
		expect("before the first event")
		rec(events.JobStart{Sources: []string{"f"}, Dests: []string{"h:"}})
		rec(events.Host{Host: "h", State: "connecting"})
		settle()
		expect("connecting", "f -> h:", " connecting to h")

		p.Hide()
		expect("hidden")
		io.WriteString(term, "Password: ")
		rec(events.Warn{Code: "a.b", Message: "while hidden"})
		settle()
		expect("prompt", "Password:")
		io.WriteString(term, "\r\n")
		p.Show()
		expect("shown again", "Password:", "gomover: warning: while hidden", "f -> h:", " connecting to h")

		rec(events.Host{Host: "h", State: "ready"})
		total := int64(1000e6)
		progress := events.Progress{DoneBytes: 500e6, TotalBytes: &total, FilesTotal: 1, RateBps: 100e6, ETAms: 5000, LimitedBy: "network"}
		rec(progress)
		settle()
		expect("first progress", "Password:", "gomover: warning: while hidden", "f -> h:",
			" 50%  500 MB of 1.00 GB   100 MB/s   time left unknown   limited by: network")

		long := "dtn2 " + strings.Repeat("x", 80-len("gomover: warning: dtn2 ")) + "yz"
		rec(events.Warn{Code: "c.d", Message: long})
		synctest.Wait() // at once, without waiting for the interval
		expect("message wider than the window", "Password:", "gomover: warning: while hidden",
			"gomover: warning: dtn2 "+strings.Repeat("x", 57), "yz", "f -> h:",
			" 50%  500 MB of 1.00 GB   100 MB/s   time left unknown   limited by: network")

		p.Pause()
		if got := term.screen(); !strings.HasSuffix(got, "\n 50%  500 MB of 1.00 GB   paused") {
			t.Errorf("paused:\n%s", got)
		}
		io.WriteString(term, "[1]+ Stopped\r\n")
		p.Continue()
		progress.StalledMs = 0
		rec(progress)
		mu.Lock()
		cols = 41
		mu.Unlock()
		term.narrow(cols)
		p.Resize()
		settle()
		got := term.screen()
		if !strings.HasSuffix(got, "paused\n[1]+ Stopped\nf -> h:\n 50%  500 MB of 1.00 GB   100 MB/s") {
			t.Errorf("continued in a narrow window:\n%s", got)
		}

		time.Sleep(7 * time.Second)
		settle()
		if got := term.screen(); !strings.HasSuffix(got, "\n 50%  500 MB of 1.00 GB   stalled 7 s") {
			t.Errorf("silent for 7 s:\n%s", got)
		}
		p.Print("a\x1bb")
		p.Close()
		p.Close()
		if got := term.screen(); !strings.HasSuffix(got, "[1]+ Stopped\na\\x1bb") {
			t.Errorf("closed:\n%s", got)
		}
	})
}

func TestTTYProgressIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes countingWriter
		p := newTTYProgress(&writes, progressOptions{Interval: time.Second})
		total := int64(100000)
		for i := range int64(10000) {
			p.Record(time.Now(), events.Progress{DoneBytes: i, TotalBytes: &total, FilesTotal: 9})
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if writes.n < 8 || writes.n > 11 {
			t.Errorf("%d drawings in 10 s, want one each second", writes.n)
		}
		p.Close()
	})
}

// countingWriter counts writes.
type countingWriter struct{ n int }

func (c *countingWriter) Write(p []byte) (int, error) { c.n++; return len(p), nil }

func TestTTYProgressRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := &vt{t: t, cols: 80}
		p := newTTYProgress(term, progressOptions{})
		for i := range 10000 {
			p.Record(time.Now(), events.Error{Code: "source.read", Message: "permission denied", Path: fmt.Sprintf("f%d", i)})
		}
		p.Close()
		want := "gomover: f0: permission denied\ngomover: f1: permission denied\ngomover: f2: permission denied\n" +
			"gomover: f3: permission denied\ngomover: f4: permission denied\ngomover: 9995 more like this: f0: permission denied"
		if got := term.screen(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestTTYProgressSlowTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		p := newTTYProgress(g, progressOptions{})
		began := time.Now()
		for i := range 5000 {
			p.Record(time.Now(), events.Error{Code: fmt.Sprint(i), Message: "m", Fatal: true})
			p.Record(time.Now(), events.Progress{DoneBytes: int64(i)})
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("recording took %v while the terminal took nothing", took)
		}
		p.Close()
		if took := time.Since(began); took != progressCloseLimit {
			t.Errorf("Close took %v, want %v", took, progressCloseLimit)
		}
		close(g.open)
		synctest.Wait()
		if got := g.String(); !strings.Contains(got, "more lines not shown") {
			t.Error("lost messages are not counted")
		}
	})
}

func TestTTYProgressTerminalGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTTYProgress(&vt{t: t, cols: 80, err: io.ErrClosedPipe}, progressOptions{})
		p.Record(time.Now(), events.JobStart{})
		settle()
		began := time.Now()
		p.Record(time.Now(), events.Warn{Message: "m"})
		p.Hide()
		p.Show()
		p.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("a terminal that is gone cost %v", took)
		}
	})
}
