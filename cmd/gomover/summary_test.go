package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/events"
)

// summaryOf collects events and gives the summary of the last.
func summaryOf(o summaryOptions, end events.JobEnd, list ...events.Event) []string {
	c := newSummaryCollector(o.Style, nil)
	at := time.Date(2026, 2, 3, 10, 16, 10, 0, time.UTC)
	for _, e := range list {
		c.Record(at, e)
	}
	c.Record(at, end)
	return summaryLines(end, c.Info(), o)
}

func TestSummaryShort(t *testing.T) {
	file := events.File{Path: "f", Action: "new", Verified: "wire"}
	done := events.JobEnd{DoneBytes: 2e9, TotalBytes: 2e9, SentBytes: 2e9, Ms: 18200, AvgBps: 118e6, FilesOK: 1, Reason: "done"}
	change := func(f func(e *events.JobEnd)) events.JobEnd { e := done; f(&e); return e }
	for _, c := range []struct {
		name string
		o    summaryOptions
		end  events.JobEnd
		list []events.Event
		want []string
	}{
		{"one file", summaryOptions{}, done, []events.Event{file}, []string{"done  2.00 GB in 18.2 s, 118 MB/s, 1 file, verified"}},
		{"none", summaryOptions{Kind: "none"}, done, nil, nil},
		{"headless", summaryOptions{Headless: true}, done, nil, nil},
		{"bits", summaryOptions{Style: viewStyle{Bits: true}}, done, nil, []string{"done  2.00 GB in 18.2 s, 944 Mbit/s, 1 file, verified"}},
		{"read back", summaryOptions{}, done, []events.Event{events.File{Action: "new", Verified: "readback"}},
			[]string{"done  2.00 GB in 18.2 s, 118 MB/s, 1 file, verified by reading back"}},
		{"not checked", summaryOptions{}, done, []events.Event{events.File{Action: "new", Verified: "none"}},
			[]string{"done  2.00 GB in 18.2 s, 118 MB/s, 1 file, not verified"}},
		{"some not checked", summaryOptions{}, done, []events.Event{file, events.File{Action: "replace", Verified: "none"}},
			[]string{"done  2.00 GB in 18.2 s, 118 MB/s, 1 file, 1 not verified"}},
		{"nothing to do", summaryOptions{}, change(func(e *events.JobEnd) { e.SentBytes, e.FilesOK, e.FilesSkipped = 0, 0, 30119 }),
			nil, []string{"done  nothing to do, 30119 files already there"}},
		{"resumed", summaryOptions{}, change(func(e *events.JobEnd) { e.SentBytes, e.FilesSkipped, e.Ms = 780e6, 3, 350 }),
			[]events.Event{events.JobStart{Resumed: true}},
			[]string{"done  2.00 GB in 350 ms, 118 MB/s, 1 file, 3 already there, 780 MB sent, verified"}},
		{"specials", summaryOptions{}, done, []events.Event{file, events.File{Action: "skip"}, events.File{Action: "skip", Error: "device, pipe or socket"}},
			[]string{"done  2.00 GB in 18.2 s, 118 MB/s, 1 file, verified", "  skipped: 1  device, pipe or socket"}},
		{"dry run", summaryOptions{}, change(func(e *events.JobEnd) { e.FilesSkipped = 2 }), []events.Event{events.JobStart{DryRun: true}},
			[]string{"dry run  2.00 GB, 1 file to copy, 2 already there"}},
		{"interrupted", summaryOptions{}, change(func(e *events.JobEnd) {
			e.Exit, e.DoneBytes, e.FilesOK, e.Reason, e.Resumable, e.ResumeCmd = 130, 1.22e9, 0, "interrupted", true, "gomover f h:"
		}), nil, []string{"interrupted  61%, 1.22 of 2.00 GB in 18.2 s, 118 MB/s, 0 files", "to continue: gomover f h:"}},
		{"lost", summaryOptions{}, change(func(e *events.JobEnd) { e.Exit, e.Reason, e.Resumable = 10, "no answer for 15 min", true }),
			nil, []string{"stopped  99%, 2.00 of 2.00 GB in 18.2 s, 118 MB/s, 1 file: no answer for 15 min"}},
		{"failed", summaryOptions{}, events.JobEnd{Exit: 7, Reason: "no ssh\x1b"}, nil, []string{`failed  0 B in 0 s, 0 files: no ssh\x1b`}},
		{"failed files", summaryOptions{Width: 60}, change(func(e *events.JobEnd) { e.Exit, e.FilesFailed, e.Reason = 2, 2, "" }),
			[]events.Event{
				events.File{Path: strings.Repeat("long/", 20) + "f\n", Action: "fail", Error: "permission denied"},
				events.File{Path: "g", Action: "fail"},
			}, []string{
				"incomplete  99%, 2.00 of 2.00 GB in 18.2 s, 118 MB/s, 1 file, 2 failed",
				`  failed: long/long/long...ong/long/f\x0a: permission denied`,
				"  failed: g: no reason given",
			}},
	} {
		got := summaryOf(c.o, c.end, c.list...)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestSummaryFull(t *testing.T) {
	end := events.JobEnd{
		Exit: 2, Reason: "1 file failed", Resumable: true, ResumeCmd: "gomover -r run42/ dtn2:/scratch",
		DoneBytes: 1999e9, TotalBytes: 2e12, SentBytes: 2001e9, Ms: 2264000, AvgBps: 883392226, FilesOK: 30110, FilesSkipped: 8,
		FilesFailed: 1, Retrans: 1204, Limits: map[string]int64{"network": 1900000, "target disk": 364000, "unknown": 0},
		Dests:   []events.DestEnd{{Dest: "dtn2:/scratch", Exit: 2, DoneBytes: 1999e9, FilesFailed: 1}},
		Sources: []events.SourceEnd{{Source: "run42/", Bytes: 2001e9, Share: 1}},
	}
	step := events.Tune{ID: 1, What: "streams", From: 5, To: 6, Reason: "room"}
	gain := step
	gain.BeforeBps, gain.AfterBps = 852e6, 912e6
	list := []events.Event{planWide(), step, gain, events.Warn{Code: "net.buffers"}, events.Warn{Code: "net.buffers"},
		events.Transport{Dest: "dtn2", From: "tcp", To: "ssh", Reason: "blocked"},
		events.File{Path: "f", Action: "fail", Error: "permission denied"}, events.File{Path: "s", Action: "skip", Error: "special file"}}
	for range 7 {
		list = append(list, events.File{Path: "s", Action: "skip"})
	}
	want := []string{
		"incomplete  99%, 2.00 of 2.00 TB in 37m44s, 883 MB/s, 30110 files, 8 already there, 1 failed: 1 file failed",
		"  failed: f: permission denied",
		"  to          dtn2:/scratch  2.00 TB  883 MB/s  1 failed  exit 2",
		"  from        run42/  2.00 TB  884 MB/s",
		"  by          tcp x6, 16 MiB each, rtt 88 ms, encrypted",
		"  changed     dtn2: data now travels by ssh instead of tcp: blocked",
		"  sent        2.00 TB, 1204 segments sent again",
		"  limited by  network  31m40s  84%",
		"              target disk  6m04s  16%",
		"  tuned       10:16:10Z  5 -> 6 streams (+7%), room",
		"  skipped     7  already there",
		"  skipped     1  special file",
		"  warnings    2  net.buffers",
		"to continue: gomover -r run42/ dtn2:/scratch",
	}
	if got := summaryOf(summaryOptions{Kind: "full", Width: 80}, end, list...); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// listFile is a file in memory that knows whether it was closed.
type listFile struct {
	bytes.Buffer
	closed bool
}

func (l *listFile) Close() error { l.closed = true; return nil }

func TestSummaryFailedList(t *testing.T) {
	for _, fails := range []int{20, 21, 500} {
		var file listFile
		opened := 0
		c := newSummaryCollector(viewStyle{}, func() (io.WriteCloser, string, error) {
			opened++
			return &file, "/state/failed", nil
		})
		for i := range fails {
			c.Record(time.Now(), events.File{Path: fmt.Sprintf("f%d\n", i), Action: "fail", Error: "no"})
		}
		info := c.Info()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		lines := summaryFailedLines(info, summaryOptions{})
		if fails == 20 {
			if opened != 0 || len(lines) != 20 {
				t.Errorf("20 failures: list opened %d times, %d lines", opened, len(lines))
			}
			continue
		}
		want := fmt.Sprintf("  and %d more failed; all are listed in /state/failed", fails-20)
		if len(lines) != 21 || lines[20] != want {
			t.Errorf("%d failures: %q", fails, lines)
		}
		rows := strings.Split(strings.TrimSuffix(file.String(), "\n"), "\n")
		if opened != 1 || !file.closed || len(rows) != fails || rows[0] != "f0\\x0a\tno" || rows[fails-1] != fmt.Sprintf("f%d\\x0a\tno", fails-1) {
			t.Errorf("%d failures: opened %d times, closed %v, %d rows, first %q", fails, opened, file.closed, len(rows), rows[0])
		}
	}
}

func TestSummaryFailedListCannotBeMade(t *testing.T) {
	c := newSummaryCollector(viewStyle{}, func() (io.WriteCloser, string, error) { return nil, "", errors.New("read-only") })
	for range 30 {
		c.Record(time.Now(), events.File{Path: "f", Action: "fail", Error: "no"})
	}
	lines := summaryFailedLines(c.Info(), summaryOptions{})
	if len(lines) != 21 || lines[20] != "  and 10 more failed" {
		t.Errorf("got %q", lines)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestSummaryBounds(t *testing.T) {
	c := newSummaryCollector(viewStyle{}, nil)
	for i := range 10000 {
		c.Record(time.Now(), events.Warn{Code: fmt.Sprint("w", i)})
		c.Record(time.Now(), events.Tune{ID: i})
		c.Record(time.Now(), events.Transport{})
		c.Record(time.Now(), events.File{Action: "skip", Error: fmt.Sprint("r", i)})
	}
	info := c.Info()
	if n := len(info.Warnings); n != summaryKindsMost+1 || info.Warnings["other"] != 10000-summaryKindsMost {
		t.Errorf("%d kinds of warnings, %d other", n, info.Warnings["other"])
	}
	if len(info.Skipped) != summaryKindsMost+1 || len(info.Tunes) != summaryTunesMost || len(info.Transports) != summaryTunesMost {
		t.Errorf("%d reasons, %d steps, %d changes", len(info.Skipped), len(info.Tunes), len(info.Transports))
	}
}

func TestStatusLine(t *testing.T) {
	c := newSummaryCollector(viewStyle{}, nil)
	now := time.Now()
	if got, want := c.StatusLine(now), "run    nothing confirmed yet"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	total := int64(100)
	c.Record(now, events.Progress{DoneBytes: 61, TotalBytes: &total, FilesTotal: 1, RateBps: 10, ETAms: 4000, LimitedBy: "target disk"})
	if got, want := c.StatusLine(now.Add(time.Second)), "61%    61B 10B/s limited-by target disk"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Record(now.Add(4*time.Second), events.Progress{DoneBytes: 61, TotalBytes: &total, FilesTotal: 1, RateBps: 10, ETAms: 4000})
	if got, want := c.StatusLine(now.Add(4*time.Second)), "61%    61B 10B/s eta 4s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
