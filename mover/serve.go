package mover

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// serveSpec is what an agent gives in parts, as they are asked for.
type serveSpec struct {
	Roots []sourceSpec `json:"roots"`
	Links string       `json:"links,omitempty"`
}

// serveFiles is an agent that serves files until its director leaves.
func serveFiles(ctx context.Context, env AgentEnv, conn engine.Link, st *start, home func(string) (string, error)) error {
	if n := len(st.Serve.Roots); n == 0 || n > wire.MaxRoots {
		return wire.Failf(wire.ClassProtocol, "%d files or directories to serve", n)
	}
	links := linksOf(st.Serve.Links)
	var roots []peer.Root
	for _, spec := range st.Serve.Roots {
		roots = append(roots, peer.Root{Shown: spec.Shown, Open: func() (store.Source, error) {
			p, err := expandHome(string(spec.Path), home)
			if err != nil {
				return nil, wire.Failf(wire.ClassSource, "%v", err)
			}
			if p == "" {
				p = "."
			}
			return osfs.NewSource(p, osfs.SourceOptions{Links: links})
		}})
	}
	ctx, cancel := context.WithCancel(ctx)
	server := peer.NewServer(conn, roots)
	server.CCs = ccs()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	rd := ready{}
	if st.TCP || st.UDT {
		ep, far, err := serveEndpoint(ctx, env, st)
		if err != nil {
			return err
		}
		defer ep.Close()
		serve := func(s transports.Stream) {
			if st.Engine.CC != "" {
				// A refusal leaves the system's own; the files come all the same.
				_ = s.Retune(transports.Settings{CC: st.Engine.CC})
			}
			wg.Go(func() { server.Serve(ctx, s) })
		}
		wg.Go(func() {
			for {
				s, err := ep.Accept(ctx)
				if err != nil {
					return
				}
				serve(s)
			}
		})
		var label atomic.Uint32
		if !st.DialOnly || st.DialFirst {
			server.Dial = func(ctx context.Context, n int) error {
				return dialStreams(ctx, ep, far, n, func() uint32 { return 2 * label.Add(1) }, serve)
			}
		}
		if sw, ok := ep.(transports.Switcher); ok {
			server.Use = func(way string) error { return sw.Use(way == prefer(st.UDT)) }
		}
		rd.Offer = offerText(ep.Offer())
	}
	if err := sendJSON(conn, wire.KindReady, rd); err != nil {
		return wire.Failf(wire.ClassLost, "%v", err)
	}
	if err := server.Run(ctx); err != nil {
		return &reportedError{err}
	}
	return nil
}

// serveEndpoint makes the end of the data connections of an agent that serves.
func serveEndpoint(ctx context.Context, env AgentEnv, st *start) (transports.Endpoint, transports.Offer, error) {
	var first, known []netip.Addr
	if st.Client {
		first = append(first, env.Client)
	}
	far, err := parseOffer(st.Offer, first...)
	if err != nil {
		return nil, far, err
	}
	if env.Server.IsValid() {
		known = append(known, env.Server)
	}
	ep, err := newEndpoint(ctx, params{secret: st.Secret, tcp: st.TCP, udt: st.UDT, spare: st.Spare, streams: udtOptions(&st.Engine), seal: transports.Seal(st.Seal), maxBody: wire.MaxServeFrame, listen: st.Listen,
		ports: st.Ports, window: st.Window, dscp: st.DSCP, ipv4: st.IPv4, ipv6: st.IPv6, known: known, warn: func(string) {}})
	return ep, far, err
}

// dialStreams makes n streams at once and hands them on. The error is nil when there
// is one at least.
func dialStreams(ctx context.Context, ep transports.Endpoint, far transports.Offer, n int, label func() uint32, got func(transports.Stream)) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex // guards what follows
	var failed error
	made := 0
	for range n {
		wg.Go(func() {
			s, err := ep.Dial(ctx, far, label())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			made++
			got(s)
		})
	}
	wg.Wait()
	if made > 0 {
		return nil
	}
	return failed
}

// linksOf is what is done about symbolic links.
func linksOf(word string) osfs.Links {
	return map[string]osfs.Links{"follow": osfs.LinksFollow, "safe": osfs.LinksSafe, "skip": osfs.LinksSkip}[word]
}
