package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestUDT copies over UDT, through firewalls on either side, and falls back where
// nothing gets through over UDP.
func TestUDT(t *testing.T) {
	t.Parallel()
	const blocked, why = "no data connection over UDP", " (timed out); sending over TCP instead"
	for _, tt := range []struct {
		name      string
		near, far string // rule for what comes in
		last      string // the transport in the end; inside ssh a copy is over before the way is found
		most      time.Duration
	}{
		{"open", "", "", "udt", 9 * time.Second},
		{"far lets nothing new in", "", "meta l4proto udp ct state new drop", "udt", 10 * time.Second},
		{"near lets nothing new in", "meta l4proto udp ct state new drop", "", "udt", 10 * time.Second},
		{"neither lets anything new in", "meta l4proto udp ct state new drop", "meta l4proto udp ct state new drop", "udt", 11 * time.Second},
		{"no UDP", "", "meta l4proto udp drop", "tcp", 12 * time.Second},
		{"no UDP, and little to do", "", "meta l4proto udp drop", "ssh", 7 * time.Second},
	} {
		bothWays(t, tt.name, func(t *testing.T, pull bool) {
			w, near, far := newCable(t)
			args, dst := w.one(pull)
			if tt.near != "" {
				near.filter(tt.near)
			}
			if tt.far != "" {
				far.filter(tt.far)
			}
			opts := []string{"--json", "--transport=udt"}
			if tt.last != "ssh" { // data must not be through there before the way is found
				opts = append(opts, "--bwlimit=2MB")
			}
			r := w.within(tt.most, dst, append(opts, args...)...)
			wantLast(t, r, tt.last)
			if told := strings.Contains(r.err, blocked); told != (tt.last == "tcp") {
				t.Errorf("the warning that UDP is blocked: %t\n%v", told, r)
			}
			// Who pulls has dialled, and knows; the other end tells.
			if told := strings.Contains(r.err, blocked+why); told != (tt.last == "tcp" && !pull) {
				t.Errorf("the warning tells why: %t\n%v", told, r)
			}
			w.clean(w.near, w.far)
		})
	}
}

// TestUDTCutMidway blocks UDP at one end while data flows: within six seconds the
// rest goes over TCP, whichever end has dialled, and that is told once.
func TestUDTCutMidway(t *testing.T) {
	t.Parallel()
	for _, dial := range []string{"source", "target"} {
		for _, end := range []string{"near", "far"} {
			t.Run(dial+" dials, blocked at the "+end, func(t *testing.T) {
				t.Parallel()
				const most = 6 * time.Second
				took := runLimit
				for i := 0; i < tries && took > most; i++ {
					took = udtCut(t, dial, end)
				}
				if took > most {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

// udtCut gives how long it takes until data goes over TCP.
func udtCut(t *testing.T, dial, end string) time.Duration {
	t.Helper()
	w, near, far := newCable(t)
	data := content(82, 24<<20)
	put(t, filepath.Join(w.near, "f"), data)
	p := slowly(t, w, "--transport=udt,tcp", "--dial="+dial, "f", "far:g")
	map[string]*space{"near": near, "far": far}[end].filter("meta l4proto udp drop")
	cut := time.Now()
	r := p.wait()
	r.want(t, 0)
	holds(t, filepath.Join(w.far, "g"), data)
	if l := plans(t, r); !slices.Equal(l, []string{"udt", "tcp"}) {
		t.Errorf("the transports were %v, want udt and then tcp", l)
	}
	e, _ := lastEvent(r.out, "transport")
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(e["t"]))
	if err != nil {
		t.Fatal(err)
	}
	w.clean(w.near, w.far)
	return at.Sub(cut)
}

// TestUDTResume interrupts a run over UDT and gives the command again.
func TestUDTResume(t *testing.T) {
	t.Parallel()
	w, _, _ := newCable(t)
	data := content(84, 24<<20)
	put(t, filepath.Join(w.near, "f"), data)
	p := slowly(t, w, "--transport=udt", "f", "far:g")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait()
	missing(t, filepath.Join(w.far, "g"))
	r := w.ok("--json", "--transport=udt", "f", "far:g")
	holds(t, filepath.Join(w.far, "g"), data)
	end, ok := lastEvent(r.out, "job.end")
	if !ok || number(end, "sent_bytes") >= 24<<20 {
		t.Errorf("all was sent again: %v", end)
	}
	wantLast(t, r, "udt")
	w.clean(w.near, w.far)
}

// newNATs is a world whose user and far host are behind address translators that
// let in nothing but answers, and ssh: 10.78.0.2 - 192.0.2.1 = 192.0.2.2 - 10.79.0.2.
// rules are further ones for what they pass on.
func newNATs(t *testing.T, rules ...string) *world {
	t.Helper()
	near, nat1, nat2, far := newSpace(t), newSpace(t), newSpace(t), newSpace(t)
	join(near, "na", "10.78.0.2/24", nat1, "nb", "10.78.0.1/24")
	join(nat1, "wa", "192.0.2.1/24", nat2, "wb", "192.0.2.2/24")
	join(nat2, "fa", "10.79.0.1/24", far, "fb", "10.79.0.2/24")
	near.run("ip route add default via 10.78.0.1")
	far.run("ip route add default via 10.79.0.1")
	w := &world{t: t, addr: "10.79.0.2", inside: near.words(), sshdIn: far.words()}
	w.setUp()
	for _, s := range []*space{nat1, nat2} {
		s.run("sysctl -qw net.ipv4.ip_forward=1")
		outside := map[*space]string{nat1: "wa", nat2: "wb"}[s]
		s.filter("iifname " + outside + " ct state new drop")
		s.run("nft add chain inet t forward { type filter hook forward priority 0 ; }")
		s.run(fmt.Sprintf("nft add rule inet t forward iifname %s ct state new tcp dport != %d drop", outside, w.port))
		s.run(fmt.Sprintf("nft add rule inet t forward iifname %s ct state new meta l4proto udp drop", outside))
		for _, r := range rules {
			s.run("nft insert rule inet t forward " + r)
		}
		s.run("nft add chain inet t out { type nat hook postrouting priority 100 ; }")
		s.run("nft add rule inet t out oifname " + outside + " masquerade")
	}
	nat2.run("nft add chain inet t pre { type nat hook prerouting priority -100 ; }")
	nat2.run(fmt.Sprintf("nft add rule inet t pre iifname wb tcp dport %d dnat ip to 10.79.0.2", w.port))
	w.addr = "192.0.2.2"
	w.known(w.hostKey)
	w.config("")
	w.warm()
	put(t, filepath.Join(w.near, "f"), content(80, 6<<20))
	return w
}

// TestUDTBetweenNATs: neither end can reach the other by itself. Over UDP they
// meet, since both send from the port at which they listen, to the address that
// ssh goes to or comes from; TCP has no way. Where UDP is forbidden wholly, data goes
// inside ssh.
func TestUDTBetweenNATs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		way, last, rate string
		rules           []string
	}{
		{"udt", "udt", "1MB", nil},
		{"tcp,ssh", "ssh", "500KB", nil},
		{"udt", "ssh", "500KB", []string{"meta l4proto udp drop"}},
		{"udt,ssh", "ssh", "500KB", []string{"meta l4proto udp reject"}},
	} {
		bothWays(t, tt.way+" to "+tt.last, func(t *testing.T, pull bool) {
			w := newNATs(t, tt.rules...)
			args, dst := w.one(pull)
			r := w.ok(append([]string{"--json", "--transport=" + tt.way, "--bwlimit=" + tt.rate}, args...)...)
			holds(t, dst, content(80, 6<<20))
			wantLast(t, r, tt.last)
			w.clean(w.near, w.far)
		})
	}
}

// TestUDTNarrowPath: a link on the way takes shorter packets than the source's, which
// takes jumbo frames, and its router keeps that to itself. Over TCP the ends tell each
// other what their links take; UDT has to find it out.
func TestUDTNarrowPath(t *testing.T) {
	t.Parallel()
	near, mid, far := newSpace(t), newSpace(t), newSpace(t)
	join(near, "na", "10.78.0.2/24", mid, "nb", "10.78.0.1/24")
	join(far, "fa", "10.79.0.2/24", mid, "fb", "10.79.0.1/24")
	near.run("ip link set na mtu 9000")
	mid.run("ip link set nb mtu 9000")
	far.run("ip link set fa mtu 1300")
	mid.run("ip link set fb mtu 1300")
	near.run("ip route add default via 10.78.0.1")
	far.run("ip route add default via 10.79.0.1")
	mid.run("sysctl -qw net.ipv4.ip_forward=1")
	mid.run("nft add table inet t")
	mid.run("nft add chain inet t out { type filter hook output priority 0 ; }")
	mid.run("nft add rule inet t out icmp type destination-unreachable drop")
	w := &world{t: t, addr: "10.79.0.2", inside: near.words(), sshdIn: far.words()}
	w.setUp()
	w.warm()
	put(t, filepath.Join(w.near, "f"), content(80, 6<<20))
	r := w.ok("--json", "--transport=udt", "--time-limit=60s", "f", "far:g")
	holds(t, filepath.Join(w.far, "g"), content(80, 6<<20))
	wantLast(t, r, "udt")
	w.clean(w.near, w.far)
}
