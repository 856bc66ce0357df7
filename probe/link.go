package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/gomover/gomover/probe/host"
)

// Link carries whole messages between the two ends, in order, to nobody else. Any
// number of goroutines may send, one receives.
type Link interface {
	// Send sends one message made of parts.
	Send(parts ...[]byte) error
	// Recv returns the next message, which is the receiver's.
	Recv() ([]byte, error)
	// Close ends the link; both calls above return then, at both ends.
	Close() error
}

// Version of what both ends say to each other; they must have the same.
const Version = 2

// maxMessage bounds a message, in bytes: a list of arrivals is the longest.
const maxMessage = 1 << 20

// request asks the answering end for one thing. The reply has the same ID.
type request struct {
	ID      uint32   `json:"id"`
	Hello   *hello   `json:"hello,omitempty"`
	Facts   bool     `json:"facts,omitempty"`
	Reach   *reach   `json:"reach,omitempty"`
	Collect *collect `json:"collect,omitempty"`
	Train   *train   `json:"train,omitempty"`
	Join    *join    `json:"join,omitempty"`
	Heard   *heard   `json:"heard,omitempty"`
}

// hello is the first request.
type hello struct {
	Version int       `json:"version"`
	Secret  []byte    `json:"secret"`
	Ports   [2]uint16 `json:"ports"`
	IPv4    bool      `json:"ipv4,omitempty"`
	IPv6    bool      `json:"ipv6,omitempty"`
	Bytes   int64     `json:"bytes"` // most that the answering end may send
	Dir     string    `json:"dir"`   // whose disk is meant
}

// reach asks the answering end to try the asking end's ports.
type reach struct {
	Addrs []string `json:"addrs"` // after the address where the link comes from
	UDP   uint16   `json:"udp"`
	TCP   uint16   `json:"tcp"`
}

// collect asks for what came of a train that was sent.
type collect struct {
	Train   uint16 `json:"train"`
	Packets int    `json:"packets"`
	QuietMs int64  `json:"quiet_ms"` // the train has ended when nothing came for so long
}

// train asks for a train.
type train struct {
	Train   uint16 `json:"train"`
	Token   uint64 `json:"token"` // of the address that it goes to
	Packets int    `json:"packets"`
	Len     int    `json:"len"`  // bytes of a datagram
	Pace    int64  `json:"pace"` // of datagrams, bytes per second; 0: none
}

// join asks the answering end to join a multicast group. One probe joins one.
type join struct {
	Group string `json:"group"`
}

// heard asks how many datagrams to the group have come.
type heard struct {
	Want   int   `json:"want"`    // no more are waited for
	WaitMs int64 `json:"wait_ms"` // at most, for the last ones
}

// reply answers a request.
type reply struct {
	ID       uint32      `json:"id"`
	Error    string      `json:"error,omitempty"`
	Ready    *ready      `json:"ready,omitempty"`
	Facts    *host.Facts `json:"facts,omitempty"`
	Reached  *reached    `json:"reached,omitempty"`
	Arrivals []byte      `json:"arrivals,omitempty"`
	TookNs   int64       `json:"took_ns,omitempty"` // of a train, from its first to its last packet
	SentN    int         `json:"sent,omitempty"`    // packets of it
	Joined   uint16      `json:"joined,omitempty"`  // port at which the group is listened to
	Heard    int         `json:"heard,omitempty"`   // different datagrams
}

// ready answers hello.
type ready struct {
	Addrs []string `json:"addrs"`
	UDP   uint16   `json:"udp"`
	TCP   uint16   `json:"tcp"` // 0: could not listen
}

// reached answers reach.
type reached struct {
	TCP   string `json:"tcp,omitempty"`   // the address that was reached
	Error string `json:"error,omitempty"` // why not
	Knock int    `json:"knock"`           // datagrams that were sent to the UDP port
}

// client sends requests and gives each its reply. Any goroutine may call it.
type client struct {
	link Link

	mu      sync.Mutex // guards what follows
	id      uint32
	waiting map[uint32]chan *reply // each has room for its reply
	err     error                  // why there are no more
}

// maxWaiting bounds the requests under way.
const maxWaiting = 64

// run receives replies until the link ends. It must be called once.
func (c *client) run() {
	for {
		msg, err := c.link.Recv()
		r := new(reply)
		if err == nil && len(msg) > maxMessage {
			err = errors.New("a reply is too long")
		}
		if err == nil {
			err = json.Unmarshal(msg, r)
		}
		c.mu.Lock()
		if err != nil {
			c.err = err
			for id, ch := range c.waiting {
				close(ch)
				delete(c.waiting, id)
			}
			c.mu.Unlock()
			return
		}
		if ch := c.waiting[r.ID]; ch != nil {
			ch <- r
			delete(c.waiting, r.ID)
		}
		c.mu.Unlock()
	}
}

// call asks and waits. Errors: ErrLink when the link has ended, *FarError when the
// other end could not do it, ctx's.
func (c *client) call(ctx context.Context, q request) (*reply, error) {
	ch := make(chan *reply, 1)
	c.mu.Lock()
	if c.err != nil || len(c.waiting) >= maxWaiting {
		c.mu.Unlock()
		return nil, c.ended()
	}
	c.id++
	q.ID = c.id
	c.waiting[q.ID] = ch
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, q.ID)
		c.mu.Unlock()
	}()
	msg, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if err := c.link.Send(msg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLink, err)
	}
	select {
	case r, ok := <-ch:
		switch {
		case !ok:
			return nil, c.ended()
		case r.Error != "":
			return nil, &FarError{clip(r.Error)}
		}
		return r, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *client) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return fmt.Errorf("%w: too many requests", ErrLink)
	}
	return fmt.Errorf("%w: %w", ErrLink, c.err)
}

// ErrLink means that the link to the other end has ended.
var ErrLink = errors.New("the link to the other end has ended")

// FarError is what the other end says of why it could not do something.
type FarError struct{ Text string }

// Error implements error.
func (e *FarError) Error() string { return "the other end: " + e.Text }

// maxText bounds a text of the other end, in bytes.
const maxText = 300

func clip(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}
