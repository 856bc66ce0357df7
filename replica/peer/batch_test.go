package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// listed gives all files of a pair's first root.
func (p *pair) listed() (l []wire.BatchFile) {
	p.t.Helper()
	if err := p.client.List(p.t.Context(), 0, func(e wire.Entry) error {
		if e.Kind == 1 {
			l = append(l, wire.BatchFile{Name: e.Name, Size: e.Size, ModTime: e.ModTime, Ino: e.Ino})
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return l
}

func TestFetchBatch(t *testing.T) {
	for _, way := range []string{"inside", "streams"} {
		t.Run(way, func(t *testing.T) {
			p := newPair(t)
			var want []byte
			for i, n := range []int{1, 64 << 10, 500, 64 << 10, 4096, 64 << 10, 3} {
				data := content(n + i)[i:]
				p.put(fmt.Sprintf("d/%d", i), data)
				want = append(want, data...)
			}
			files := p.listed()
			slices.SortFunc(files, func(a, b wire.BatchFile) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
			if way == "inside" {
				p.client.AddInside()
			} else if err := p.client.Dial(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			m := wire.Batch{Files: files}
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					got := make([]byte, len(want))
					var mu sync.Mutex
					came := 0
					said, err := p.client.FetchBatch(t.Context(), m, got, func(n int) {
						mu.Lock()
						defer mu.Unlock()
						came += n
					})
					if err != nil || len(said) != len(files) || !bytes.Equal(got, want) || came != len(want) {
						t.Errorf("%d files, %d bytes, %v", len(said), came, err)
					}
					for i, at := 0, 0; i < len(said); i++ {
						if n := int(files[i].Size); said[i].Err != nil || said[i].Sum != integrity.Whole(want[at:at+n]) {
							t.Errorf("file %d: %v", i, said[i])
						}
						at += int(files[i].Size)
					}
					m := m
					m.SumOnly = true
					sums, err := p.client.FetchBatch(t.Context(), m, nil, nil)
					if err != nil || !slices.Equal(sums, said) {
						t.Errorf("%d sums, %v", len(sums), err)
					}
				})
			}
			wg.Wait()

			// Of those that are gone or have changed the reason is told, of the rest the bytes.
			if err := os.Remove(filepath.Join(p.dir, "d/1")); err != nil {
				t.Fatal(err)
			}
			p.put("d/3", []byte("changed"))
			files[5].Name = "../d/5"
			got := make([]byte, len(want))
			said, err := p.client.FetchBatch(t.Context(), m, got, func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			for i, at := 0, 0; i < len(said); i++ {
				n := int(files[i].Size)
				var r *peer.Refused
				bad := i == 1 || i == 3 || i == 5
				if errors.As(said[i].Err, &r) != bad || !bad && !bytes.Equal(got[at:at+n], want[at:at+n]) {
					t.Errorf("file %d: %v", i, said[i].Err)
				}
				if r != nil && (r.Class == wire.ClassChanged) != (i == 3) {
					t.Errorf("file %d: class %d, %v", i, r.Class, r)
				}
				at += n
			}
		})
	}
}

func TestFetchBatchEnds(t *testing.T) {
	p := newPair(t)
	p.put("f", content(1000))
	files := p.listed()
	if err := p.client.Dial(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	p.streams(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // some of them are asked for, and taken back; some may come all the same
		if _, err := p.client.FetchBatch(ctx, wire.Batch{Files: files}, make([]byte, 1000), func(int) {}); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("nobody waits: %v", err)
		}
	}
	for name, m := range map[string]wire.Batch{
		"no files": {}, "an empty file": {Files: []wire.BatchFile{{Name: "f"}}}, "a long file": {Files: []wire.BatchFile{{Name: "f", Size: wire.MaxBatchFile + 1}}},
		"too many bytes": {Files: slices.Repeat([]wire.BatchFile{{Name: "f", Size: wire.MaxBatchFile}}, wire.MaxBatchBytes/wire.MaxBatchFile+1)},
		"other room":     {Files: []wire.BatchFile{{Name: "f", Size: 5}}},
	} {
		if _, err := p.client.FetchBatch(t.Context(), m, make([]byte, 3), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	data := make([]byte, 1000)
	if _, err := p.client.FetchBatch(t.Context(), wire.Batch{Files: files}, data, func(int) {}); err != nil || !bytes.Equal(data, content(1000)) {
		t.Errorf("after all that: %v", err)
	}
}

// TestBatchLies: a server that answers something else than what was asked for is not
// asked again.
func TestBatchLies(t *testing.T) {
	given := func(id uint32, first int, last bool, lengths ...int) []byte {
		b := make([]byte, wire.GivenHead)
		wire.PutGivenHead(b, id, first, last)
		for _, n := range lengths {
			at := len(b)
			b = append(b, make([]byte, wire.GivenFileHead+n)...)
			wire.PutGivenFile(b[at:], [32]byte{}, n)
		}
		return b
	}
	for name, frames := range map[string]func(id uint32) [][]byte{
		"another request":  func(id uint32) [][]byte { return [][]byte{given(id+1, 0, true, 3, 5)} },
		"a piece":          func(id uint32) [][]byte { return [][]byte{piece(wire.Piece{ID: id, Data: make([]byte, 3)})} },
		"another file":     func(id uint32) [][]byte { return [][]byte{given(id, 1, true, 5)} },
		"an early end":     func(id uint32) [][]byte { return [][]byte{given(id, 0, true, 3)} },
		"no end":           func(id uint32) [][]byte { return [][]byte{given(id, 0, false, 3, 5)} },
		"nothing":          func(id uint32) [][]byte { return [][]byte{given(id, 0, false)} },
		"too many":         func(id uint32) [][]byte { return [][]byte{given(id, 0, true, 3, 5, 3)} },
		"too short":        func(id uint32) [][]byte { return [][]byte{given(id, 0, true, 3, 4)} },
		"too long":         func(id uint32) [][]byte { return [][]byte{given(id, 0, false, 3), given(id, 1, true, 6)} },
		"a file once more": func(id uint32) [][]byte { return [][]byte{given(id, 0, false, 3), given(id, 0, true, 3, 5)} },
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := newLiar(t)
			var wg sync.WaitGroup
			wg.Go(func() {
				req := transports.NewFrame(wire.MaxServeRequest)
				if err := l.far.Recv(req); err != nil {
					t.Error(err)
					return
				}
				m, err := wire.ParseBatch(req.Body())
				if err != nil {
					t.Error(err)
					return
				}
				for _, b := range frames(m.ID) {
					l.say(b)
				}
			})
			m := wire.Batch{Files: []wire.BatchFile{{Name: "a", Size: 3}, {Name: "b", Size: 5}}}
			if _, err := l.client.FetchBatch(t.Context(), m, make([]byte, 8), func(int) {}); !errors.Is(err, peer.ErrBreach) {
				t.Errorf("%v", err)
			}
			wg.Wait()
		})
	}
}
