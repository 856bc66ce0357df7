package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// MaxHosts is the largest number of hosts of a topology: what fits into the
// addresses 10.77.0.1 to 10.77.0.250.
const MaxHosts = 250

// Bounds of a network's settings. The smallest MTU is that of IPv6 (RFC 8200,
// section 5), which every host speaks.
const (
	minMTU      = 1280
	maxMTU      = 65535
	maxQuantum  = time.Second
	maxHostName = 63 // bytes; RFC 1035, section 2.3.4
	maxCC       = 15 // bytes; TCP_CA_NAME_MAX of Linux without the final zero
)

// Topology is a network of hosts. [New] gives the defaults.
type Topology struct {
	MTU     int           // bytes of the largest IP packet; 1500 if not set
	CC      string        // TCP congestion control of all hosts; cubic if not set
	Seed    uint64        // of all random decisions; 1 if not set
	Quantum time.Duration // under load, the lab's deliveries to a host are this far apart; 200us if not set
	MinTTL  int           // multicast packets with a lower time to live are dropped; 0..255
	Hosts   []Host
	Paths   []Path // extra links between pairs of hosts, at most one each way
}

// Host is one host and its access link.
type Host struct {
	Name      string
	Multicast bool       // may send and receive multicast
	NIC       units.Rate // rate of the interface itself, on which senders block; 0 for none
	Up, Down  Link       // from the host, and to it
}

// Path is what packets from one host to another pass besides the access links.
type Path struct {
	From, To int // indexes of hosts
	Link     Link
}

// New gives a topology without hosts, all else at its default.
func New() *Topology {
	return &Topology{MTU: 1500, CC: "cubic", Seed: 1, Quantum: 200 * time.Microsecond}
}

// Address gives the address of the host with index i, which is the same in the
// simulator and in the lab: 10.77.0.(i+1), or fd77::(i+1).
func Address(i int, v6 bool) netip.Addr {
	n := byte(i + 1)
	if v6 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 15: n})
	}
	return netip.AddrFrom4([4]byte{10, 77, 0, n})
}

// Index gives the index of the host with a name, or -1.
func (t *Topology) Index(name string) int {
	for i := range t.Hosts {
		if t.Hosts[i].Name == name {
			return i
		}
	}
	return -1
}

// path gives the index in Paths of the path between two hosts, or -1.
func (t *Topology) path(from, to int) int {
	for i := range t.Paths {
		if t.Paths[i].From == from && t.Paths[i].To == to {
			return i
		}
	}
	return -1
}

// Validate tells what is wrong with a topology that was not parsed, or was
// changed since.
func (t *Topology) Validate() error {
	if err := t.validateNetwork(); err != nil {
		return err
	}
	seen := make(map[string]string, 2*len(t.Hosts))
	for i := range t.Hosts {
		h := &t.Hosts[i]
		if err := checkName(h.Name); err != nil {
			return fmt.Errorf("hosts[%d].name: %w", i, err)
		}
		if err := claimNames(seen, h.Name); err != nil {
			return fmt.Errorf("hosts[%d].name: %w", i, err)
		}
		if h.NIC < 0 || h.NIC > maxRate {
			return fmt.Errorf("hosts[%d].nic: %d bytes per second is not within 0 and %d", i, h.NIC, maxRate)
		}
		if err := h.Up.Validate(); err != nil {
			return fmt.Errorf("hosts[%d].up: %w", i, err)
		}
		if err := h.Down.Validate(); err != nil {
			return fmt.Errorf("hosts[%d].down: %w", i, err)
		}
	}
	return t.validatePaths()
}

func (t *Topology) validateNetwork() error {
	switch {
	case len(t.Hosts) < 1 || len(t.Hosts) > MaxHosts:
		return fmt.Errorf("hosts: there are %d, not 1 to %d", len(t.Hosts), MaxHosts)
	case t.MTU < minMTU || t.MTU > maxMTU:
		return fmt.Errorf("mtu: %d is not within %d and %d", t.MTU, minMTU, maxMTU)
	case t.MinTTL < 0 || t.MinTTL > 255:
		return fmt.Errorf("min_ttl: %d is not within 0 and 255", t.MinTTL)
	case t.Quantum < 0 || t.Quantum > maxQuantum:
		return fmt.Errorf("quantum: %v is not within 0 and %v", t.Quantum, maxQuantum)
	case t.CC == "" || len(t.CC) > maxCC || strings.Trim(t.CC, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "":
		return fmt.Errorf("cc: %q is not a name of a congestion control", clip(t.CC))
	}
	return nil
}

func (t *Topology) validatePaths() error {
	seen := make(map[[2]int]bool, len(t.Paths))
	for i := range t.Paths {
		p := &t.Paths[i]
		for _, h := range []int{p.From, p.To} {
			if h < 0 || h >= len(t.Hosts) {
				return fmt.Errorf("paths[%d]: there is no host %d", i, h)
			}
		}
		if p.From == p.To {
			return fmt.Errorf("paths[%d]: leads from %s to itself", i, t.Hosts[p.From].Name)
		}
		if seen[[2]int{p.From, p.To}] {
			return fmt.Errorf("paths[%d]: is the second from %s to %s", i, t.Hosts[p.From].Name, t.Hosts[p.To].Name)
		}
		seen[[2]int{p.From, p.To}] = true
		if err := p.Link.Validate(); err != nil {
			return fmt.Errorf("paths[%d]: %w", i, err)
		}
	}
	return nil
}

// claimNames notes both names of a host, its own and that of its address of IP
// version 6, as taken by it. Resolvers do not tell upper from lower case (RFC 4343).
func claimNames(taken map[string]string, host string) error {
	for _, name := range []string{host, host + "-v6"} {
		key := strings.ToLower(name)
		switch other, is := taken[key]; {
		case is && other == host:
			return fmt.Errorf("there are two hosts %q", host)
		case is:
			return fmt.Errorf("%q is a name of host %q already", name, other)
		}
		taken[key] = host
	}
	return nil
}

// checkName refuses what cannot be a host's name: letters, digits and hyphens
// with a letter in front; not "all", which stands for every host, and not
// "localhost", which is every host to itself.
func checkName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	switch {
	case name == "":
		return errors.New("is missing")
	case name == "all":
		return errors.New(`"all" stands for every host`)
	case strings.EqualFold(name, "localhost"):
		return fmt.Errorf("%q is what every host calls itself", name)
	case len(name) > maxHostName:
		return fmt.Errorf("%d characters are more than %d", len(name), maxHostName)
	case strings.Trim(name, letters+"0123456789-") != "" || !strings.Contains(letters, name[:1]):
		return fmt.Errorf("%q is not a letter followed by letters, digits and hyphens", clip(name))
	}
	return nil
}
