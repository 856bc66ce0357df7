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
	b    []byte
	meta []M
}

// ring is a queue of packets by position. Each has stride bytes, side by side
// with its neighbours within a slab. Memory is taken when a packet is put in,
// slab by slab.
type ring[M any] struct {
	stride, per int
	first       int64 // number of slabs[0], that of position 0 is 0
	slabs       []*slab[M]
	spare       []*slab[M]
}

func newRing[M any](stride int) ring[M] {
	return ring[M]{stride: stride, per: min(slabPackets, max(1, slabBytes/stride))}
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
	return s.b[i*r.stride : (i+1)*r.stride : (i+1)*r.stride]
}

// put makes room for a packet, not before those released.
func (r *ring[M]) put(pos int64) (*M, []byte) {
	k := int(pos/int64(r.per) - r.first)
	for k >= len(r.slabs) {
		r.slabs = append(r.slabs, nil)
	}
	if r.slabs[k] == nil {
		if n := len(r.spare); n > 0 {
			r.slabs[k], r.spare = r.spare[n-1], r.spare[:n-1]
		} else {
			r.slabs[k] = &slab[M]{make([]byte, r.per*r.stride), make([]M, r.per)}
		}
	}
	s, i := r.slabs[k], int(pos%int64(r.per))
	return &s.meta[i], s.b[i*r.stride : (i+1)*r.stride : (i+1)*r.stride]
}

// rest gives back the memory that no packet is in.
func (r *ring[M]) rest() { r.spare = nil }

// release forgets all packets before pos.
func (r *ring[M]) release(pos int64) {
	for n := pos / int64(r.per); r.first < n; r.first++ {
		if len(r.slabs) == 0 {
			r.first = n
			return
		}
		if s := r.slabs[0]; s != nil && len(r.spare) < spareSlabs {
			clear(s.meta)
			r.spare = append(r.spare, s)
		}
		r.slabs[0] = nil
		r.slabs = r.slabs[1:]
	}
}
