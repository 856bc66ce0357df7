package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/events"
)

// jsonKinds is one event of each kind, empty.
func jsonKinds() []events.Event {
	return []events.Event{
		events.JobStart{}, events.Scan{}, events.Host{}, events.Plan{}, events.Tune{}, events.Transport{}, events.Progress{},
		events.Anomaly{}, events.ProgressDest{}, events.ProgressStream{}, events.ProgressSource{}, events.File{}, events.Warn{}, events.Error{}, events.JobEnd{},
		events.Probe{}, events.Facts{}, events.Check{}, events.HistoryJob{}, events.History{},
	}
}

func TestJSONLines(t *testing.T) {
	at := time.Date(2026, 2, 3, 11, 15, 2, 113e6, time.FixedZone("", 3600))
	total := int64(2e12)
	for _, c := range []struct {
		e    events.Event
		want string
	}{
		{events.Plan{Transport: "tcp", Streams: 5, WindowBytes: 16777216, BlockBytes: 4194304, Dial: "source", RTTms: math.NaN(), Encrypt: "on", Reason: "a -> b & <c>"},
			`"ev":"plan","transport":"tcp","streams":5,"window_bytes":16777216,"block_bytes":4194304,"dial":"source","rtt_ms":0,"encrypt":"on","reason":"a -> b & <c>","alternatives":[]}`},
		{events.File{Path: "a\xffb", Dest: "h:", Action: "new", SizeBytes: 5, SentBytes: 5, Hash: "blake3:00", Verified: "wire", Ms: 3},
			`"ev":"file","path":"a\ufffdb","path_b64":"Yf9i","dest":"h:","action":"new","size_bytes":5,"sent_bytes":5,"hash":"blake3:00","verified":"wire","ms":3}`},
		{events.File{Path: "é\n", Action: "fail", Error: "no"},
			`"ev":"file","path":"é\n","dest":"","action":"fail","size_bytes":0,"sent_bytes":0,"verified":"","ms":0,"error":"no"}`},
		{events.Error{Code: "source.read", Message: "m", Path: "\xff", Fatal: true},
			`"ev":"error","code":"source.read","message":"m","path":"\ufffd","fatal":true,"path_b64":"/w=="}`},
		{events.Warn{Code: "net.buffers", Message: "m", Host: "h"}, `"ev":"warn","code":"net.buffers","message":"m","host":"h"}`},
		{events.Progress{DoneBytes: 1}, `"ev":"progress","done_bytes":1,"total_bytes":null,"sent_bytes":0,"verified_bytes":0,"files_done":0,"files_total":0,"rate_bps":0,"avg_bps":0,"eta_ms":0,"eta_lo_ms":0,"eta_hi_ms":0,"limited_by":"","stalled_ms":0,"streams":0,"retrans":0,"rtt_ms":0}`},
		{events.Progress{TotalBytes: &total, CurrentPath: "x", CurrentShare: math.Inf(1)}, `"ev":"progress","done_bytes":0,"total_bytes":2000000000000,"sent_bytes":0,"verified_bytes":0,"files_done":0,"files_total":0,"rate_bps":0,"avg_bps":0,"eta_ms":0,"eta_lo_ms":0,"eta_hi_ms":0,"limited_by":"","stalled_ms":0,"streams":0,"retrans":0,"rtt_ms":0}`},
		{events.JobEnd{Exit: 130, Sources: []events.SourceEnd{{Source: "a", Share: math.Inf(1)}}}, `"ev":"job.end","exit":130,"reason":"","resumable":false,"done_bytes":0,"total_bytes":0,"sent_bytes":0,"ms":0,"avg_bps":0,"files_ok":0,"files_skipped":0,"files_failed":0,"retrans":0,"dests":[],"sources":[{"source":"a","bytes":0,"share":0}]}`},
	} {
		var out bytes.Buffer
		j := newJSONLines(&out, "7f\"3k", true)
		j.Record(at, c.e)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		want := `{"v":1,"t":"2026-02-03T10:15:02.113Z","job":"7f\"3k","seq":1,` + c.want + "\n"
		if got := out.String(); got != want {
			t.Errorf("got  %swant %s", got, want)
		}
	}
}

// jsonLine is what every line holds.
type jsonLine struct {
	V    int
	T    time.Time
	Job  string
	Seq  int64
	Ev   string
	Path string
}

// jsonRead reads lines back, failing the test at one that is not an object.
func jsonRead(t *testing.T, text string) []jsonLine {
	t.Helper()
	var lines []jsonLine
	for _, line := range strings.SplitAfter(text, "\n") {
		if line == "" {
			continue
		}
		var l jsonLine
		if err := json.Unmarshal([]byte(line), &l); err != nil || !strings.HasSuffix(line, "}\n") {
			t.Fatalf("line %q: %v", line, err)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestJSONLinesOrder(t *testing.T) {
	var out bytes.Buffer
	j := newJSONLines(&out, "", false)
	j.Record(time.Now(), events.JobStart{})
	j.Record(time.Now(), events.ProgressStream{}) // not asked for: takes no number
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				if g == 3 && i == 100 {
					j.SetJob("7f3k")
					j.SetJob("other")
				}
				j.Record(time.Now(), events.File{Path: fmt.Sprintf("%d/%d", g, i)})
			}
		})
	}
	wg.Wait()
	j.Record(time.Now(), events.JobEnd{})
	j.Record(time.Now(), events.Warn{}) // after the end
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	lines := jsonRead(t, out.String())
	if len(lines) != 4002 {
		t.Fatalf("%d lines, want 4002", len(lines))
	}
	next := map[string]int{}
	for i, l := range lines {
		if l.V != 1 || l.Job != "7f3k" || l.Seq != int64(i+1) {
			t.Fatalf("line %d: %+v", i+1, l)
		}
		if g, n, ok := strings.Cut(l.Path, "/"); ok {
			if n != fmt.Sprint(next[g]) {
				t.Fatalf("line %d: file %s of writer %s, want %d", i+1, n, g, next[g])
			}
			next[g]++
		}
	}
	if lines[0].Ev != "job.start" || lines[4001].Ev != "job.end" {
		t.Errorf("first %q, last %q", lines[0].Ev, lines[4001].Ev)
	}
}

func TestJSONLinesAreNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		j := newJSONLines(g, "7f3k", false)
		for i := range 5 {
			j.Record(time.Now(), events.Scan{Files: int64(i)})
			synctest.Wait()
			if got := len(jsonRead(t, g.String())); got != i+1 {
				t.Fatalf("%d lines after %d events", got, i+1)
			}
		}
		j.Close()
	})
}

func TestJSONLinesWithoutJob(t *testing.T) {
	var out bytes.Buffer
	j := newJSONLines(&out, "", false)
	for range jsonHeldEvents + 5 {
		j.Record(time.Now(), events.Scan{})
	}
	j.Close()
	if got := len(jsonRead(t, out.String())); got != jsonHeldEvents+5 {
		t.Errorf("%d lines, want %d", got, jsonHeldEvents+5)
	}
	out.Reset()
	j = newJSONLines(&out, "", false)
	j.Record(time.Now(), events.JobEnd{Exit: 7})
	j.Close()
	if lines := jsonRead(t, out.String()); len(lines) != 1 || lines[0].Job != "" || lines[0].Ev != "job.end" {
		t.Errorf("got %+v", lines)
	}
}

// TestJSONLinesReaderGone writes to a real pipe without a reader: the job goes on.
func TestJSONLinesReaderGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	j := newJSONLines(w, "7f3k", false)
	j.Record(time.Now(), events.Scan{})
	if n, err := r.Read(make([]byte, 10)); n == 0 {
		t.Fatal(err)
	}
	r.Close()
	for range 100000 {
		j.Record(time.Now(), events.File{Path: "some/file/name"})
	}
	if err := j.Close(); err == nil {
		t.Error("Close gave no error")
	}
}

func FuzzJSONLines(f *testing.F) {
	f.Add("a\xff\u2028", "m\x00")
	f.Fuzz(func(t *testing.T, path, message string) {
		var out bytes.Buffer
		j := newJSONLines(&out, message, false)
		j.Record(time.Unix(0, 0), events.File{Path: path, Error: message})
		j.Record(time.Unix(0, 0), events.Error{Path: path, Message: message})
		j.Close()
		lines := bytes.Split(bytes.TrimSuffix(out.Bytes(), []byte("\n")), []byte("\n"))
		if len(lines) != 2 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, line := range lines {
			var v struct {
				Path string
				B64  string `json:"path_b64"`
			}
			if err := json.Unmarshal(line, &v); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			raw := v.Path
			if v.B64 != "" {
				b, err := base64.StdEncoding.DecodeString(v.B64)
				if err != nil {
					t.Fatal(err)
				}
				raw = string(b)
			}
			if raw != path {
				t.Fatalf("path %q came back as %q", path, raw)
			}
		}
	})
}

// TestEventsDocument demands that docs/events.md has a section for each kind of
// event with a row for each field, and none for fields that do not exist.
func TestEventsDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range strings.Split(string(text), "\n### ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		body, _, _ = strings.Cut(body, "\n## ")
		sections[strings.Trim(name, "` ")] = body
	}
	known := map[string]bool{}
	for _, e := range jsonKinds() {
		known[e.Name()] = true
		body, ok := sections[e.Name()]
		if !ok {
			t.Errorf("no section for %s", e.Name())
			continue
		}
		fields := map[string]bool{}
		jsonFields(reflect.TypeOf(e), "", fields)
		switch e.(type) {
		case events.File:
			fields["path"], fields["path_b64"] = true, true
		case events.Warn, events.Error:
			fields["path_b64"] = true
		}
		rows := map[string]bool{}
		for _, line := range strings.Split(body, "\n") {
			if name, ok := strings.CutPrefix(line, "| `"); ok {
				name, _, _ = strings.Cut(name, "`")
				rows[name] = true
				if !fields[name] {
					t.Errorf("%s: %s is documented and does not exist", e.Name(), name)
				}
			}
		}
		for name := range fields {
			if !rows[name] {
				t.Errorf("%s: %s is not documented", e.Name(), name)
			}
		}
	}
	for name := range sections {
		if !known[name] {
			t.Errorf("section %s is about no event", name)
		}
	}
}

// jsonFields collects the names of a struct's fields as they are in JSON; those
// of lists of structs as list[].name, of structs as struct.name.
func jsonFields(t reflect.Type, prefix string, into map[string]bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		into[prefix+name] = true
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			jsonFields(f.Type.Elem(), prefix+name+"[].", into)
		}
		if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct {
			jsonFields(f.Type.Elem(), prefix+name+".", into)
		}
	}
}

// TestRefusedEarly: events of a command line that cannot be read go where --json
// says, as it is read otherwise.
func TestRefusedEarly(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct {
		args []string
		file string // that is written; "": none
	}{
		{[]string{"--json=off", "--bogus"}, ""},
		{[]string{"--json=a", "--json=off", "--bogus"}, ""},
		{[]string{"--json=fd:x", "--bogus"}, ""},
		{[]string{"--bogus", "--", "--json=b"}, ""},
		{[]string{"--json=c", "--bogus"}, "c"},
	} {
		bogus := usageError("unknown option --bogus")
		if err := refusedEarly(Env{Args: tt.args}, bogus); err != error(bogus) {
			t.Errorf("%q: %v", tt.args, err)
		}
		made, err := os.ReadDir(".")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range made {
			names = append(names, m.Name())
		}
		if got := strings.Join(names, " "); got != tt.file {
			t.Errorf("%q wrote %q, want %q", tt.args, got, tt.file)
		}
	}
}
