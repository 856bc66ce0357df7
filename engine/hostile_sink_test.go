package engine

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/pipe"
	"github.com/gomover/gomover/wire"
)

// villain is the other end of a sink or a source, saying what it likes.
type villain struct {
	t    *testing.T
	link Link
	ep   transports.Endpoint
	next uint64

	mu    sync.Mutex // guards what follows
	heard []wire.Kind
	fail  *wire.Fail
	last  map[wire.Kind][]byte
	more  chan struct{} // something was heard; capacity 1
}

func newVillain(t *testing.T, l Link, ep transports.Endpoint) *villain {
	return &villain{t: t, link: l, ep: ep, last: make(map[wire.Kind][]byte), more: make(chan struct{}, 1)}
}

// listen reads what the victim says until the link ends.
func (v *villain) listen() {
	for {
		msg, err := v.link.Recv()
		if err != nil {
			return
		}
		k, body, err := wire.Split(msg)
		if err != nil {
			v.t.Error(err)
			return
		}
		v.mu.Lock()
		v.heard = append(v.heard, k)
		v.last[k] = body
		if k == wire.KindFail {
			v.fail = new(wire.Fail)
			if err := wire.ParseJSON(body, v.fail); err != nil {
				v.t.Error(err)
			}
		}
		v.mu.Unlock()
		select {
		case v.more <- struct{}{}:
		default:
		}
	}
}

// await waits until a message of kind k was heard and returns the last one.
func (v *villain) await(k wire.Kind) []byte {
	for {
		v.mu.Lock()
		b, ok := v.last[k]
		gone := v.fail != nil
		v.mu.Unlock()
		if ok || gone {
			return b
		}
		select {
		case <-v.more:
		case <-time.After(patience):
			v.t.Errorf("message %d never came", k)
			return nil
		}
	}
}

// say sends raw messages; errors mean that the victim has had enough.
func (v *villain) say(msgs ...[]byte) {
	for _, m := range msgs {
		if v.link.Send(m) != nil {
			return
		}
	}
}

func (v *villain) list(entries ...wire.Entry) {
	m := wire.Manifest{First: v.next, Entries: entries}
	v.next += uint64(len(entries))
	v.say(m.Append(nil))
}

func rootDir() wire.Entry { return wire.Entry{Kind: 2, Mode: 0o755, Base: "src", Inside: true} }

func file(name string, size int64) wire.Entry {
	return wire.Entry{Name: name, Kind: 1, Mode: 0o644, Size: size, ModTime: 1}
}

func (v *villain) frame(b []byte) { v.say(append([]byte{byte(wire.KindData)}, b...)) }

func block(h wire.BlockHead, data []byte) []byte {
	h.Len = len(data)
	b := make([]byte, wire.BlockHeadLen)
	h.Put(b)
	return append(b, data...)
}

func pack(items map[uint64]string) []byte {
	b := make([]byte, wire.PackHeadLen)
	wire.PutPackHead(b, len(items))
	for id, s := range items {
		h := make([]byte, wire.PackItemLen)
		p := wire.PackItem{File: id, Len: len(s), Sum: integrity.Whole([]byte(s))}
		p.Put(h)
		b = append(append(b, h...), s...)
	}
	return b
}

func (v *villain) end() { v.say(wire.Counts{}.Append(nil, wire.KindEnd)) }

// big is the size of the one file which most scenes below are about.
const big = 3 << 20

// blockOf is block i of a file of size big, of bytes c, as it should be.
func blockOf(id uint64, i int64, c byte) []byte {
	data := make([]byte, DefaultBlock)
	for k := range data {
		data[k] = c
	}
	return block(wire.BlockHead{File: id, Block: i, Sum: integrity.Block(data, i*DefaultBlock, big), Unchanged: true}, data)
}

func TestHostileSource(t *testing.T) {
	const end = wire.Class(255) // the job ends well
	wanted := func(v *villain) {
		v.list(rootDir(), file("big", big))
		v.await(wire.KindVerdicts)
	}
	name := func(n string) func(v *villain) {
		return func(v *villain) { v.list(rootDir(), file(n, 5)) }
	}
	root := func(e wire.Entry) func(v *villain) { return func(v *villain) { v.list(e) } }
	for title, tt := range map[string]struct {
		do    func(v *villain)
		class wire.Class
		set   func(o *Options)
	}{
		"name up":                {do: name("../victim"), class: wire.ClassProtocol},
		"name up inside":         {do: name("a/../../victim"), class: wire.ClassProtocol},
		"name absolute":          {do: name("/victim"), class: wire.ClassProtocol},
		"name with nul":          {do: name("a\x00b"), class: wire.ClassProtocol},
		"name dot":               {do: name("./x"), class: wire.ClassProtocol},
		"name with empty part":   {do: name("a//b"), class: wire.ClassProtocol},
		"name ends with a slash": {do: name("a/"), class: wire.ClassProtocol},
		"base up":                {do: root(wire.Entry{Kind: 1, Size: 4, Base: "../victim"}), class: wire.ClassProtocol},
		"base with slash":        {do: root(wire.Entry{Kind: 1, Size: 4, Base: "a/b"}), class: wire.ClassProtocol},
		"base dots":              {do: root(wire.Entry{Kind: 2, Base: ".."}), class: wire.ClassProtocol},
		"base empty":             {do: root(wire.Entry{Kind: 1, Size: 4}), class: wire.ClassProtocol},
		"base with nul":          {do: root(wire.Entry{Kind: 1, Base: "a\x00"}), class: wire.ClassProtocol},
		"entry before its root":  {do: root(file("x", 5)), class: wire.ClassProtocol},
		"entry of another root":  {do: func(v *villain) { e := file("x", 5); e.Root = 7; v.list(rootDir(), e) }, class: wire.ClassProtocol},
		"root of high number":    {do: root(wire.Entry{Root: 9, Kind: 2, Inside: true}), class: wire.ClassProtocol},
		"root twice":             {do: func(v *villain) { v.list(rootDir(), rootDir()) }, class: wire.ClassProtocol},
		"entry below a file": {do: func(v *villain) {
			v.list(wire.Entry{Kind: 1, Size: 4, Base: "f"}, file("x", 5))
		}, class: wire.ClassProtocol},
		"numbers that jump":    {do: func(v *villain) { v.next = 5; v.list(rootDir()) }, class: wire.ClassProtocol},
		"numbers that repeat":  {do: func(v *villain) { v.list(rootDir()); v.next = 0; v.list(rootDir()) }, class: wire.ClassProtocol},
		"attempt not promised": {do: func(v *villain) { e := file("x", 5); e.Attempt = 1; v.list(rootDir(), e) }, class: wire.ClassProtocol},
		"link out, file behind it": {do: func(v *villain) {
			v.list(rootDir(), wire.Entry{Name: "l", Kind: 3, Target: ".."}, file("l/victim", 4))
			v.await(wire.KindVerdicts)
			v.frame(pack(map[uint64]string{2: "evil"}))
			v.end()
		}, class: end},
		"link out, directory behind it": {do: func(v *villain) {
			v.list(rootDir(), wire.Entry{Name: "l", Kind: 3, Target: "../outside"}, wire.Entry{Name: "l", Kind: 2, Mode: 0o700}, file("l/victim", 4))
			v.await(wire.KindVerdicts)
			v.frame(pack(map[uint64]string{3: "evil"}))
			v.end()
		}, class: end},
		"sizes beyond the disk": {do: func(v *villain) { v.list(rootDir(), file("x", math.MaxInt64/4)) }, class: end, set: func(o *Options) { o.NoSpaceCheck = true }},
		"size of a petabyte":    {do: func(v *villain) { v.list(rootDir(), file("x", 1<<50)) }, class: wire.ClassDest},
		"list behind its end":   {do: func(v *villain) { v.list(rootDir(), file("big", big)); v.end(); v.list(file("x", 5)) }, class: wire.ClassProtocol},
		"two ends":              {do: func(v *villain) { v.list(rootDir(), file("big", big)); v.end(); v.end() }, class: wire.ClassProtocol},
		"malformed list":        {do: func(v *villain) { v.say([]byte{byte(wire.KindManifest), 0, 0x80, 0x20}) }, class: wire.ClassProtocol},
		"empty message":         {do: func(v *villain) { v.say(nil) }, class: wire.ClassProtocol},
		"unknown kind":          {do: func(v *villain) { v.say([]byte{99}) }, class: wire.ClassProtocol},
		"a sink's message":      {do: func(v *villain) { v.say(wire.Stored{{Stream: 1, Frames: 1}}.Append(nil)) }, class: wire.ClassProtocol},
		"long message":          {do: func(v *villain) { v.say(append([]byte{byte(wire.KindWarn)}, make([]byte, wire.MaxMessage)...)) }, class: wire.ClassProtocol},
		"bad JSON":              {do: func(v *villain) { v.say([]byte("\x25{\"count\":")) }, class: wire.ClassProtocol},
		"bye too early":         {do: func(v *villain) { v.list(rootDir()); v.say([]byte{byte(wire.KindBye)}) }, class: wire.ClassProtocol},
		"gone, unknown":         {do: func(v *villain) { v.list(rootDir()); v.say(wire.Gone{ID: 99, Retry: true}.Append(nil)) }, class: wire.ClassProtocol},
		"hash not asked for":    {do: func(v *villain) { v.list(rootDir()); v.say(wire.FileSum{ID: 0}.Append(nil)) }, class: wire.ClassProtocol},
		"fail":                  {do: func(v *villain) { v.say([]byte("\x03{\"class\":2,\"text\":\"no\"}")) }, class: wire.ClassSource},
		"empty frame":           {do: func(v *villain) { v.frame(nil) }, class: wire.ClassProtocol},
		"frame of unknown kind": {do: func(v *villain) { v.frame([]byte{9, 9, 9}) }, class: wire.ClassProtocol},
		"frame too long":        {do: func(v *villain) { v.frame(make([]byte, 17<<20)) }, class: wire.ClassProtocol},
		"block of no file":      {do: func(v *villain) { v.frame(blockOf(7, 0, 1)) }, class: wire.ClassProtocol},
		"pack of no file":       {do: func(v *villain) { v.frame(pack(map[uint64]string{7: "x"})) }, class: wire.ClassProtocol},
		"block out of range":    {do: func(v *villain) { wanted(v); v.frame(blockOf(1, 12, 1)) }, class: wire.ClassProtocol},
		"block far out of range": {do: func(v *villain) {
			wanted(v)
			v.frame(block(wire.BlockHead{File: 1, Block: math.MaxInt64 / 2}, make([]byte, DefaultBlock)))
		}, class: wire.ClassProtocol},
		"short block":        {do: func(v *villain) { wanted(v); v.frame(block(wire.BlockHead{File: 1}, make([]byte, 7))) }, class: wire.ClassProtocol},
		"long block":         {do: func(v *villain) { wanted(v); v.frame(block(wire.BlockHead{File: 1}, make([]byte, DefaultBlock+1))) }, class: wire.ClassProtocol},
		"big file in a pack": {do: func(v *villain) { wanted(v); v.frame(pack(map[uint64]string{1: "x"})) }, class: wire.ClassProtocol},
		"small file as blocks": {do: func(v *villain) {
			v.list(rootDir(), file("s", 9))
			v.await(wire.KindVerdicts)
			v.frame(blockOf(1, 0, 1))
		}, class: wire.ClassProtocol},
		"small file too long": {do: func(v *villain) {
			v.list(rootDir(), file("s", 9))
			v.await(wire.KindVerdicts)
			v.frame(pack(map[uint64]string{1: "0123456789"}))
		}, class: wire.ClassProtocol},
		"lying pack": {do: func(v *villain) {
			v.list(rootDir(), file("s", 9))
			b := pack(map[uint64]string{1: "012345678"})
			b[wire.PackHeadLen+8] = 0xff
			v.frame(b)
		}, class: wire.ClassProtocol},
		"wrong hashes for ever": {do: func(v *villain) {
			wanted(v)
			b := blockOf(1, 0, 1)
			b[wire.BlockHeadLen] ^= 1
			for range 200 {
				v.frame(b)
			}
			v.end()
		}, class: end},
		"wrong hashes of a small file": {do: func(v *villain) {
			v.list(rootDir(), file("s", 9))
			v.await(wire.KindVerdicts)
			b := pack(map[uint64]string{1: "012345678"})
			b[len(b)-1] ^= 1
			for range 200 {
				v.frame(b)
			}
			v.end()
		}, class: end},
		"blocks twice with other content": {do: func(v *villain) {
			wanted(v)
			for i := range int64(12) {
				v.frame(blockOf(1, i, 'a'))
				v.frame(blockOf(1, i, 'b'))
			}
			v.end()
		}, class: end},
		"one name twice": {do: func(v *villain) {
			v.list(rootDir(), file("x", big), file("x", big))
			v.await(wire.KindVerdicts)
			for i := range int64(12) {
				v.frame(blockOf(1, i, 'a'))
			}
			v.end()
		}, class: end},
		"retry promised, never kept": {do: func(v *villain) {
			wanted(v)
			v.say(wire.Gone{ID: 1, Class: wire.ClassChanged, Retry: true}.Append(nil))
			v.end()
			v.link.Close()
		}, class: wire.ClassLost},
		"streams without end": {do: func(v *villain) {
			for n := range 200 {
				v.say(fmt.Appendf([]byte{byte(wire.KindStreams)}, `{"count":%d}`, math.MaxInt32-n))
			}
			v.say([]byte{99})
		}, class: wire.ClassProtocol},
		"negative streams": {do: func(v *villain) { v.say([]byte("\x25{\"count\":-5}"), []byte{99}) }, class: wire.ClassProtocol},
		"pings without end": {do: func(v *villain) {
			for range 20_000 {
				v.say([]byte{byte(wire.KindPing), 1, 2, 3})
			}
			v.say([]byte{99})
		}, class: wire.ClassProtocol},
		"reports without sense": {do: func(v *villain) {
			for range 100 {
				v.say([]byte(`` + "\x15" + `{"span":-9223372036854775808,"streams":-1,"network":9223372036854775807,"per_stream":[{"bytes":-5}]}`))
			}
			v.say([]byte{99})
		}, class: wire.ClassProtocol},
		"goes away": {do: func(v *villain) { wanted(v); v.frame(blockOf(1, 0, 1)); v.link.Close() }, class: wire.ClassLost},
	} {
		t.Run(title, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(dir+"/dst", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(dir+"/outside", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir+"/victim", []byte("safe"), 0o600); err != nil {
				t.Fatal(err)
			}
			w := newWorld(dir+"/src", dir+"/dst")
			if tt.set != nil {
				tt.set(&w.opts)
			}
			la, lb := MemoryLink()
			ea, eb := pipe.Pair()
			defer ea.Close()
			v := newVillain(t, la, ea)
			var rec recorder
			s := NewSink(w.opts, Paths{Endpoint: eb, Name: "far", Hasty: true}, lb, w.target, &rec)
			before := runtime.NumGoroutine()
			done := make(chan error, 1)
			go func() { done <- s.Run(t.Context()) }()
			go v.listen()
			go func() {
				tt.do(v)
				if tt.class == end || tt.class == wire.ClassDest { // what is left may be finished
					v.end()
				}
			}()
			var err error
			select {
			case err = <-done:
			case <-time.After(patience):
				buf := make([]byte, 1<<20)
				t.Fatalf("no end:\n%s", buf[:runtime.Stack(buf, true)])
			}
			lb.Close()
			switch got := classOf(err); {
			case tt.class == end && err != nil && got != wire.ClassProtocol: // of the second end
				t.Errorf("error %v", err)
			case tt.class == wire.ClassDest && got != wire.ClassSpace && rec.count("fail") == 0:
				t.Errorf("error %v and no file failed", err)
			case tt.class != end && tt.class != wire.ClassDest && got != tt.class:
				t.Errorf("error %v of class %d, want %d", err, got, tt.class)
			}
			if err != nil && strings.Contains(err.Error(), "\x00") {
				t.Errorf("control characters in %q", err)
			}
			unharmed(t, dir)
			if strings.HasPrefix(title, "wrong hashes") && rec.count("fail") != 1 {
				t.Errorf("no failure reported: %v", rec.files)
			}
			if title == "blocks twice with other content" || title == "one name twice" {
				for _, n := range []string{"big", "x"} {
					b, err := os.ReadFile(dir + "/dst/" + n)
					if err == nil && strings.Trim(string(b), "a") != "" {
						t.Errorf("%s: contents are mixed", n)
					}
				}
			}
			settleTo(t, before)
		})
	}
}

// unharmed fails the test if anything changed beside dst.
func unharmed(t *testing.T, dir string) {
	t.Helper()
	l, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l {
		if n := e.Name(); n != "dst" && n != "victim" && n != "outside" {
			t.Errorf("%s was written outside the destination", n)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "victim")); err != nil || string(b) != "safe" {
		t.Errorf("the victim holds %q, %v", b, err)
	}
	if l, err := os.ReadDir(filepath.Join(dir, "outside")); err != nil || len(l) > 0 {
		t.Errorf("outside holds %v, %v", l, err)
	}
	if i, err := os.Stat(filepath.Join(dir, "outside")); err != nil || i.Mode().Perm() != 0o755 {
		t.Errorf("outside became %v, %v", i.Mode(), err)
	}
}

// settleTo waits until no more goroutines run than before.
func settleTo(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
}

// TestEndlessListIsHeldBack: a source that lists for ever and reads nothing is
// held back by the sink's silence, in memory that does not grow.
func TestEndlessListIsHeldBack(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(dir+"/src", dir+"/dst")
	la, lb := MemoryLink()
	v := newVillain(t, la, nil)
	s := NewSink(w.opts, Paths{Name: "far", Hasty: true}, lb, w.target, nil)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		err := s.Run(ctx)
		lb.Close()
		done <- err
	}()
	v.list(rootDir())
	for i := range 2000 { // the verdicts are read until it is too much
		if i == 1 {
			go v.listen()
		}
		e := make([]wire.Entry, 512)
		for k := range e {
			e[k] = file(fmt.Sprintf("f%d.%d", i, k), 100)
		}
		v.list(e...)
	}
	select {
	case err := <-done:
		if classOf(err) != wire.ClassProtocol {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("no end")
	}
}
