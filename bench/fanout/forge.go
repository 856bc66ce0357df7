package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/forger"
)

// forging is a command line that makes this program a forger.
type forging struct {
	group   netip.AddrPort
	source  netip.Addr
	ports   []netip.AddrPort // of receivers
	session string           // file of a session whose key it knows
	member  string           // network namespace of a host whose agents' memory it can read
}

// words are the command line.
func (f *forging) words() []string {
	var ports []string
	for _, p := range f.ports {
		ports = append(ports, p.String())
	}
	return []string{forgeWord, "-group", f.group.String(), "-source", f.source.String(), "-ports", strings.Join(ports, ","), "-session", f.session, "-member", f.member}
}

// parseForging reads them, without the first.
func parseForging(args []string) (f forging, err error) {
	flags := flag.NewFlagSet(forgeWord, flag.ContinueOnError)
	flags.Func("group", "group and port", func(s string) (err error) { f.group, err = netip.ParseAddrPort(s); return err })
	flags.Func("source", "address that sends to the group", func(s string) (err error) { f.source, err = netip.ParseAddr(s); return err })
	flags.Func("ports", "receivers' addresses and ports, with commas", func(s string) error {
		for one := range strings.SplitSeq(s, ",") {
			if one == "" {
				continue
			}
			p, err := netip.ParseAddrPort(one)
			if err != nil {
				return err
			}
			f.ports = append(f.ports, p)
		}
		return nil
	})
	flags.StringVar(&f.session, "session", "", "file with what the session knows, for its key")
	flags.StringVar(&f.member, "member", "", "network namespace of a host that gives the key away")
	if err := flags.Parse(args); err != nil {
		return f, err
	}
	if flags.NArg() > 0 || !f.group.IsValid() || !f.source.IsValid() {
		return f, errors.New("a group and a source are needed, and no other words")
	}
	return f, nil
}

// run forges until it is killed, and prints now and then what it has sent, a line each
// time.
func (f *forging) run(ctx context.Context) error {
	out := json.NewEncoder(os.Stdout)
	a := forger.Attack{Ports: f.ports, Tell: func(n forger.Counts) { _ = out.Encode(n) }} // who does not listen misses it
	switch {
	case f.session != "":
		s, err := readSession(f.session)
		if err != nil {
			return err
		}
		a.Key = func(d []byte) *forger.Key {
			k, err := forger.NewKey(s.Group, d)
			if err != nil {
				return nil
			}
			return k
		}
	case f.member != "":
		a.Key = forger.Member(f.member)
	}
	at, err := forger.Open(ctx, f.group, f.source)
	if err != nil {
		return err
	}
	defer at.Close()
	_, err = at.Run(ctx, a)
	return err
}

// server runs a forger on a host before something else is started.
func (f *forging) server(b *bench, on *ground.Host) *ground.Server {
	return &ground.Server{Host: on, Args: append([]string{b.self}, f.words()...), Protocol: "udp", Port: int(f.group.Port())}
}

// forged reads what a forger that has ended had done.
func forged(s *ground.Server) (n forger.Counts, err error) {
	if err := lastLine(s.Output(), &n); err != nil {
		return n, fmt.Errorf("the forger: %w", err)
	}
	return n, nil
}
