package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/mover"
)

// FanOptions say how several destinations are served.
type FanOptions struct {
	To        []string // --to: location words
	Hosts     string   // --hosts: a list, or @FILE
	Dest      string   // --dest: path on hosts that are given without one
	How       string   // auto, multicast, unicast, chain or any
	Group     mover.GroupOptions
	Slow      string     // detach, wait or drop
	MinDests  int        // how many must be complete; 0: all
	LimitEach units.Rate // of each destination; 0: none
}

// maxHosts bounds the hosts of a list and the bytes of its file; ours. Each host
// costs a login and some connections.
const (
	maxHosts    = 1024
	maxHostFile = 1 << 20
)

var fanTable = []option{
	{name: "to", kind: kindValue, arg: "LOC", def: noDefault, group: groupCopy, brief: true, private: true, repeat: true,
		help: "all words are sources, each --to is a destination", store: listAt(func(o *Options) *[]string { return &o.Fan.To })},
	{name: "hosts", kind: kindValue, arg: "LIST", def: noDefault, group: groupCopy, brief: true, private: true,
		help: "all words are sources, h1,h2 or @FILE the destinations", store: nameAt(func(o *Options) *string { return &o.Fan.Hosts })},
	{name: "dest", kind: kindValue, arg: "PATH", def: noDefault, group: groupCopy, private: true,
		help: "where on hosts that are given without a path", store: nameAt(func(o *Options) *string { return &o.Fan.Dest })},
	{name: "bwlimit-each", kind: kindValue, arg: "RATE", def: "off", group: groupNet,
		help: "limit of each destination", store: storeLimitEach},
	{name: "fanout", kind: kindValue, arg: "HOW", def: "auto", group: groupNet, values: fanModes,
		help: "how they are served: auto, multicast, unicast, chain, any", store: storeFanout},
	{name: "mcast-group", kind: kindValue, arg: "ADDR", def: "auto", group: groupNet, private: true,
		help: "multicast group to send to", store: storeGroup},
	{name: "mcast-ttl", kind: kindValue, arg: "N", def: "32", group: groupNet, private: true,
		help:  "routers that multicast may pass",
		store: numberAt(func(o *Options) *int { return &o.Fan.Group.TTL }, "", 1, 255)},
	{name: "mcast-if", kind: kindValue, arg: "IFACE", def: "auto", group: groupNet,
		help: "interface that multicast leaves by", store: storeGroupInterface},
	{name: "slow-dest", kind: kindValue, arg: "HOW", def: mover.SlowDetach, group: groupNet, values: slowModes,
		help:  "a slow destination: detach, wait for it, or drop it",
		store: choiceAt(func(o *Options) *string { return &o.Fan.Slow }, slowModes...)},
	{name: "min-dests", kind: kindValue, arg: "N", def: "all", group: groupNet,
		help: "how many destinations must be complete for exit 0", store: numberAt(func(o *Options) *int { return &o.Fan.MinDests }, "all", 1, maxHosts)},
}

var (
	fanModes  = []string{"auto", "multicast", "unicast", "chain", "any"}
	slowModes = []string{mover.SlowDetach, mover.SlowWait, mover.SlowDrop}
)

// storeFanout reads how destinations are served.
func storeFanout(o *Options, value string) error {
	if value == "star" {
		value = "unicast" // what the shape of it is called
	}
	return choiceAt(func(o *Options) *string { return &o.Fan.How }, fanModes...)(o, value)
}

// fanMulticast is what --fanout says of multicast.
var fanMulticast = map[string]string{"auto": mover.MulticastAuto, "any": mover.MulticastAuto, "multicast": mover.MulticastAlways}

// storeGroup reads auto or a multicast address.
func storeGroup(o *Options, value string) error {
	o.Fan.Group.Addr = netip.Addr{}
	if value == "auto" {
		return nil
	}
	a, err := netip.ParseAddr(value)
	if err != nil || !a.IsMulticast() || a.Zone() != "" {
		return &units.ValueError{Value: value, Reason: "is no multicast address", Hint: "such as 239.192.1.2 or ff3e::8000:1; auto takes one of this machine's own"}
	}
	o.Fan.Group.Addr = a
	return nil
}

// storeGroupInterface reads auto or the name of an interface.
func storeGroupInterface(o *Options, value string) error {
	if o.Fan.Group.Interface = value; value == "auto" {
		o.Fan.Group.Interface = ""
	}
	return nil
}

// storeLimitEach reads a rate.
func storeLimitEach(o *Options, value string) error {
	if _, zero := number(value, 0, 0); zero {
		return &units.ValueError{Value: value, Reason: "must be at least one byte per second", Hint: "off means no limit"}
	}
	r, err := units.ParseRate(value)
	if err != nil {
		return err
	}
	o.Fan.LimitEach = r
	return nil
}

// hostList gives the hosts of --hosts: separated by commas, or one on a line of a
// file, where # begins a comment.
func hostList(env Env, list string) ([]string, error) {
	text, separator := list, ","
	if name, ok := strings.CutPrefix(list, "@"); ok {
		b, err := env.ReadFile(env.expandHome(name))
		if err != nil {
			var bad *fs.PathError
			if errors.As(err, &bad) {
				err = bad.Err
			}
			return nil, usageError(fmt.Sprintf("--hosts %s: %v", list, err))
		}
		if len(b) > maxHostFile {
			return nil, usageError(fmt.Sprintf("--hosts %s: has %d bytes; at most %d are read", list, len(b), maxHostFile))
		}
		text, separator = string(b), "\n"
	}
	var hosts []string
	for _, line := range strings.Split(text, separator) {
		if separator == "\n" {
			line, _, _ = strings.Cut(line, "#")
		}
		if line = strings.TrimSpace(line); line == "" && separator == "\n" {
			continue
		}
		hosts = append(hosts, line)
	}
	switch {
	case len(hosts) == 0:
		return nil, usageError("--hosts " + list + ": names no host")
	case len(hosts) > maxHosts:
		return nil, usageError(fmt.Sprintf("--hosts %s: %d hosts are more than %d", list, len(hosts), maxHosts))
	}
	return hosts, nil
}
