package engine

import (
	"os"
	"slices"
	"testing"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// slowDest is a destination that takes its time to look up one name.
type slowDest struct {
	store.Dest
	name string
	free chan struct{} // closed when it answers
}

func (d *slowDest) Lookup(name string) (store.Entry, error) {
	if name == d.name {
		<-d.free
	}
	return d.Dest.Lookup(name)
}

// sharedPack is a frame with one small file.
func sharedPack(e wire.Entry, data string) []byte {
	b := make([]byte, wire.PackHeadLen+wire.SharedItemLen)
	wire.PutSharedPackHead(b, 1)
	item := wire.SharedItem{Key: wire.KeyOf(&e), Len: len(data), Sum: integrity.Whole([]byte(data))}
	item.Put(b[wire.PackHeadLen:])
	return append(b, data...)
}

// TestEndBehindVerdict has a file come with what others get while the sink still looks
// at the rest of the list: its source hears of the end behind the verdict.
func TestEndBehindVerdict(t *testing.T) {
	dir := t.TempDir()
	w := newWorld("", dir)
	w.opts.Shared, w.opts.Fsync = true, "none"
	free := make(chan struct{})
	open := w.target.Open
	w.target.Open = func(root string, create bool) (store.Dest, error) {
		d, err := open(root, create)
		return &slowDest{d, "last", free}, err
	}
	la, lb := MemoryLink()
	defer la.Close()
	s := NewSink(w.opts, Paths{Name: "far", Hasty: true}, lb, w.target, nil)
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	v := newVillain(t, la, nil)
	first, last := file("first", 4), file("last", 4)
	v.list(rootDir(), first, last)
	soon(t, "wanted", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.keys[wire.KeyOf(&first)] != nil
	})
	var heard []wire.Kind
	hear := func(until func(k wire.Kind, body []byte) bool) {
		t.Helper()
		for {
			msg, err := la.Recv()
			if err != nil {
				t.Fatalf("after %v: %v", heard, err)
			}
			k, body, err := wire.Split(msg)
			if err != nil {
				t.Fatal(err)
			}
			if heard = append(heard, k); k == wire.KindFail || until(k, body) {
				return
			}
		}
	}
	for n := range uint64(2) { // what is told with the first is told before the second
		v.frame(sharedPack(first, "once"))
		hear(func(k wire.Kind, body []byte) bool {
			m, err := wire.ParseStored(body)
			return k == wire.KindStored && err == nil && m[0].Frames == n+1
		})
	}
	close(free)
	hear(func(k wire.Kind, _ []byte) bool { return k == wire.KindVerdicts })
	v.frame(sharedPack(last, "more"))
	v.end()
	hear(func(k wire.Kind, _ []byte) bool { return k == wire.KindFinished })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if end := slices.Index(heard, wire.KindDone); end < slices.Index(heard, wire.KindVerdicts) {
		t.Errorf("the end of a file came before the verdict on it: %v", heard)
	}
	for name, want := range map[string]string{"first": "once", "last": "more"} {
		if got, err := os.ReadFile(dir + "/" + name); string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
}
