package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// TestEnds has the ends of a session meet on loopback.
func TestEnds(t *testing.T) {
	const size = 3_000_000
	file := filepath.Join(t.TempDir(), "payload")
	if err := payload.MakeFile(t.Context(), file, size, 1); err != nil {
		t.Fatal(err)
	}
	made := newSession(file, &ground.Host{Address: "127.0.0.1"}, []*ground.Host{{Address: "127.0.0.2"}, {Address: "127.0.0.3"}})
	made.Unicast = true
	path := filepath.Join(t.TempDir(), "session")
	if err := made.write(path); err != nil {
		t.Fatal(err)
	}
	s, err := readSession(path)
	if err != nil {
		t.Fatal(err)
	}
	o := outcome{receivers: make([]received, 2)}
	var ends sync.WaitGroup
	for i := range o.receivers {
		ends.Go(func() {
			var err error
			if o.receivers[i], err = s.receive(t.Context(), i); err != nil {
				t.Error(err)
			}
		})
	}
	if o.sent, err = s.send(t.Context()); err != nil {
		t.Fatal(err)
	}
	ends.Wait()
	if wrong := o.complete(size); wrong != nil {
		t.Errorf("%v", wrong)
	}
	low, high := o.goodputs()
	if low <= 0 || high < low || o.seconds() <= 0 {
		t.Errorf("goodputs %v to %v, %v s", low, high, o.seconds())
	}
	o.receivers[1].Wrong, o.receivers[0].Bytes = 1, 5
	if wrong := o.complete(size); len(wrong) != 2 {
		t.Errorf("of two wrong ones these are told: %v", wrong)
	}
}

func TestCompareFindsWrongBytes(t *testing.T) {
	want := []byte("what was sent")
	for _, tt := range []struct {
		got   string
		bytes int64
		wrong int64
	}{{"what was sent", 13, 0}, {"what was bent", 13, 1}, {"what", 4, 0}, {"what was sent, and more", 23, 1}} {
		out := compare(strings.NewReader(tt.got), want)
		if out.Bytes != tt.bytes || out.Wrong != tt.wrong || out.Err != "" {
			t.Errorf("%q: %+v", tt.got, out)
		}
	}
}

func TestForging(t *testing.T) {
	f := forging{group: netip.MustParseAddrPort("232.7.8.9:50009"), source: netip.MustParseAddr("10.0.0.1"),
		ports: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:50000"), netip.MustParseAddrPort("10.0.0.3:50000")}, member: "net:[5]"}
	got, err := parseForging(f.words()[1:])
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("%+v, %v; want %+v", got, err, f)
	}
	for _, words := range [][]string{nil, {"-group", "232.7.8.9:5"}, {"-group", "232.7.8.9"}, append(f.words()[1:], "more"), append(f.words()[1:], "-ports", "10.0.0.1")} {
		if got, err := parseForging(words); err == nil {
			t.Errorf("%q is read as %+v", words, got)
		}
	}
}

func TestLastLine(t *testing.T) {
	for text, ok := range map[string]bool{"noise\n{\"Bytes\": 5}\n": true, "{\"Bytes\": 5}": true, "": false, "{\"Bytes\": 5}\nnoise\n": false} {
		var r received
		if err := lastLine(text, &r); (err == nil) != ok || ok && r.Bytes != 5 {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}

func TestReadSession(t *testing.T) {
	path := filepath.Join(t.TempDir(), "session")
	for _, text := range []string{"", "{}", `{"Group": "AAAA"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := readSession(path); err == nil {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}

// The sites of the table are the slowest first, each once.
func TestSlowestFirst(t *testing.T) {
	seen := map[int]bool{}
	last := 0.0
	for _, i := range slowestFirst() {
		if seen[i] || table[i].rate < last {
			t.Errorf("%s is at the wrong place", table[i].name)
		}
		seen[i], last = true, table[i].rate
	}
	if len(seen) != len(table) {
		t.Errorf("%d of %d sites", len(seen), len(table))
	}
}

// TestFates reads from events what became of each destination.
func TestFates(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	log := filepath.Join(t.TempDir(), "events")
	text := `{"ev":"progress","t":"2026-01-02T03:04:06Z","dests":3}
{"ev":"file","t":"2026-01-02T03:04:07.5Z","dest":"a:f","action":"new"}
{"ev":"file","t":"2026-01-02T03:04:08Z","dest":"b:f","action":"fail"}
{"ev":"job.end","t":"2026-01-02T03:04:09Z","dests":[{"dest":"a:f","exit":0},{"dest":"b:f","exit":6,"reason":"full"}]}
`
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := fates(log, start, []string{"a:f", "b:f", "c:f"})
	want := []fate{{2.5, 0, ""}, {0, 6, "full"}, {0, -1, ""}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if err := os.WriteFile(log, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fates(log, start, nil); err == nil {
		t.Error("half an event is read")
	}
}

// TestScript does what is due, each thing once.
func TestScript(t *testing.T) {
	done := ""
	say := func(what string) func(context.Context) error {
		return func(context.Context) error {
			done += what
			return errors.New(what)
		}
	}
	s := &script{ctx: t.Context(), steps: []step{{0, say("a")}, {0, say("b")}, {time.Hour, say("c")}}}
	s.look()
	s.look()
	if done != "ab" || s.err == nil || s.err.Error() != "a\nb" || len(s.steps) != 1 {
		t.Errorf("did %q, errors %v, %d steps left", done, s.err, len(s.steps))
	}
	s.begin = s.begin.Add(-time.Hour)
	if s.look(); done != "abc" || len(s.steps) != 0 {
		t.Errorf("did %q, %d steps left", done, len(s.steps))
	}
}
