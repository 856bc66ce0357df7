package mover

import (
	"context"
	"sync"
)

// disk is where replicas on this machine are read from. It may be on another machine, and
// not answer any more: what was asked of it then hangs, but nobody waits for that. Any
// goroutine may use it. The zero value is ready.
type disk struct {
	once  sync.Once
	slots chan struct{} // has an element for each question under way
	rooms sync.Pool     // of *[]byte that are read into
}

// mostAtDisk bounds what is asked of a disk at once, and so what hangs when it does not
// answer: each question holds a thread, and a block of memory. Ours.
const mostAtDisk = 64

func (d *disk) init() { d.once.Do(func() { d.slots = make(chan struct{}, mostAtDisk) }) }

// room gives n bytes to read into. Who is sure that nobody reads into them any more calls
// free.
func (d *disk) room(n int) (room []byte, free func()) {
	p, _ := d.rooms.Get().(*[]byte)
	if p == nil || cap(*p) < n {
		b := make([]byte, n)
		p = &b
	}
	return (*p)[:n], func() { d.rooms.Put(p) }
}

// ask does what may hang and waits for that, or for the end of ctx. What comes later than
// that is given to drop, unless it is nil.
func ask[T any](ctx context.Context, d *disk, do func() (T, error), drop func(T)) (v T, err error) {
	d.init()
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return v, context.Cause(ctx)
	}
	type answer struct {
		v   T
		err error
	}
	got := make(chan answer)
	go func() {
		v, err := do()
		<-d.slots
		select {
		case got <- answer{v, err}:
		case <-ctx.Done():
			if err == nil && drop != nil {
				drop(v)
			}
		}
	}()
	select {
	case a := <-got:
		return a.v, a.err
	case <-ctx.Done():
		return v, context.Cause(ctx)
	}
}

// whenIdle calls fn when nothing is under way any more: at once, or once all that hangs
// has ended. Nothing may be asked from now on.
func (d *disk) whenIdle(fn func()) {
	d.init()
	for n := range mostAtDisk {
		select {
		case d.slots <- struct{}{}:
			continue
		default:
		}
		go func() {
			for range mostAtDisk - n {
				d.slots <- struct{}{}
			}
			fn()
		}()
		return
	}
	fn()
}
