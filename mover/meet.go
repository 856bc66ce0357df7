package mover

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/tcp"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/wire"
)

// start is the body of KindStart: everything the agent's end needs.
type start struct {
	Version int    `json:"version"` // of the protocol
	JobID   string `json:"job"`
	Secret  []byte `json:"secret"` // 32 bytes, one time

	Read  *readSpec  `json:"read,omitempty"` // exactly one of the four
	Write *writeSpec `json:"write,omitempty"`
	Serve *serveSpec `json:"serve,omitempty"`
	Fetch *fetchSpec `json:"fetch,omitempty"`

	Engine engine.Options `json:"engine"`
	TCP    bool           `json:"tcp"`
	UDT    bool           `json:"udt,omitempty"`
	Spare  bool           `json:"spare,omitempty"`
	Known  choice.Path    `json:"known"`
	Offer  []string       `json:"offer,omitempty"` // the director's addresses
	Client bool           `json:"client"`          // the agent may also dial where its ssh client comes from
	Seal   uint8          `json:"seal"`
	Ports  [2]uint16      `json:"ports"`
	Window int            `json:"window"`
	DSCP   int            `json:"dscp"`
	IPv4   bool           `json:"ipv4,omitempty"`
	IPv6   bool           `json:"ipv6,omitempty"`
	Listen bool           `json:"listen"`

	DialFirst bool  `json:"dial_first"`
	DialOnly  bool  `json:"dial_only,omitempty"`
	RTT       int64 `json:"rtt"` // ns
	SameHost  bool  `json:"same_host,omitempty"`
	// Pass makes an agent that writes pass on what it gets, as it is told later:
	// all that follows in both directions has the number of a channel in front.
	Pass bool `json:"pass,omitempty"`
}

// one tells whether exactly one thing is to be done.
func (st *start) one() bool {
	n := 0
	for _, asked := range []bool{st.Read != nil, st.Write != nil, st.Serve != nil, st.Fetch != nil} {
		if asked {
			n++
		}
	}
	return n == 1
}

// ready is the body of KindReady.
type ready struct {
	Offer []string `json:"offer,omitempty"`
	CCs   []string `json:"ccs,omitempty"`
	Dirs  [][]byte `json:"dirs,omitempty"` // a source's directories, on the same host
}

// earlyPrefix is what the token in a greeting begins with when an agent listens
// already; the port follows.
const earlyPrefix = "port="

// earlyPort is the port of a greeting's token, 0 when there is none.
func earlyPort(extra string) uint16 {
	if p, ok := strings.CutPrefix(extra, earlyPrefix); ok {
		if n, err := strconv.ParseUint(p, 10, 16); err == nil {
			return uint16(n)
		}
	}
	return 0
}

// listenEarly listens where an endpoint with nothing asked for would; nil when
// that is not possible, and the endpoint will say why.
func listenEarly(ctx context.Context) net.Listener {
	ln, err := tcp.Listen(ctx, transports.Params{Listen: true})
	if err != nil {
		return nil
	}
	return ln
}

// offerText prints an offer's addresses.
func offerText(o transports.Offer) (l []string) {
	for _, a := range o.Addrs {
		l = append(l, a.String())
	}
	return l
}

// maxOffer bounds the addresses taken from the other end.
const maxOffer = 32

// parseOffer reads the other end's addresses. first are tried before them, with
// their port.
func parseOffer(l []string, first ...netip.Addr) (o transports.Offer, err error) {
	var port uint16
	var rest []netip.AddrPort
	for i, s := range l {
		if i == maxOffer {
			break
		}
		a, err := netip.ParseAddrPort(s)
		if err != nil || a.Port() == 0 {
			return o, wire.Failf(wire.ClassProtocol, "the other end offered %q, which is no address", s)
		}
		port = a.Port()
		rest = append(rest, a)
	}
	if port == 0 {
		return o, nil
	}
	seen := make(map[netip.AddrPort]bool)
	add := func(a netip.AddrPort) {
		if a.Addr().IsValid() && !seen[a] && len(o.Addrs) < maxOffer {
			seen[a] = true
			o.Addrs = append(o.Addrs, a)
		}
	}
	for _, a := range first {
		add(netip.AddrPortFrom(a.Unmap(), port))
	}
	for _, a := range rest {
		add(a)
	}
	return o, nil
}

// spareWay is the transport that streams over TCP may be left for; "": none.
func spareWay(tcp, udt, spare bool) string {
	if tcp && spare && !udt {
		return "udt"
	}
	return ""
}

// ccs lists the congestion controls that may be chosen here.
func ccs() (l []string) {
	for _, n := range []string{"bbr"} {
		if tcp.Permitted(n) {
			l = append(l, n)
		}
	}
	return l
}

// ownAddress tells whether a is an address of this machine.
func ownAddress(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	if a.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, x := range addrs {
		if n, ok := x.(*net.IPNet); ok {
			if b, ok := netip.AddrFromSlice(n.IP); ok && b.Unmap() == a.Unmap() {
				return true
			}
		}
	}
	return false
}

func record(rec events.Recorder, e events.Event) {
	if rec != nil {
		rec.Record(time.Now(), e)
	}
}

// onceDenied warns once per job that owners or groups can't be set.
func onceDenied(warn func(string)) func(string, error) {
	var once sync.Once
	return func(name string, err error) {
		once.Do(func() {
			warn(fmt.Sprintf("owner or group can't be set here (%v), first for %s; files keep the user's own", err, name))
		})
	}
}

// recvKind receives one message of kind k into v; a KindFail is the error.
func recvKind(l engine.Link, k wire.Kind, v any) error {
	msg, err := l.Recv()
	if err != nil {
		return wire.Failf(wire.ClassLost, "the connection ended before the far end was ready: %v", err)
	}
	got, body, err := wire.Split(msg)
	if err != nil {
		return err
	}
	switch got {
	case k:
		return wire.ParseJSON(body, v)
	case wire.KindFail:
		f := new(wire.Fail)
		if err := wire.ParseJSON(body, f); err != nil {
			return err
		}
		return f
	}
	return wire.Failf(wire.ClassProtocol, "the other end sent message %d instead of %d", got, k)
}

// sendJSON sends a message with a JSON body.
func sendJSON(l engine.Link, k wire.Kind, v any) error {
	j, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.Send([]byte{byte(k)}, j)
}

// readyWait is how long the far end may take to be ready: longer than the engine
// waits for a sign of life, since a source may have patterns to expand.
const readyWait = 2 * time.Minute

// awaitReady receives what the far end says when it knows its job. It closes
// conn when nothing comes in time.
func (d *director) awaitReady(conn engine.Link, rd *ready) error {
	limit := readyWait
	if d.job.GiveUp > 0 {
		limit = min(limit, d.job.GiveUp)
	}
	timer := time.AfterFunc(limit, func() { conn.Close() })
	err := recvKind(conn, wire.KindReady, rd)
	if !timer.Stop() && err != nil {
		return wire.Failf(wire.ClassLost, "nothing was heard for %v, before the far end was ready", limit)
	}
	return err
}

// nearRTT stands for the round trip to an address of this machine, before
// anything was measured.
const nearRTT = 100 * time.Microsecond
