package engine

import (
	"fmt"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// takeGroup hands a message about data for several destinations to who knows what it
// says.
func (p *Paths) takeGroup(body []byte) error {
	if p.Group == nil {
		return fmt.Errorf("%w: a group that nobody asked for", wire.ErrMalformed)
	}
	return p.Group(body)
}

// Take takes a stream into use that was made beside the endpoint, such as one that
// several sinks get at once. It is closed with the others. Any goroutine may call it
// while the sink runs.
func (s *Sink) Take(st transports.Stream) {
	s.startStream(&recvStream{id: st.ID(), st: st, beside: true})
}

// sharedFrame deals with a frame that other sinks get, too: what is not lacking here
// is dropped.
func (s *Sink) sharedFrame(r *recvStream, b []byte) error {
	if b[0] == wire.FrameSharedPack {
		return lost2(wire.ParseSharedPack(b, func(p wire.SharedItem, data []byte) error {
			id, ok := s.keyed(p.Key)
			if !ok {
				return nil
			}
			return s.item(r, &wire.PackItem{File: id, Len: p.Len, Sum: p.Sum}, data)
		}))
	}
	h, data, err := wire.ParseSharedBlock(b)
	if err != nil {
		return lost(err)
	}
	id, ok := s.keyed(h.Key)
	if !ok {
		return nil
	}
	return s.block(r, &wire.BlockHead{File: id, Block: h.Block, Len: h.Len, Sum: h.Sum}, data)
}

// keyed gives the number of a file that is lacking here.
func (s *Sink) keyed(k wire.Key) (id uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.keys[k]
	if f == nil {
		return 0, false
	}
	return f.id, true
}

// vouched takes the source's word that files did not change while they were read.
func (s *Sink) vouched(body []byte) error {
	ids, err := wire.ParseVouched(body)
	if err != nil {
		return err
	}
	for _, id := range ids {
		f, err := s.wanted(id)
		if err != nil {
			return err
		}
		if f == nil || f.small {
			continue // ended meanwhile, or whole by itself
		}
		f.mu.Lock()
		f.unchanged = true
		ready := f.readyLocked()
		f.mu.Unlock()
		if ready {
			s.complete(f)
		}
	}
	return nil
}
