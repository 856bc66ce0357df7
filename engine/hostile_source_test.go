package engine

import (
	"math"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/wire"
)

func verdict(v ...wire.EntryVerdict) []byte { return wire.Verdicts(v).Append(nil) }

func TestHostileSink(t *testing.T) {
	// The source lists the root as 0, then a file of 3 MiB and a small one.
	const tooMuch = 1 << 40
	listed := func(v *villain) { v.await(wire.KindEnd) }
	part := func(have int64, ext ...[2]int64) func(v *villain) {
		return func(v *villain) {
			listed(v)
			v.say(verdict(wire.EntryVerdict{ID: 1, Verdict: wire.Part, Have: have, Extents: ext}))
		}
	}
	for title, tt := range map[string]struct {
		do    func(v *villain)
		class wire.Class // 0: the source goes on until the sink leaves
	}{
		"verdict on an unknown entry": {do: func(v *villain) { listed(v); v.say(verdict(wire.EntryVerdict{ID: 77, Verdict: wire.Same})) }, class: wire.ClassProtocol},
		"verdict twice": {do: func(v *villain) {
			listed(v)
			v.say(verdict(wire.EntryVerdict{ID: 1, Verdict: wire.Same}, wire.EntryVerdict{ID: 1, Verdict: wire.Want}))
		}, class: wire.ClassProtocol},
		"wants a directory":      {do: func(v *villain) { listed(v); v.say(verdict(wire.EntryVerdict{ID: 0, Verdict: wire.Want})) }, class: wire.ClassProtocol},
		"wants blocks beyond":    {do: part(0, [2]int64{0, tooMuch}), class: wire.ClassProtocol},
		"has more than there is": {do: part(tooMuch, [2]int64{0, 1}), class: wire.ClassProtocol},
		"part of nothing":        {do: part(0)},
		"part of a small file": {do: func(v *villain) {
			listed(v)
			v.say(verdict(wire.EntryVerdict{ID: 2, Verdict: wire.Part, Extents: [][2]int64{{0, 1}}}))
		}},
		"unknown verdict":     {do: func(v *villain) { v.say([]byte{byte(wire.KindVerdicts), 1, 0, 0x55}) }, class: wire.ClassProtocol},
		"stored beyond sent":  {do: func(v *villain) { listed(v); v.say(wire.Stored{{Stream: 0, Frames: math.MaxUint64}}.Append(nil)) }, class: wire.ClassProtocol},
		"stored of no stream": {do: func(v *villain) { v.say(wire.Stored{{Stream: 99, Frames: 5}}.Append(nil)) }},
		"missed, never sent": {do: func(v *villain) {
			v.say(wire.Missed{Stream: 0, File: 1, Block: 1}.Append(nil), wire.Missed{Stream: 7, File: 9, Block: 1}.Append(nil))
		}},
		"done, unknown":           {do: func(v *villain) { v.say(wire.Done{{ID: 55}}.Append(nil)) }},
		"finished at once":        {do: func(v *villain) { v.say(wire.Counts{}.Append(nil, wire.KindFinished)) }, class: wire.ClassProtocol},
		"finished without a word": {do: func(v *villain) { listed(v); v.say(wire.Counts{}.Append(nil, wire.KindFinished)) }, class: wire.ClassProtocol},
		"one hash asked for twice": {do: func(v *villain) {
			listed(v)
			for range 3 {
				v.say(verdict(wire.EntryVerdict{ID: 1, Verdict: wire.SendSum}))
			}
		}, class: wire.ClassProtocol},
		"damaged for ever": {do: func(v *villain) {
			listed(v)
			v.say(verdict(wire.EntryVerdict{ID: 0, Verdict: wire.Made}, wire.EntryVerdict{ID: 1, Verdict: wire.Want}, wire.EntryVerdict{ID: 2, Verdict: wire.Same}))
			for range 100_000 {
				v.mu.Lock()
				_, gone := v.last[wire.KindGone]
				v.mu.Unlock()
				if gone {
					v.say(wire.Counts{}.Append(nil, wire.KindFinished))
					return
				}
				v.say(wire.Missed{Stream: 0, File: 1, Block: 0}.Append(nil))
			}
			v.t.Error("never given up")
		}, class: 255},
		"streams fail":   {do: func(v *villain) { v.say([]byte("\x25{\"count\":-1,\"error\":\"\\u0000no\"}")) }},
		"a source's own": {do: func(v *villain) { v.say((&wire.Manifest{}).Append(nil)) }, class: wire.ClassProtocol},
		"data":           {do: func(v *villain) { v.frame([]byte{1, 2, 3}) }, class: wire.ClassProtocol},
		"empty message":  {do: func(v *villain) { v.say(nil) }, class: wire.ClassProtocol},
		"pings without end": {do: func(v *villain) {
			for range 20_000 {
				v.say([]byte{byte(wire.KindPing)})
			}
			v.say([]byte{99})
		}, class: wire.ClassProtocol},
		"pongs without end": {do: func(v *villain) {
			for range 1000 {
				v.say([]byte{byte(wire.KindPong)})
			}
			v.say([]byte{99})
		}, class: wire.ClassProtocol},
		"space":  {do: func(v *villain) { v.say([]byte("\x03{\"class\":4,\"text\":\"full\"}")); v.link.Close() }, class: wire.ClassSpace},
		"leaves": {do: func(v *villain) {}},
	} {
		t.Run(title, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir+"/src/big", 3<<20)
			fill(t, dir+"/src/small", 1000)
			st, err := osfs.NewSource(dir+"/src", osfs.SourceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			before := runtime.NumGoroutine()
			la, lb := MemoryLink()
			v := newVillain(t, lb, nil)
			s := NewSource(Options{JobID: "x"}, Paths{Name: "far"}, la, []SourceRoot{{Store: st, Base: filepath.Base(dir), Inside: true, Shown: "src"}}, nil)
			done := make(chan error, 1)
			go func() { done <- s.Run(t.Context()) }()
			go v.listen()
			go func() {
				tt.do(v)
				if tt.class == 0 {
					v.link.Close()
				}
			}()
			select {
			case err = <-done:
			case <-time.After(patience):
				buf := make([]byte, 1<<20)
				t.Fatalf("no end:\n%s", buf[:runtime.Stack(buf, true)])
			}
			la.Close()
			want := tt.class
			if want == 0 {
				want = wire.ClassLost
			}
			if want == 255 {
				if c := s.Totals(); err != nil || c.Failed != 1 {
					t.Errorf("error %v, totals %+v", err, c)
				}
			} else if classOf(err) != want {
				t.Errorf("error %v of class %d, want %d", err, classOf(err), want)
			}
			settleTo(t, before)
		})
	}
}
