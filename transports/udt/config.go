package udt

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Constants of the protocol.
const (
	// synInterval is the time between acknowledgements.
	synInterval = 10 * time.Millisecond
	// lightEvery is the number of packets between light acknowledgements.
	lightEvery = 64
	// probeEvery: the packets of numbers 0 and 1 modulo 16 travel as a pair.
	probeEvery = 16
	// ackHistory is how many acknowledgements are remembered for their ACK2.
	ackHistory = 1024

	initialRTT    = 100 * time.Millisecond
	initialRTTVar = 50 * time.Millisecond

	// expiryFloor is the shortest time of silence, for each time it has passed
	// in a row, and expiries how many make a peer dead.
	expiryFloor = 300 * time.Millisecond
	expiries    = 16
	deadFloor   = 5 * time.Second

	connectRetry      = 250 * time.Millisecond
	connectTimeout    = 3 * time.Second
	rendezvousTimeout = 30 * time.Second
)

// Constants of ours.
const (
	// defaultControl keeps its rate under random loss.
	defaultControl = "bbr"
	// maxWindow bounds buffers, in packets: far below the 2^30 at which numbers
	// become ambiguous.
	maxWindow = 1 << 26
	minWindow = 32
	// defaultBuffer holds two round trips of 1 Gbit/s and 200 ms. Memory is
	// taken only for packets that are there.
	defaultBuffer = 64 << 20
	// recvReserve is room for packets beyond what was advertised: an
	// acknowledgement never says less than 2, also when there is no room.
	recvReserve = 16

	// leastPayload is what the smallest packets count in buffers, in bytes.
	leastPayload = 512

	defaultLinger = 180 * time.Second

	// aliveInterval is the longest time without sending anything.
	aliveInterval = time.Second
	// heldPackets is how many packets go to a client that was not heard yet,
	// and heldDelay when: libraries lose what comes with the last handshake.
	heldPackets  = 3
	heldDelay    = 20 * time.Millisecond
	unheardLimit = 10 * time.Second
	// pokeDelay is how long after the acknowledgement was due a receiver is
	// poked: the library looks at its timers when a packet comes, else each
	// 100 ms.
	pokeDelay = 2 * time.Millisecond
	// burstTime is how much is sent at once, as a time at the rate of sending.
	burstTime = time.Millisecond
	// resendTimes is how often a packet is sent before its loss is left to the
	// peer's reports and to timeouts.
	resendTimes = 6
	// aheadTime is how much more is sent at once where that is more than a burst,
	// which is so from 2 Gbit/s on: waking up costs more than sending a burst.
	aheadTime = 250 * time.Microsecond
	// notSentBytes is how much of what was written waits for its first sending: 17
	// ms of a gigabit, and little enough to stay in the processor's cache until
	// then.
	notSentBytes = 2 << 20
	// lightTime is the shortest time between light acknowledgements, unless they
	// are due for the size of the buffer. Each costs both ends a turn.
	lightTime = 250 * time.Microsecond
	// resendPatience is how many times as long a repetition may take that is not
	// the first one missing.
	resendPatience = 3
	// vainTimes is how many packets a peer may report as lost for each one sent
	// although they have just been sent again, and vainFree how many beyond that:
	// reports cost it nothing, and this end a look at each packet of its window.
	vainTimes = 4
	vainFree  = 4096
	// restTime is after how long memory is given back that was not needed.
	restTime = time.Second
	// errorsAtOnce is how many errors in a row a reader takes for those of single
	// datagrams; then it waits for errorPause after each.
	errorsAtOnce = 16
	errorPause   = 10 * time.Millisecond
	// turnPackets is how much is sent before what has arrived is looked at.
	turnPackets = 256
)

// never is a deadline that does not come.
const never time.Duration = math.MaxInt64

// Config says how connections are made. The zero value is ready for use.
type Config struct {
	// MSS is the longest datagram in bytes, with the headers of IP and UDP (28
	// bytes are counted; over IPv6 20 bytes less are used); 0 is 1500. The smaller
	// one of both ends is used.
	MSS int
	// SendBuffer and RecvBuffer are how much may wait to be acknowledged, and
	// to be read, in bytes; 0 is 64 MiB. The memory is not taken before. Packets
	// count as at least 512 bytes.
	SendBuffer, RecvBuffer int
	// FirstBuffer is RecvBuffer of new connections, accepted or dialled, until
	// SetReadBuffer is called, so that nobody can fill memory who has proved nothing;
	// 0 is RecvBuffer.
	FirstBuffer int
	// FindMTU finds out how long the packets of the path may be, and uses it, up to
	// what the first link takes, whatever MSS is. Both ends must have it, and be of
	// this package; no packet is cut on the way then. It is for streams, and needs a
	// socket that can refuse to cut packets; elsewhere it does nothing.
	FindMTU bool
	// Messages: the connection keeps the bounds of what is sent; see
	// Conn.SendMessage. Both ends must agree.
	Messages bool
	// Control names the congestion control; see package cc. "" is the default.
	Control string
	// MaxRate bounds the rate of sending, in bytes per second, headers
	// included; 0 is no bound.
	MaxRate units.Rate
	// Linger is how long Close waits for what was written to be acknowledged; 0
	// is 180 s, less than 0 not at all.
	Linger time.Duration
	// Idle is after how much silence a peer is taken for dead; 0 is the rule of
	// the protocol, some 46 s and more on slow paths.
	Idle time.Duration
	// Backlog is how many connections may wait for Accept; 0 is 128.
	Backlog int
}

// validate completes the settings, or tells what is wrong with them.
func (c Config) validate() (Config, error) {
	set := func(v *int, standard int) {
		if *v == 0 {
			*v = standard
		}
	}
	set(&c.MSS, defaultMSS)
	set(&c.SendBuffer, defaultBuffer)
	set(&c.RecvBuffer, defaultBuffer)
	set(&c.FirstBuffer, c.RecvBuffer)
	set(&c.Backlog, 128)
	if c.Linger == 0 {
		c.Linger = defaultLinger
	}
	switch {
	case c.MSS < minMSS || c.MSS > maxMSS:
		return c, fmt.Errorf("an MSS of %d bytes: it is %d to %d", c.MSS, minMSS, maxMSS)
	case c.FindMTU && c.Messages:
		return c, errors.New("messages are not sent in packets of the path's size")
	case c.SendBuffer < 0 || c.RecvBuffer < 0 || c.FirstBuffer < 0 || c.Backlog < 0 || c.MaxRate < 0 || c.Idle < 0:
		return c, fmt.Errorf("settings below zero: %+v", c)
	}
	return c, nil
}

// packets turns bytes of a buffer into packets of a payload. Small ones count as
// leastPayload, so that a peer that wants them does not get more of what each
// packet costs beside its payload.
func packets(bytes, payload int) int64 {
	return int64(min(max(bytes/max(payload, leastPayload), minWindow), maxWindow))
}

func (c *Config) socketType() uint32 {
	if c.Messages {
		return typeMessages
	}
	return typeStream
}
