package engine

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gomover/gomover/wire"
)

// TestListedAgainCountsOnce: a file changed at the source, and was complete here
// when that was found out. It comes again, and is one file all the same.
func TestListedAgainCountsOnce(t *testing.T) {
	const old, now = "the old content", "new"
	for title, ended := range map[string]bool{"while it is committed": false, "when it has its name": true} {
		for kind, refused := range map[string]bool{"": false, ", refused": true} {
			t.Run(title+kind, func(t *testing.T) {
				dst := newMemFS()
				syncing, heard := make(chan struct{}), make(chan struct{})
				var once sync.Once
				var commits atomic.Int64
				dst.fault = func(op, name string) error {
					switch op {
					case "sync":
						once.Do(func() {
							close(syncing)
							if !ended {
								<-heard
							}
						})
					case "commit":
						if commits.Add(1) == 1 && refused {
							return fs2("denied")
						}
					}
					return nil
				}
				la, lb := MemoryLink()
				v := newVillain(t, la, nil)
				s := NewSink(Options{JobID: "x"}, Paths{Name: "far", Hasty: true}, lb, memTarget(dst), nil)
				done := make(chan error, 1)
				go func() { done <- s.Run(t.Context()) }()
				go v.listen()

				v.list(rootDir(), file("f", int64(len(old))))
				v.await(wire.KindVerdicts)
				v.frame(pack(map[uint64]string{1: old}))
				<-syncing
				if ended {
					v.await(wire.KindDone)
				}
				v.say(wire.Gone{ID: 1, Class: wire.ClassChanged, Retry: true}.Append(nil), []byte{byte(wire.KindPing), 1})
				v.await(wire.KindPong) // what was said before it has been dealt with
				close(heard)
				v.await(wire.KindDone)

				again := file("f", int64(len(now)))
				again.Attempt, again.ModTime = 1, 2
				v.mu.Lock()
				delete(v.last, wire.KindVerdicts)
				v.mu.Unlock()
				v.list(again)
				v.await(wire.KindVerdicts)
				v.frame(pack(map[uint64]string{2: now}))
				v.end()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				la.Close()
				c := s.Totals()
				if c.Files != 1 || c.DoneFiles != 1 || c.OK != 1 || c.Failed != 0 || c.Bytes != int64(len(now)) || c.DoneBytes != c.Bytes {
					t.Errorf("totals %+v", c)
				}
				if got, _ := dst.get("f"); got != now {
					t.Errorf("f holds %q", got)
				}
			})
		}
	}
}
