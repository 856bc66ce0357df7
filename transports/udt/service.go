package udt

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/transports/internal/cc"
)

// What programs need that hand connections on: to end them without waiting, and
// to give those that have proved nothing little memory.

// CheckControl tells what is wrong with a name for Config.Control; nil if nothing
// is. The text lists the names that are known.
func CheckControl(name string) error {
	_, err := newControl(&Config{Control: name})
	return err
}

// ControlNames gives the names for Config.Control, separated by commas.
func ControlNames() string { return cc.Names() }

// DefaultControl is the congestion control that an empty Config.Control means.
const DefaultControl = defaultControl

// DefaultBuffer is the bytes that an empty Config.SendBuffer or RecvBuffer means.
const DefaultBuffer = defaultBuffer

// Heard tells when an address that is being dialled last answered, though perhaps
// only that somebody is there; the zero time if none did. Any goroutine may call it.
func (e *Endpoint) Heard() (at time.Time) {
	e.mu.Lock()
	conns := slices.Collect(maps.Values(e.conns))
	e.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		if d := c.core.connect.answered; d > 0 && e.start.Add(d).After(at) {
			at = e.start.Add(d)
		}
		c.mu.Unlock()
	}
	return at
}

// Retire closes the endpoint as soon as it has no listener and no connections.
func (e *Endpoint) Retire() { e.retire() }

// Release begins to close the connection and does not wait for it: what was
// written is still delivered, within Config.Linger. Calls that wait, and later
// ones, end with net.ErrClosed. The connection's place is given back after that.
func (c *Conn) Release() {
	c.mu.Lock()
	if c.core.state == closed {
		c.mu.Unlock()
		return
	}
	c.core.close(c.e.now(), c.core.cfg.Linger)
	c.read.stop()
	c.write.stop()
	c.changed.Broadcast()
	c.mu.Unlock()
	c.e.wake(c)
}

// SetReadBuffer changes how many bytes may wait to be read, as Config.RecvBuffer
// does for all connections, and tells the other end. It does not take room back
// that was told already. Errors: net.ErrClosed; a size that is not above 0.
func (c *Conn) SetReadBuffer(n int) error {
	if n <= 0 {
		return c.fault("set", fmt.Errorf("a buffer of %d bytes", n))
	}
	return c.set(func(k *core) {
		k.cfg.RecvBuffer = n
		k.recv.size = max(k.recv.size, packets(n, k.payload))
		k.tellRoom()
	})
}

// SetMaxRate changes the bound of the rate of sending, as Config.MaxRate sets it for all
// connections: bytes per second, headers included; 0 is none. It holds for what is
// sent from now on. Errors: net.ErrClosed; a rate below 0.
func (c *Conn) SetMaxRate(r units.Rate) error {
	if r < 0 {
		return c.fault("set", fmt.Errorf("a rate of %d bytes per second", int64(r)))
	}
	return c.set(func(k *core) {
		k.cfg.MaxRate = r
		k.learn()
	})
}

// Resume tells a connection that has just begun what its path was seen to carry, in
// bytes per second, headers included: controls that know how begin with a part of it
// instead of searching for it from a few packets on. Errors: net.ErrClosed; a rate below
// 0.
func (c *Conn) Resume(r units.Rate) error {
	if r < 0 {
		return c.fault("set", fmt.Errorf("a rate of %d bytes per second", int64(r)))
	}
	return c.set(func(k *core) {
		if x, ok := k.control.(cc.Resumer); ok {
			k.fill(c.e.now())
			x.Resume(&k.stats, r)
			k.learn()
		}
	})
}

// set changes a connection that is there, with its lock held, and has it look at once
// what that lets it do.
func (c *Conn) set(change func(k *core)) error {
	c.mu.Lock()
	if k := c.core; k.state != connected {
		err := k.err
		c.mu.Unlock()
		return c.fault("set", err)
	}
	change(c.core)
	c.mu.Unlock()
	c.e.wake(c)
	return nil
}

// tellRoom tells the peer of room that it does not know of, until it has
// answered.
func (c *core) tellRoom() {
	r := &c.recv
	r.squeezed = false
	r.again = true
	r.ackDue = 0
	r.confirm = r.sub + 1
}
