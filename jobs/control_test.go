package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// parrot answers with what it was asked, and lets followers wait for the end.
type parrot struct {
	mu    sync.Mutex
	asked []Request
	lines int
	told  chan struct{} // closed when the lines are written
}

func (p *parrot) Answer(r Request) Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r)
	if r.Ask == AskSet && r.Set[0].Name == "bad" {
		return Answer{Error: "bad: no"}
	}
	return Answer{Said: []string{r.Ask}, Status: &Status{Job: "abc", Done: 5}}
}

func (p *parrot) Follow(ctx context.Context, w io.Writer) {
	for i := range p.lines {
		if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
			return
		}
	}
	if p.told != nil {
		close(p.told)
	}
	<-ctx.Done()
}

func serve(t *testing.T, dir, id string, h Handler) *Server {
	t.Helper()
	s, err := Serve(dir, id, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestControl(t *testing.T) {
	for name, dir := range map[string]string{"short": t.TempDir(), "long": filepath.Join(t.TempDir(), strings.Repeat("long/", 30))} {
		p := &parrot{lines: 3, told: make(chan struct{})}
		if l, err := Running(dir); err != nil || len(l) > 0 {
			t.Errorf("%s: before, %v, %v", name, l, err)
		}
		s, err := Serve(dir, "abc", p)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		info, err := os.Stat(filepath.Join(dir, "abc.sock"))
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("%s: the socket is %v, %v", name, info, err)
		}
		var busy *BusyError
		if _, err := Serve(dir, "abc", p); !errors.As(err, &busy) {
			t.Errorf("%s: a second server: %v", name, err)
		}
		other, err := Serve(dir, "abd", p)
		if err != nil {
			t.Fatal(err)
		}
		for prefix, want := range map[string]string{"abc": "abc", "abd": "abd", "ab": "job ab may be abc or abd", "x": "job x is not running on this machine"} {
			if id, err := Find(dir, prefix); id != want && (err == nil || err.Error() != want) {
				t.Errorf("%s: %s is %q, %v", name, prefix, id, err)
			}
		}
		other.Close()
		if id, err := Find(dir, "a"); id != "abc" {
			t.Errorf("%s: %v", name, err)
		}
		set := Request{Ask: AskSet, Set: []Setting{{"bwlimit", "1MB"}}}
		a, err := Ask(t.Context(), dir, "abc", set, nil)
		if err != nil || len(a.Said) != 1 || a.Said[0] != AskSet || a.Status == nil || a.Status.Done != 5 || !reflect.DeepEqual(p.asked, []Request{set}) {
			t.Errorf("%s: %+v, %v; it was asked %+v", name, a, err, p.asked)
		}
		if _, err := Ask(t.Context(), dir, "abc", Request{Ask: AskSet, Set: []Setting{{"bad", ""}}}, nil); err == nil || err.Error() != "bad: no" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Ask(t.Context(), dir, "abc", Request{Ask: "dance"}, nil); err == nil || !strings.Contains(err.Error(), "not known here") {
			t.Errorf("%s: %v", name, err)
		}
		var got bytes.Buffer
		done := make(chan error)
		go func() {
			_, err := Ask(context.Background(), dir, "abc", Request{Ask: AskEvents}, &got)
			done <- err
		}()
		<-p.told
		s.Close()
		if err := <-done; err != nil || got.String() != "line 0\nline 1\nline 2\n" {
			t.Errorf("%s: followed %q, %v", name, got.String(), err)
		}
		if _, err := Ask(t.Context(), dir, "abc", set, nil); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: after the end, %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", name, left, err)
		}
	}
}

func (p *parrot) requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// TestControlAfterCrash: what a killed process has left is not in the way.
func TestControlAfterCrash(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "abc.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if ids, err := Running(dir); err != nil || len(ids) != 0 {
		t.Errorf("%v, %v", ids, err)
	}
	serve(t, dir, "abd", new(parrot))
	if id, err := Find(dir, "ab"); id != "abd" {
		t.Errorf("the one that runs is %q, %v", id, err)
	}
	if _, err := Ask(t.Context(), dir, "abc", Request{Ask: AskStatus}, nil); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	serve(t, dir, "abc", new(parrot))
	if _, err := Ask(t.Context(), dir, "abc", Request{Ask: AskStatus}, nil); err != nil {
		t.Error(err)
	}
}

// TestControlHostile: whoever says what is no request gets an answer at most, and is in
// nobody's way.
func TestControlHostile(t *testing.T) {
	dir := t.TempDir()
	p := new(parrot)
	serve(t, dir, "abc", p)
	dial := func() net.Conn {
		c, err := net.Dial("unix", filepath.Join(dir, "abc.sock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for _, text := range []string{"", "\n", "{}\n", "[[[[\n", `{"ask":"status","set":[{"name":"x"}]}` + "\n", `{"ask":"set"}` + "\n",
		`{"ask":"set","set":[` + strings.Repeat(`{"name":"x"},`, 40) + `{}]}` + "\n", strings.Repeat("x", maxRequest+2)} {
		c := dial()
		if _, err := io.WriteString(c, text); err != nil {
			continue // it had enough of it
		}
		_ = c.(*net.UnixConn).CloseWrite()
		b, err := io.ReadAll(c)
		var a Answer
		if len(b) > 0 && (json.Unmarshal(b, &a) != nil || a.Error == "" || a.Status != nil) {
			t.Errorf("%.40q is answered %q, %v", text, b, err)
		}
	}
	for range maxAsking / 2 {
		dial() // and says nothing
	}
	if _, err := Ask(t.Context(), dir, "abc", Request{Ask: AskStatus}, nil); err != nil || len(p.requests()) != 1 {
		t.Errorf("%v, and it was asked %+v", err, p.requests())
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{`{"ask":"status"}`, `{"ask":"set","set":[{"name":"bwlimit","value":"1MB"},{"name":"pause"}]}`, `{"ask":"events"}`, `{`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseRequest(again)
		if len(again) <= maxRequest && (err != nil || len(s.Set) != len(r.Set) || s.Ask != r.Ask) {
			t.Errorf("%s reads back as %+v, %v", again, s, err)
		}
	})
}
