package netsim

// ring is a queue that keeps its memory.
type ring[T any] struct {
	items       []T // its length is a power of two
	first, next uint
}

func (r *ring[T]) len() int { return int(r.next - r.first) }

func (r *ring[T]) push(v T) {
	if r.next-r.first == uint(len(r.items)) {
		items := make([]T, max(16, 2*len(r.items)))
		n := uint(0)
		for i := r.first; i != r.next; i++ {
			items[n] = r.items[i&uint(len(r.items)-1)]
			n++
		}
		r.items, r.first, r.next = items, 0, n
	}
	r.items[r.next&uint(len(r.items)-1)] = v
	r.next++
}

// front gives the oldest; the ring must not be empty.
func (r *ring[T]) front() T { return r.items[r.first&uint(len(r.items)-1)] }

func (r *ring[T]) pop() T {
	v := r.front()
	r.first++
	return v
}
