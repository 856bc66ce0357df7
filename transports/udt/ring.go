package udt

// slabBytes is the size of a slab. It is what one call can send with
// UDP_SEGMENT, which takes at most 64 datagrams.
const (
	slabBytes   = 65507
	slabPackets = 64
	spareSlabs  = 64 // kept for the next packets
)

// slab is packets side by side in memory, with what is known of each.
type slab[M any] struct {
	b      []byte // nil while no packet lies in it
	stride int
	large  [][]byte // packets longer than stride, by their place; nil while there are none
	meta   []M
}

// at gives the memory of a packet that is there.
func (s *slab[M]) at(i int) []byte {
	if s.large != nil && s.large[i] != nil {
		return s.large[i]
	}
	return s.b[i*s.stride : (i+1)*s.stride : (i+1)*s.stride]
}

// alone tells that a packet does not lie beside its neighbours.
func (s *slab[M]) alone(i int) bool { return s.large != nil && s.large[i] != nil }

// ring is a queue of packets by position. Each has cut bytes, side by side with
// its neighbours within a slab; longer ones have memory of their own. Memory is
// taken when a packet is put in, slab by slab.
type ring[M any] struct {
	stride, per int
	cut         int   // stride of new slabs, at most that of the ring
	first       int64 // number of slabs[0], that of position 0 is 0
	slabs       []*slab[M]
	spare       []*slab[M]
	spareLarge  [][]byte
}

func newRing[M any](stride int) ring[M] {
	return ring[M]{stride: stride, cut: stride, per: min(slabPackets, max(1, slabBytes/stride))}
}

// place finds a packet, which need not be there: the slab may be nil.
func (r *ring[M]) place(pos int64) (s *slab[M], i int) {
	n := pos / int64(r.per)
	if k := n - r.first; k >= 0 && k < int64(len(r.slabs)) {
		s = r.slabs[k]
	}
	return s, int(pos - n*int64(r.per))
}

// get gives what is known of a packet, or nil if none of its slab is there.
func (r *ring[M]) get(pos int64) *M {
	s, i := r.place(pos)
	if s == nil {
		return nil
	}
	return &s.meta[i]
}

// bytes gives the memory of a packet that is there.
func (r *ring[M]) bytes(pos int64) []byte {
	s, i := r.place(pos)
	return s.at(i)
}

// put makes room for a packet of up to n bytes, not before those released.
func (r *ring[M]) put(pos int64, n int) (*M, []byte) {
	k := int(pos/int64(r.per) - r.first)
	for k >= len(r.slabs) {
		r.slabs = append(r.slabs, nil)
	}
	if r.slabs[k] == nil {
		if n := len(r.spare); n > 0 {
			r.slabs[k], r.spare = r.spare[n-1], r.spare[:n-1]
		} else {
			r.slabs[k] = &slab[M]{meta: make([]M, r.per)}
		}
		r.slabs[k].stride = r.cut
	}
	s, i := r.slabs[k], int(pos%int64(r.per))
	switch {
	case n > s.stride:
		if s.large == nil {
			s.large = make([][]byte, r.per)
		}
		s.large[i] = r.takeLarge(n)
	case s.b == nil:
		s.b = make([]byte, r.per*r.stride)
	}
	return &s.meta[i], s.at(i)
}

// takeLarge gives memory for a long packet. Most of them have the same length.
func (r *ring[M]) takeLarge(n int) []byte {
	if k := len(r.spareLarge); k > 0 {
		b := r.spareLarge[k-1]
		r.spareLarge = r.spareLarge[:k-1]
		if cap(b) >= n {
			return b[:n]
		}
	}
	return make([]byte, n)
}

// rest gives back the memory that no packet is in.
func (r *ring[M]) rest() { r.spare, r.spareLarge = nil, nil }

// release forgets all packets before pos.
func (r *ring[M]) release(pos int64) {
	for n := pos / int64(r.per); r.first < n; r.first++ {
		if len(r.slabs) == 0 {
			r.first = n
			return
		}
		if s := r.slabs[0]; s != nil {
			r.keep(s)
		}
		r.slabs[0] = nil
		r.slabs = r.slabs[1:]
	}
}

// keep keeps the memory of a slab that is not needed any more, if there is little.
func (r *ring[M]) keep(s *slab[M]) {
	for i, b := range s.large {
		if b != nil && len(r.spareLarge)*len(b) < spareSlabs*slabBytes {
			r.spareLarge = append(r.spareLarge, b)
		}
		s.large[i] = nil
	}
	if len(r.spare) < spareSlabs {
		clear(s.meta)
		r.spare = append(r.spare, s)
	}
}
