package engine

import "github.com/gomover/gomover/wire"

// What a cast does to the sched of each of its members.

// joinCast has the queue go with those of others, on stream id.
func (s *sched) joinCast(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cast = id
	s.flights[id] = &lane{shared: true}
	s.cond.Broadcast()
}

// endCast lets every stream take from the queue again. What is under way with the
// others is still confirmed.
func (s *sched) endCast(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cast != id {
		return
	}
	s.cast = 0
	s.queue = append(s.alone, s.queue...)
	s.alone = nil
	s.cond.Broadcast()
}

// resumeCast takes endCast back, unless leaveCast has followed.
func (s *sched) resumeCast(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cast == 0 && s.flights[id] != nil {
		s.cast = id
	}
}

// leaveCast is endCast, and takes back what is under way.
func (s *sched) leaveCast(id uint32) {
	s.endCast(id)
	s.lost(id)
}

// inCastLocked tells whether the queue goes with those of others.
func (s *sched) inCastLocked(id uint32) bool { return s.cast == id && s.closed == nil }

func (s *sched) inCast(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inCastLocked(id)
}

// castHead gives the file at the head of the queue; nil when there is none, or what
// only this source wants is waiting already. live tells that the queue goes with
// others.
func (s *sched) castHead(id uint32) (f *srcFile, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inCastLocked(id) {
		return nil, false
	}
	if s.aloneFullLocked() {
		return nil, true
	}
	return s.headLocked(&s.queue), true
}

// aloneFull tells that enough waits that only this source wants.
func (s *sched) aloneFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aloneFullLocked()
}

func (s *sched) aloneFullLocked() bool {
	return len(s.retry) >= aloneBlocks || len(s.alone) >= aloneFiles
}

// firstOf gives the first block of a file that is to be handed out.
func (s *sched) firstOf(f *srcFile) (block int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.gone || f.todo.left == 0 {
		return 0, false
	}
	return f.todo.first(), true
}

// knows tells whether there is a verdict on a file, and blocks of it to hand out.
func (s *sched) knows(id uint32, k wire.Key) (known, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keyed[k] != nil, s.inCastLocked(id)
}

// lacks tells whether a block is to be handed out.
func (s *sched) lacks(id uint32, k wire.Key, block int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.keyed[k]
	return s.inCastLocked(id) && f != nil && !f.gone && f.todo.has(block)
}

// leaveAlone hands a block, or a small file at the head of the queue, to the source's
// own streams.
func (s *sched) leaveAlone(id uint32, f *srcFile, block int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inCastLocked(id) || f.gone || !f.todo.has(block) {
		return
	}
	if f.entry.Size <= smallFile {
		if s.headLocked(&s.queue) == f {
			s.queue = s.queue[1:]
			s.alone = append(s.alone, f)
			s.unkeyLocked(f)
		}
	} else {
		s.retry = append(s.retry, s.takeLocked(f, block))
	}
	s.cond.Broadcast()
}

// takeLocked takes a block out of what is to be handed out. It counts as wanted still.
func (s *sched) takeLocked(f *srcFile, block int64) slice {
	sl := slice{file: f, block: block, bytes: s.span(f, [2]int64{block, block + 1})}
	f.todo.remove(block)
	f.todoBytes -= sl.bytes
	if f.todo.left == 0 {
		s.unkeyLocked(f)
	}
	f.waiting++
	return sl
}

// claim notes one more frame of a cast, and the block that is in it as under way there
// if it is to be handed out.
func (s *sched) claim(id uint32, k wire.Key, block int64) (x claim, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	if l == nil {
		return x, false
	}
	f := s.keyed[k]
	if !s.inCastLocked(id) || f == nil || f.gone || !f.todo.has(block) {
		l.pass()
		return x, false
	}
	sl := s.takeLocked(f, block)
	s.wanted -= sl.bytes
	s.underway(l, sl.bytes)
	l.flights = append(l.flights, flight{slice: sl, read: true})
	f.unread--
	f.whole = f.whole || f.unread == 0
	return claim{file: f, last: f.whole}, true
}

// claimPack is claim for a pack.
func (s *sched) claimPack(id uint32, keys []wire.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	if l == nil {
		return
	}
	var sl slice
	for _, k := range keys {
		f := s.keyed[k]
		if !s.inCastLocked(id) || f == nil || f.gone || f.todo.left == 0 {
			continue
		}
		f.todo, f.todoBytes = blockList{}, 0
		s.unkeyLocked(f)
		f.waiting++
		sl.bytes += f.entry.Size
		sl.pack = append(sl.pack, f)
	}
	if len(sl.pack) == 0 {
		l.pass()
		return
	}
	s.wanted -= sl.bytes
	s.underway(l, sl.bytes)
	l.flights = append(l.flights, flight{slice: sl})
}

// pass counts a frame that brings nothing to this source's sink, which confirms it
// all the same.
func (l *lane) pass() { l.flights = append(l.flights, flight{done: true}) }

// smallOnes gives the small files at the head of the queue, n at most.
func (s *sched) smallOnes(id uint32, n int) (l []*srcFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inCastLocked(id) || s.headLocked(&s.queue) == nil {
		return nil
	}
	for _, f := range s.queue {
		if f.entry.Size > smallFile || len(l) == n {
			break
		}
		if !f.gone && f.todo.left > 0 {
			l = append(l, f)
		}
	}
	return l
}

// castAt is how far the sink is with a cast's frames.
func (s *sched) castAt(id uint32) (n, of uint64, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.flights[id]
	if l == nil || s.closed != nil {
		return 0, 0, false
	}
	return l.base, l.base + uint64(len(l.flights)), true
}
