package runplot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var began = time.Date(2026, 2, 3, 10, 15, 0, 0, time.UTC)

// line writes an event that happened some seconds after the start.
func line(at float64, ev, fields string) string {
	if fields != "" {
		fields = "," + fields
	}
	t := began.Add(time.Duration(at * float64(time.Second))).Format("2006-01-02T15:04:05.000Z")
	return fmt.Sprintf(`{"v":1,"t":%q,"job":"j","seq":1,"ev":%q%s}`+"\n", t, ev, fields)
}

func read(t *testing.T, text string) *Run {
	t.Helper()
	r, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return r
}

func svg(t *testing.T, r *Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Chart().WriteSVG(&b); err != nil {
		t.Fatalf("WriteSVG: %v", err)
	}
	return b.String()
}

func wantAll(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing", w)
		}
	}
}

func TestRecordedRun(t *testing.T) {
	text, err := os.ReadFile("testdata/lossy.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	r := read(t, string(text))
	if notes := r.Notes(); len(notes) != 0 {
		t.Errorf("notes %q, want none", notes)
	}
	if len(r.order) != 12 || r.confirmed.total != 300_000_000 {
		t.Errorf("%d streams confirmed %.0f bytes, want 12 and 300000000", len(r.order), r.confirmed.total)
	}
	picture := svg(t, r)
	wantAll(t, picture, "big.dat → h1:data/", "exit 0 (done)", "tcp, 12 streams, bbr", "each of 12 streams", "Round trip of each stream",
		"Segments sent again", "Congestion window", "limited by", ">network<", ">connecting<", "54445 segments", "time since the start (s)")
	if picture != svg(t, read(t, string(text))) {
		t.Error("two pictures of one run differ")
	}
}

func TestEverythingIsShown(t *testing.T) {
	text := line(0, "job.start", `"sources":["a","b"],"dests":["h1:/x","h2:/x"]`) +
		line(0.5, "plan", `"transport":"tcp","streams":4`) +
		line(1, "host", `"host":"h1","role":"dest","state":"ready"`)
	for i := 1; i < 40; i++ {
		at := float64(i)
		text += line(at, "progress", fmt.Sprintf(`"done_bytes":%d,"verified_bytes":%d,"sent_bytes":%d,"limited_by":"source disk","streams":4,"retrans":%d,"rtt_ms":80.5`, i*1e8, i*1e8, i*11e7, i*3))
		text += line(at, "progress.dest", fmt.Sprintf(`"dest":"h1:/x","done_bytes":%d`, i*5e7)) + line(at, "progress.source", fmt.Sprintf(`"source":"m1","done_bytes":%d`, i*4e7))
	}
	text += line(10, "tune", `"id":1,"what":"streams","from":4,"to":8,"reason":"more room"`) +
		line(12, "tune", `"id":1,"what":"streams","from":4,"to":8,"after_bps":5`) +
		line(15, "tune", `"id":2,"what":"window","from":1048576,"to":4194304`) +
		line(20, "transport", `"dest":"h1:/x","from":"tcp","to":"ssh","reason":"blocked"`) +
		line(25, "warn", `"code":"net.stream","message":"stream 3 stalled"`) +
		line(26, "warn", `"code":"net.stream","message":"stream 4 stalled"`) +
		line(30, "host", `"host":"h1","state":"lost","detail":"no route"`) +
		line(32, "error", `"code":"net.reset","message":"reset by peer"`) +
		line(34, "file", `"path":"x/y","action":"fail","error":"changed"`) +
		line(40, "job.end", `"exit":10,"reason":"gave up","limits_ms":{"source disk":30000,"network":10000}`)
	r := read(t, text)
	picture := svg(t, r)
	wantAll(t, picture, "a and 1 more → h1:/x, h2:/x", "exit 10", "streams 4 → 8", "window 1 MiB → 4 MiB", "tcp → ssh: blocked", "2× net.stream: stream 3",
		"h1 lost: no route", "net.reset: reset by peer", "file failed: x/y: changed", "Confirmed by destination", "Given by source", ">m1<",
		"limited by source disk 75 %, network 25 %", "Open streams", "Round trip between both ends", "2 warnings, 1 errors")
	if got := strings.Count(picture, "streams 4 → 8"); got != 1 {
		t.Errorf("the step of the tuner is marked %d times, want once", got)
	}
	x, y := r.confirmed.points(0, r.end)
	for i := range x {
		if x[i] > 2 && math.Abs(y[i]-1e8) > 1 {
			t.Errorf("at %.1f s the rate is %.0f bytes/s, want 1e8", x[i], y[i])
		}
	}
}

func TestOddInputIsTolerated(t *testing.T) {
	good := line(0, "job.start", "") + line(1, "progress", `"verified_bytes":5`)
	tests := []struct{ name, text, note string }{
		{"cut off", good + `{"v":1,"t":"2026-02`, "cut off"},
		{"last line without its end", good + strings.TrimSpace(line(2, "job.end", "")), ""},
		{"unknown kind", good + line(2, "future.thing", `"x":1`) + line(3, "job.end", ""), "1 event of unknown kinds left out: future.thing"},
		{"later schema", good + `{"v":2,"ev":"progress","t":17}` + "\n", "1 event of a later schema"},
		{"unknown fields", good + line(2, "progress", `"new":{"a":[1]}`) + line(3, "job.end", ""), ""},
		{"empty lines", "\n" + good + "\r\n\n" + line(3, "job.end", ""), ""},
		{"killed", good, "no job.end"},
	}
	for _, tt := range tests {
		r := read(t, tt.text)
		notes := strings.Join(r.Notes(), "\n")
		if tt.note == "" && notes != "" || !strings.Contains(notes, tt.note) {
			t.Errorf("%s: notes %q, want %q", tt.name, notes, tt.note)
		}
		svg(t, r)
	}
}

func TestBadInputNamesTheLine(t *testing.T) {
	good := line(0, "job.start", "")
	tests := []struct {
		name, text string
		line       int
	}{
		{"no JSON", "hello\n", 1},
		{"no JSON and no end of line", "hello", 1},
		{"no JSON later", good + good + "hello\n" + good, 3},
		{"a list", good + "[1]\n", 2},
		{"no kind", good + `{"v":1,"t":"2026-02-03T10:15:02.113Z"}` + "\n", 2},
		{"no version", `{"ev":"progress","t":"2026-02-03T10:15:02.113Z"}` + "\n", 1},
		{"no time", good + `{"v":1,"t":"yesterday","ev":"progress"}` + "\n", 2},
		{"wrong type", good + line(1, "progress", `"verified_bytes":"many"`), 2},
		{"long line", good + strings.Repeat("x", maxLine+1), 2},
	}
	for _, tt := range tests {
		_, err := Read(strings.NewReader(tt.text))
		var bad *LineError
		if !errors.As(err, &bad) || bad.Line != tt.line || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want an error in line %d", tt.name, err, tt.line)
		}
	}
	if _, err := Read(strings.NewReader("")); !errors.Is(err, ErrNoEvents) {
		t.Errorf("empty input gave %v, want ErrNoEvents", err)
	}
	if _, err := Read(strings.NewReader(line(0, "other", ""))); err == nil {
		t.Error("input without any known event gave no error")
	}
}

// endless gives events without keeping them.
type endless struct {
	rest  []byte
	n, to int
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		if e.n == e.to {
			return 0, io.EOF
		}
		e.n++
		at := float64(e.n)
		e.rest = []byte(line(at, "progress", fmt.Sprintf(`"verified_bytes":%d,"limited_by":"%d"`, e.n*1000, e.n%5)) +
			line(at, "progress.stream", fmt.Sprintf(`"stream":%d,"rate_bps":5,"rtt_ms":3`, e.n)) +
			line(at, "warn", fmt.Sprintf(`"code":"c%d","message":"m"`, e.n)) + line(at, "host", fmt.Sprintf(`"host":"h%d","state":"s"`, e.n)))
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func TestMemoryIsBounded(t *testing.T) {
	r, err := Read(&endless{to: 20_000})
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{
		"bins": len(r.confirmed.bins) - maxBins, "streams": len(r.order) - maxStreams, "marks": len(r.marks) - maxMarks,
		"lanes": len(r.laneNames) - maxPlaces, "periods": len(r.lanes["limited by"].periods) - maxPeriods, "hosts": len(r.lost) - maxPlaces,
	} {
		if n > 0 {
			t.Errorf("%d %s too many are kept", n, name)
		}
	}
	if n := len(svg(t, r)); n > 500<<10 {
		t.Errorf("the picture has %d bytes, want at most 500 KiB", n)
	}
	periods := r.lanes["limited by"].periods
	for i := 1; i < len(periods); i++ {
		if periods[i].from < periods[i-1].to-1e-6 {
			t.Fatalf("period %d begins at %v, before the end of the one before at %v", i, periods[i].from, periods[i-1].to)
		}
	}
}

func TestTrackKeepsTheMean(t *testing.T) {
	var k track
	for i := range 100_000 {
		k.add(float64(i), float64(i%10), 1)
	}
	if len(k.bins) > maxBins {
		t.Errorf("%d bins, want at most %d", len(k.bins), maxBins)
	}
	x, y := k.points(0, 1e6)
	for i := range x[:len(x)-1] {
		if math.Abs(y[i]-4.5) > 0.3 {
			t.Errorf("at %.0f the mean is %.2f, want about 4.5", x[i], y[i])
		}
	}
}

func TestCounterBeginsAnew(t *testing.T) {
	c := counter{breaks: gap}
	for _, p := range [][2]float64{{0, 0}, {1, 100}, {2, 200}, {3, 10}, {4, 110}, {500, 200}, {501, 300}} {
		c.count(p[0], p[1])
	}
	if c.total != 400 {
		t.Errorf("total %.0f, want 400", c.total)
	}
	x, y := c.points(0, 1000)
	breaks := 0
	for i := range x {
		if math.IsNaN(y[i]) {
			breaks++
		} else if y[i] != 100 {
			t.Errorf("at %.1f the rate is %.1f, want 100", x[i], y[i])
		}
	}
	if breaks != 2 {
		t.Errorf("the line breaks %d times, want 2", breaks)
	}
}

func FuzzRead(f *testing.F) {
	recorded, err := os.ReadFile("testdata/lossy.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(recorded[:4000])
	f.Add([]byte(line(0, "job.start", `"sources":["a"],"dests":["b"]`) + line(1e6, "tune", `"what":"rate","from":-1,"to":9223372036854775807`) + line(-9, "job.end", `"exit":1,"limits_ms":{"a":-1}`)))
	f.Add([]byte(line(0, "progress.stream", `"stream":4294967295,"rtt_ms":1e308,"retrans":-5,"cwnd_bytes":1`) + line(1, "progress", `"verified_bytes":-9223372036854775808,"rtt_ms":1e-300,"streams":-1`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read(bytes.NewReader(data))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
			return
		}
		if err := r.Chart().WriteSVG(io.Discard); err != nil {
			t.Errorf("drawing: %v", err)
		}
	})
}

func TestSharesOfSources(t *testing.T) {
	// b gives nothing from second 10 on, and comes later than a.
	text := line(0, "job.start", `"sources":["a","b"],"dests":["f"]`)
	for i := 1; i <= 20; i++ {
		a, b, state, planned := i*3e7, (min(i, 10)-1)*1e7, "active", 0.25
		if i > 10 {
			a, state, planned = 30e7+(i-10)*4e7, "resting", 0
		}
		text += line(float64(i), "progress.source", fmt.Sprintf(`"source":"a","done_bytes":%d,"planned_share":%g,"state":"active"`, a, 1-planned))
		if i > 1 {
			text += line(float64(i), "progress.source", fmt.Sprintf(`"source":"b","done_bytes":%d,"planned_share":%g,"state":"%s"`, b, planned, state))
		}
	}
	text += line(20, "progress.source", `"source":"b","done_bytes":90000000,"planned_share":7,"state":"left out"`) // no share
	r := read(t, text+line(20.5, "job.end", `"exit":0,"reason":"done"`))
	p, ok := r.sharePanel(&r.bySource)
	if !ok || len(p.Series) != 4 {
		t.Fatalf("%d series, want the shares and the plans of two", len(p.Series))
	}
	for k, s := range p.Series[:2] {
		if len(s.X) < 10 {
			t.Errorf("%s has %d points", s.Name, len(s.X))
		}
		for i, at := range s.X {
			want := [2]float64{0.75, 0.25}[k]
			if at > 11 {
				want = [2]float64{1, 0}[k]
			}
			if at > 3 && (at < 9 || at > 11) && math.Abs(s.Y[i]-want) > 0.01 {
				t.Errorf("at %.1f s the share of %s is %.3f, want %.3f", at, s.Name, s.Y[i], want)
			}
		}
	}
	wantAll(t, svg(t, r), "Share of each source", ">resting<", ">active<", ">left out<")
}

func TestShorter(t *testing.T) {
	tests := []struct{ names, want []string }{
		{[]string{"http://h1/data/f", "http://h2/data/f"}, []string{"h1", "h2"}},
		{[]string{"http://10.0.0.2:8080/f", "http://10.0.0.13:8080/f"}, []string{"10.0.0.2", "10.0.0.13"}},
		{[]string{"http://127.0.0.1:4/north/f", "http://127.0.0.1:45/south/f", "/mnt/f"}, []string{"http://127.0.0.1:4/north", "http://127.0.0.1:45/south", "/mnt"}},
		{[]string{"h1:/f", "http://x/f"}, []string{"h1:", "http://x"}},
		{[]string{"a", "b"}, []string{"a", "b"}},
		{[]string{"x/", "x/f"}, []string{"x/", "x/f"}},
		{[]string{"a/b", "a/b"}, []string{"a/b", "a/b"}},
		{[]string{"a:b"}, []string{"a:b"}},
		{[]string{"", "é/f"}, []string{"", "é/f"}},
	}
	for _, tt := range tests {
		if got := shorter(tt.names); !slices.Equal(got, tt.want) {
			t.Errorf("%q become %q, want %q", tt.names, got, tt.want)
		}
	}
}
