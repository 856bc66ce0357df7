package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// part is a block of a file, or a whole small file (block 0).
type part struct {
	f     *srcFile
	block int64
}

// flying is a slice on a stream in the model.
type flying struct {
	parts []part
	vouch bool // its frame says that the file did not change
}

// schedModel does to a sched what streams and a sink do, and keeps book of where
// each part is.
type schedModel struct {
	t       *testing.T
	r       *rand.Rand
	s       *sched
	files   []*srcFile
	pending map[part]bool
	lanes   map[uint32][]*flying
	counts  map[uint32]uint64
	landed  map[part]bool
	vouched map[*srcFile]bool
	nextID  uint32
	closed  map[*srcFile]int
	log     []string
}

// handle counts how often a file is closed.
type handle struct {
	store.ReadFile
	m *schedModel
	f *srcFile
}

func (h *handle) Close() error { h.m.closed[h.f]++; return nil }

func (m *schedModel) note(format string, a ...any) { m.log = append(m.log, fmt.Sprintf(format, a...)) }

func (m *schedModel) fatalf(format string, a ...any) {
	m.t.Helper()
	for _, l := range m.log[max(0, len(m.log)-30):] {
		m.t.Log("# " + l)
	}
	m.t.Fatalf(format, a...)
}

func (m *schedModel) want() {
	sizes := []int64{0, 1, 1000, smallFile, smallFile + 1, 16 << 10, 100 << 10, 300_000, 1 << 20, 3<<20 + 5}
	f := &srcFile{id: uint64(len(m.files)), blockSize: 16 << 10 << m.r.IntN(5)}
	f.entry = wire.Entry{Name: fmt.Sprint(f.id), Kind: 1, Size: sizes[m.r.IntN(len(sizes))]}
	m.files = append(m.files, f)
	ext := [][2]int64{{0, f.blocks()}}
	if f.entry.Size <= smallFile {
		m.pending[part{f, 0}] = true
	} else {
		if m.r.IntN(2) == 0 { // some are there already
			ext = nil
			for b := int64(0); b < f.blocks(); b++ {
				if m.r.IntN(3) > 0 {
					ext = append(ext, [2]int64{b, b + 1})
				}
			}
			if len(ext) == 0 {
				ext = [][2]int64{{0, 1}}
			}
		}
		for _, e := range ext {
			for b := e[0]; b < e[1]; b++ {
				m.pending[part{f, b}] = true
			}
		}
	}
	m.note("want %d size %d block %d extents %v", f.id, f.entry.Size, f.blockSize, ext)
	m.s.want(f, ext)
}

// work tells whether next would return at once.
func (m *schedModel) work() bool {
	if m.s.unconf >= m.s.window && m.s.unconf != 0 {
		return false
	}
	return m.live()
}

// live tells whether anything is pending.
func (m *schedModel) live() bool {
	for p := range m.pending {
		if !p.f.gone {
			return true
		}
	}
	return false
}

func (m *schedModel) drop(p part) {
	if !m.pending[p] {
		m.fatalf("block %d of file %d was handed out, but is not pending", p.block, p.f.id)
	}
	delete(m.pending, p)
}

// draw lets stream id take a slice, fill it and send it, or fail to.
func (m *schedModel) draw(id uint32) {
	if !m.work() || m.lanes[id] == nil {
		return
	}
	sl, ok := m.s.next(id)
	if !ok {
		m.fatalf("next refused stream %d", id)
	}
	fl := &flying{}
	if sl.file != nil {
		f := sl.file
		p := part{f, sl.block}
		m.drop(p)
		if f.file == nil {
			f.file = &handle{m: m, f: f}
		}
		switch m.r.IntN(12) {
		case 0: // the stream dies while the block is read
			m.note("stream %d takes %d/%d and dies", id, f.id, sl.block)
			m.pending[p] = true
			m.lose(id)
			if m.s.release(id, f) {
				m.fatalf("a block read for a dead stream counts as the last")
			}
			return
		case 1: // the file can't be read
			m.note("stream %d cannot read %d/%d", id, f.id, sl.block)
			m.s.release(id, f)
			m.giveUp(f)
			m.s.unsent(id)
			return
		}
		fl.parts = []part{p}
		fl.vouch = m.s.release(id, f)
		m.note("stream %d sends %d/%d, last %t", id, f.id, sl.block, fl.vouch)
	} else {
		if len(sl.pack) == 0 {
			m.fatalf("an empty slice")
		}
		for _, f := range sl.pack {
			m.drop(part{f, 0})
			if m.r.IntN(15) == 0 {
				m.note("stream %d leaves %d out", id, f.id)
				m.s.leave(id, f)
				m.giveUp(f)
				continue
			}
			fl.parts = append(fl.parts, part{f, 0})
		}
		if len(fl.parts) == 0 {
			m.s.unsent(id)
			return
		}
		m.note("stream %d sends a pack of %d", id, len(fl.parts))
	}
	m.lanes[id] = append(m.lanes[id], fl)
}

func (m *schedModel) store(id uint32, n int) {
	l := m.lanes[id]
	n = min(n, len(l))
	m.note("stream %d stored %d", id, n)
	want := int64(0)
	for _, fl := range l[:n] {
		for _, p := range fl.parts {
			if p.f.gone {
				continue
			}
			if m.landed[p] {
				m.fatalf("block %d of %d confirmed twice", p.block, p.f.id)
			}
			m.landed[p] = true
			want += m.bytes(p)
			if fl.vouch {
				m.vouched[p.f] = true
			}
		}
	}
	m.lanes[id] = l[n:]
	m.counts[id] += uint64(n)
	if got, err := m.s.stored(id, m.counts[id]); err != nil || got != want {
		m.fatalf("stored %d bytes, %v; want %d", got, err, want)
	}
	if len(m.lanes[id]) == 0 {
		if _, err := m.s.stored(id, m.counts[id]+1); err == nil {
			m.fatalf("more confirmed than sent")
		}
	}
}

func (m *schedModel) bytes(p part) int64 {
	if p.f.entry.Size <= smallFile {
		return p.f.entry.Size
	}
	return min(p.f.blockSize, p.f.entry.Size-p.block*p.f.blockSize)
}

func (m *schedModel) miss(id uint32) {
	l := m.lanes[id]
	if len(l) == 0 {
		return
	}
	fl := l[m.r.IntN(len(l))]
	if len(fl.parts) == 0 {
		return
	}
	k := m.r.IntN(len(fl.parts))
	p := fl.parts[k]
	m.note("stream %d missed %d/%d", id, p.f.id, p.block)
	f, ok := m.s.missed(id, p.f.id, p.block)
	if f != p.f {
		m.fatalf("missed found %v", f)
	}
	fl.parts = append(fl.parts[:k:k], fl.parts[k+1:]...)
	m.pending[p] = true
	if !ok {
		m.giveUp(f)
	}
}

func (m *schedModel) lose(id uint32) {
	m.note("stream %d lost", id)
	m.s.lost(id)
	for _, fl := range m.lanes[id] {
		for _, p := range fl.parts {
			m.pending[p] = true
		}
	}
	delete(m.lanes, id)
}

func (m *schedModel) giveUp(f *srcFile) {
	m.note("give up %d", f.id)
	m.s.giveUp(f)
}

func (m *schedModel) open() {
	id := m.nextID
	m.nextID++
	m.lanes[id] = []*flying{}
	m.s.addStream(id)
}

// check compares the counters with what they count.
func (m *schedModel) check() {
	s := m.s
	unconf, wanted := int64(0), int64(0)
	for _, l := range s.flights {
		for i := range l.flights {
			unconf += l.flights[i].bytes
		}
	}
	for _, sl := range s.retry {
		wanted += sl.bytes
	}
	for _, f := range s.queue {
		left := f.todo
		left.extents, left.set = slices.Clone(left.extents), slices.Clone(left.set)
		if left.left > 0 && f.entry.Size <= smallFile {
			wanted += f.entry.Size
			continue
		}
		for left.left > 0 {
			b := left.take()
			wanted += s.span(f, [2]int64{b, b + 1})
		}
	}
	if unconf != s.unconf || wanted != s.wanted {
		m.fatalf("counters: %d under way, %d wanted; real: %d and %d", s.unconf, s.wanted, unconf, wanted)
	}
	live, flying := int64(0), int64(0)
	for p := range m.pending {
		if !p.f.gone {
			live += m.bytes(p)
		}
	}
	for _, l := range m.lanes {
		for _, fl := range l {
			for _, p := range fl.parts {
				flying += m.bytes(p)
				if m.pending[p] {
					m.fatalf("block %d of %d is pending and under way", p.block, p.f.id)
				}
			}
		}
	}
	if live > wanted || flying > unconf {
		m.fatalf("%d bytes pending of %d wanted, %d flying of %d", live, wanted, flying, unconf)
	}
}

func (m *schedModel) anyLane() uint32 {
	ids := make([]uint32, 0, len(m.lanes))
	for id := uint32(0); id < m.nextID; id++ {
		if m.lanes[id] != nil {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		m.open()
		return m.nextID - 1
	}
	return ids[m.r.IntN(len(ids))]
}

func (m *schedModel) step() {
	switch n := m.r.IntN(100); {
	case n < 12:
		m.want()
	case n < 60:
		m.draw(m.anyLane())
	case n < 80:
		m.store(m.anyLane(), m.r.IntN(4))
	case n < 88:
		m.miss(m.anyLane())
	case n < 92:
		m.lose(m.anyLane())
	case n < 97:
		m.open()
	case n < 98 && len(m.files) > 0:
		m.giveUp(m.files[m.r.IntN(len(m.files))])
	}
}

// TestSchedLosesNothing does random things to a sched and compares it with a
// model after each; in the end everything wanted is confirmed, and each file was
// vouched for in a frame that arrived.
func TestSchedLosesNothing(t *testing.T) {
	runs := 150
	if testing.Short() {
		runs = 40
	}
	for seed := range runs {
		m := &schedModel{t: t, r: rand.New(rand.NewPCG(uint64(seed), 1)), pending: make(map[part]bool), lanes: make(map[uint32][]*flying),
			counts: make(map[uint32]uint64), landed: make(map[part]bool), vouched: make(map[*srcFile]bool), closed: make(map[*srcFile]int), nextID: 1}
		m.s = newSched(DefaultBlock, 2<<20)
		m.note("seed %d", seed)
		for range 300 {
			m.step()
			m.check()
		}
		id := m.anyLane()
		for n := 0; m.live() || len(m.lanes[id]) > 0; n++ {
			if n > 100_000 {
				m.fatalf("seed %d: no end", seed)
			}
			for other := range m.lanes {
				m.store(other, 1<<20)
			}
			if m.lanes[id] == nil {
				id = m.anyLane()
			}
			m.draw(id)
			if m.lanes[id] == nil {
				id = m.anyLane()
			}
			m.check()
		}
		for id := range m.lanes {
			m.store(id, 1<<20)
		}
		if m.s.unconf != 0 {
			m.fatalf("seed %d: %d bytes under way at the end", seed, m.s.unconf)
		}
		m.s.mu.Lock()
		m.s.drawLocked() // drops what was given up
		m.s.mu.Unlock()
		if m.s.wanted != 0 {
			m.fatalf("seed %d: %d bytes wanted at the end", seed, m.s.wanted)
		}
		for _, f := range m.files {
			if f.file != nil {
				m.fatalf("seed %d: file %d is still open; waiting %d, readers %d", seed, f.id, f.waiting, f.readers)
			}
			if !f.gone && f.entry.Size > smallFile && !m.vouched[f] {
				m.fatalf("seed %d: nobody vouched for file %d; unread %d", seed, f.id, f.unread)
			}
		}
	}
}

// TestSchedLostInOrder has a stream die with several packs of small files: they are sent
// again in the order of the list, before what follows.
func TestSchedLostInOrder(t *testing.T) {
	s := newSched(DefaultBlock, baseWindow)
	s.addStream(1)
	const files = 20
	for i := range uint64(files) {
		f := &srcFile{id: i, blockSize: DefaultBlock, entry: wire.Entry{Kind: 1, Size: smallFile}}
		s.want(f, [][2]int64{{0, 1}})
		if i == files/2 {
			for range 3 {
				if sl, ok := s.next(1); !ok || len(sl.pack) < 2 {
					t.Fatalf("pack %+v, %t", sl, ok)
				}
			}
		}
	}
	s.lost(1)
	s.addStream(2)
	var got []uint64
	for len(got) < files {
		sl, ok := s.next(2)
		if !ok {
			t.Fatal("nothing more is to be sent")
		}
		for _, f := range sl.pack {
			got = append(got, f.id)
		}
	}
	if !slices.IsSorted(got) {
		t.Errorf("sent in the order %v", got)
	}
	if wanted, _ := s.load(); wanted != 0 {
		t.Errorf("%d bytes are wanted still", wanted)
	}
}
