package engine

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

// TestCastJoin has two sources join a cast at work: they get the rest with the others,
// who wait for nothing, and what both lack of what was before together, too.
func TestCastJoin(t *testing.T) {
	dir := t.TempDir()
	src := dir + "/src"
	const size = 20 << 20
	fill(t, src+"/huge", size)
	for i := range 100 {
		fill(t, fmt.Sprintf("%s/small%d", src, i), 3000)
	}
	for late := 1; late <= 2; late++ {
		var dsts []string
		for i := range 2 + late {
			dsts = append(dsts, fmt.Sprintf("%s/%d-%d", dir, late, i))
		}
		c := newCrowd(t, src, dsts...)
		cast := c.begin(2)
		r := &roll{log: cast}
		r.cond = sync.NewCond(&r.mu)
		for _, w := range c.worlds[:2] {
			w.sink.Take(r.stream(-1))
		}
		for r.grow(0, false) < size/2 {
			n, err := cast.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.grow(n, false)
		}
		half := r.grow(0, false)
		for i, w := range c.worlds[2:] {
			place, start, ok := cast.Join(w.source)
			if place != 2+i || start != half || !ok {
				t.Fatalf("joined at %d from %d, %t", place, start, ok)
			}
			s := r.stream(-1)
			s.at = start
			w.sink.Take(s)
		}
		close(c.free)
		end := c.play(cast, r)
		if _, _, ok := cast.Join(c.worlds[0].source); ok {
			t.Error("joined what has ended")
		}
		c.wg.Wait()
		cast.Close()
		for i, w := range c.worlds {
			if c.errs[i] != nil || w.sinkErr != nil {
				t.Fatal(i, c.errs[i], w.sinkErr)
			}
			sameTree(t, src, dsts[i])
			k := w.source.Totals()
			// One that is late alone gets half of it by itself, two together hardly any.
			if most := []int64{0, 11 << 20, 3 << 20}[late]; i >= 2 && k.Sent > most || i < 2 && k.Sent > 0 {
				t.Errorf("destination %d was sent %d bytes by itself", i, k.Sent)
			}
		}
		if most := []int64{0, size + 1<<20, size + size/2 + 2<<20}[late]; int64(end) > most {
			t.Errorf("with %d late the log has %d bytes", late, end)
		}
	}
}

// TestCastNeverJoined: a source whose receiver never takes what it has joined sends all
// by itself when it is given up.
func TestCastNeverJoined(t *testing.T) {
	dir := t.TempDir()
	src := dir + "/src"
	fill(t, src+"/huge", 8<<20)
	c := newCrowd(t, src, dir+"/a", dir+"/b", dir+"/c")
	cast := c.begin(2)
	r := &roll{log: cast}
	r.cond = sync.NewCond(&r.mu)
	for _, w := range c.worlds[:2] {
		w.sink.Take(r.stream(-1))
	}
	place, _, ok := cast.Join(c.worlds[2].source)
	if !ok {
		t.Fatal("not joined")
	}
	close(c.free)
	for i := 0; ; i++ {
		n, err := cast.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		r.grow(n, false)
		if cast.Release(); i == 5 {
			cast.Drop(place)
		}
	}
	r.grow(0, true)
	c.wg.Wait()
	cast.Close()
	for i, w := range c.worlds {
		if c.errs[i] != nil || w.sinkErr != nil {
			t.Fatal(i, c.errs[i], w.sinkErr)
		}
		sameTree(t, src, w.target.Path)
	}
	if n := c.worlds[2].source.Totals().Sent; n != 8<<20 {
		t.Errorf("%d bytes went to the one that was given up by itself", n)
	}
}

// TestCastFarBehind: a member that confirms nothing is given up when the log has become
// too long for it, and gets all by itself.
func TestCastFarBehind(t *testing.T) {
	dir := t.TempDir()
	src := dir + "/src"
	const size = 300 * DefaultBlock / 2
	fill(t, src+"/huge", size)
	for i := range 300 {
		fill(t, fmt.Sprintf("%s/small%d", src, i), 3000)
	}
	c := newCrowd(t, src, dir+"/a", dir+"/b", dir+"/c")
	cast := c.begin(3)
	cast.log.most = 100 << 10 // a pack takes a quarter of it
	r := &roll{log: cast}
	r.cond = sync.NewCond(&r.mu)
	for _, w := range c.worlds[:2] {
		w.sink.Take(r.stream(-1)) // the third one hears nothing
	}
	close(c.free)
	for {
		n, err := cast.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		r.grow(n, false)
		soon(t, "dealt with by two", func() bool {
			for i := range 2 {
				if n, of, live := cast.Confirmed(i); live && n < of {
					return false
				}
			}
			return true
		})
		cast.Release()
		if cast.log.heads > 2*cast.log.most {
			t.Fatalf("the log takes %d bytes for %d frames", cast.log.heads, len(cast.log.frames))
		}
	}
	if _, _, live := cast.Confirmed(2); live {
		t.Error("who hears nothing is a member still")
	}
	r.grow(0, true)
	c.wg.Wait()
	cast.Close()
	for i, w := range c.worlds {
		if c.errs[i] != nil || w.sinkErr != nil {
			t.Fatal(i, c.errs[i], w.sinkErr)
		}
		sameTree(t, src, w.target.Path)
		if k := w.source.Totals(); i < 2 && k.Sent > 0 {
			t.Errorf("destination %d was sent %d bytes by itself", i, k.Sent)
		}
	}
}
