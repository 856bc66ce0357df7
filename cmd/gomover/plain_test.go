package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/events"
)

func TestPlainLog(t *testing.T) {
	var out bytes.Buffer
	l := newPlainLog(&out, plainOptions{JobID: "7f3k"})
	start := time.Date(2026, 2, 3, 11, 15, 0, 0, time.FixedZone("", 3600))
	rec := func(seconds float64, e events.Event) {
		l.Record(start.Add(time.Duration(seconds*float64(time.Second))), e)
	}
	total := int64(2e12)
	progress := func(done, rate, eta int64) events.Progress {
		return events.Progress{DoneBytes: done, TotalBytes: &total, FilesTotal: 30119, RateBps: rate, ETAms: eta, LimitedBy: "network"}
	}
	rec(0, events.JobStart{Sources: []string{"run42/"}, Dests: []string{"dtn2:/scratch"}})
	rec(1, events.Host{Host: "dtn2", State: "connecting"})
	rec(2, planWide())
	rec(2.2, planWide()) // says nothing new
	rec(2.5, events.Scan{Files: 100, Bytes: 5e9})
	listing := progress(1e9, 912e6, -1)
	listing.TotalBytes = nil
	rec(3, listing)
	rec(31, listing)
	rec(31, events.Scan{Files: 30119, Dirs: 1, Bytes: total, Done: true})
	for i := range 40 {
		rec(60+float64(i)/4, progress(80.1e9+int64(i), 912e6, 35*60e3))
	}
	rec(70, events.Tune{What: "streams", From: 5, To: 6, BeforeBps: 852e6, AfterBps: 912e6})
	rec(80, events.Transport{Dest: "dtn2", From: "tcp", To: "ssh", Reason: "no data connection\nleft"})
	rec(81, events.Warn{Code: "net.x", Host: "dtn2", Message: "a\x1b[2J\rb"})
	rec(82, events.Error{Code: "source.read", Path: "f", Message: "permission denied", Hint: "chmod"})
	rec(83, events.Host{Host: "dtn2", State: "lost", Detail: "retry in 8 s"})
	stalled := progress(90e9, 0, -1)
	stalled.StalledMs, stalled.State = 31000, "reconnecting stream 3"
	rec(100, stalled)
	rec(130, progress(total, 912e6, 0))
	rec(131, events.File{Action: "new", Verified: "wire", SizeBytes: 5})
	rec(2264, events.JobEnd{DoneBytes: total, TotalBytes: total, SentBytes: total, Ms: 2264000, AvgBps: 883392226, FilesOK: 30119})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := `2026-02-03T10:15:00Z start  job 7f3k run42/ -> dtn2:/scratch
2026-02-03T10:15:02Z plan   tcp x6 16MiB bbr rtt 88ms encrypt on (udt 640MB/s, ssh 24.0MB/s predicted)
2026-02-03T10:15:31Z run    1.00GB 912MB/s of at least 5.00GB in 100 files so far limited-by network
2026-02-03T10:15:31Z list   2.00TB in 30119 files, 1 directory
2026-02-03T10:16:01Z 4%     80.1GB 912MB/s eta 35m limited-by network
2026-02-03T10:16:10Z tune   streams 5 -> 6: +7%
2026-02-03T10:16:20Z path   dtn2: data now travels by ssh instead of tcp: no data connection\x0aleft
2026-02-03T10:16:21Z warn   dtn2: a\x1b[2J\x0db
2026-02-03T10:16:22Z error  f: permission denied
2026-02-03T10:16:22Z          hint: chmod
2026-02-03T10:16:23Z host   dtn2 lost, retry in 8 s
2026-02-03T10:16:40Z 4%     90.0GB stalled 31 s, reconnecting stream 3
2026-02-03T10:17:10Z 99%    2.00TB 912MB/s finishing
2026-02-03T10:52:44Z done   2.00TB in 37m44s, 883MB/s, 30119 files, verified, 0 failed
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPlainLogRepeats(t *testing.T) {
	var out bytes.Buffer
	l := newPlainLog(&out, plainOptions{})
	for i := range 1000 {
		l.Record(time.Unix(0, 0), events.Warn{Code: "source.owner", Message: fmt.Sprintf("f%d: owner not kept", i)})
	}
	l.Record(time.Unix(0, 0), events.Error{Code: "net.lost", Message: "no answer", Fatal: true})
	l.Close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != viewRepeatShown+2 {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, "warn   995 more like this: f0: owner not kept") {
		t.Errorf("last line %q", last)
	}
}

func TestPlainLogNoErrors(t *testing.T) {
	var out bytes.Buffer
	l := newPlainLog(&out, plainOptions{NoErrors: true})
	l.Record(time.Unix(0, 0), events.Warn{Message: "w"})
	l.Record(time.Unix(0, 0), events.Error{Message: "e", Fatal: true})
	l.Close()
	if out.Len() != 0 {
		t.Errorf("got %q", out.String())
	}
}

func TestPlainLogPrint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		l := newPlainLog(g, plainOptions{})
		l.Print("61%\x1b")
		synctest.Wait()
		if got, want := g.String(), time.Now().UTC().Format(time.RFC3339)+` 61%\x1b`+"\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		l.Close()
	})
}

// Rates are in bits everywhere when they are asked for.
func TestPlainBits(t *testing.T) {
	var out bytes.Buffer
	l := newPlainLog(&out, plainOptions{Style: viewStyle{Bits: true}})
	at := time.Unix(0, 0)
	l.Record(at, events.Plan{Transport: "tcp", Streams: 2, Alternatives: []events.Alternative{{Transport: "ssh", PredictedBps: 1e6}}})
	l.Record(at, events.Tune{What: "rate", From: 1e6, To: 2e6})
	l.Record(at, events.JobEnd{DoneBytes: 1e6, Ms: 1000, AvgBps: 1e6, FilesOK: 1})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"(ssh 8.00Mbit/s predicted)", "rate 8.00Mbit/s -> 16.0Mbit/s", "1.00MB in 1.0s, 8.00Mbit/s, 1 file"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in:\n%s", want, &out)
		}
	}
}
