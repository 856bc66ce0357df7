package mover

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/jobs"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// AgentEnv is what an agent has of its surroundings.
type AgentEnv struct {
	Control  io.ReadWriteCloser // standard input and output
	Version  string
	OS, Arch string
	Home     string
	StateDir string
	// Client and Server are the two ends of the ssh connection, as sshd tells
	// them; zero when it does not.
	Client, Server netip.Addr
	// Proxy is how mirrors are reached that the agent fetches from itself; nil: without.
	Proxy func(*http.Request) (*url.URL, error)
	// Early makes the agent listen for data connections before it knows its
	// job, and say where in its greeting: the director dials while its message
	// is still on the way. Whoever connects waits until the secret is known.
	Early bool
}

// startTimeout is how long an agent waits for its job.
const startTimeout = 60 * time.Second

// lockWait is how long an end waits for the one before it to close its journal.
const lockWait = 5 * time.Second

// ServeAgent is the far end's whole life: it greets, takes one job, runs it, and
// returns when the job or the connection has ended.
func ServeAgent(ctx context.Context, env AgentEnv) error {
	g := sshboot.Greeting{Version: env.Version, Protocol: wire.Version, OS: env.OS, Arch: env.Arch}
	var early net.Listener
	if env.Early {
		if early = listenEarly(ctx); early != nil {
			g.Extra = earlyPrefix + strconv.Itoa(early.Addr().(*net.TCPAddr).Port)
			defer early.Close() // harmless when an endpoint has closed it
		}
	}
	if err := sshboot.WriteGreeting(env.Control, g); err != nil {
		return err
	}
	conn := framing.New(env.Control)
	timer := time.AfterFunc(startTimeout, func() { conn.Close() })
	var st start
	err := recvKind(conn, wire.KindStart, &st)
	timer.Stop()
	if err == nil {
		err = serve(ctx, env, conn, &st, early)
	}
	f := new(wire.Fail)
	if err != nil && !errors.As(err, &f) {
		f = wire.Failf(wire.ClassInternal, "%v", err)
	}
	var reported *reportedError
	if err != nil && !errors.As(err, &reported) && f.Class != wire.ClassLost {
		_ = sendJSON(conn, wire.KindFail, f) // the director may be gone
	}
	return err
}

// reportedError marks an error that the other end has heard of.
type reportedError struct{ error }

func (e *reportedError) Unwrap() error { return e.error }

func serve(ctx context.Context, env AgentEnv, raw *framing.Conn, st *start, early net.Listener) (err error) {
	var pass *passer
	switch {
	case st.Version != wire.Version:
		return wire.Failf(wire.ClassVersion, "agent speaks protocol %d, this program %d", wire.Version, st.Version)
	case !st.one():
		return wire.Failf(wire.ClassProtocol, "the job is neither reading, writing, serving nor fetching")
	case st.JobID == "" || len(st.JobID) > 32 || strings.Trim(st.JobID, "abcdefghijklmnopqrstuvwxyz234567") != "":
		return wire.Failf(wire.ClassProtocol, "the job's name %q is none", st.JobID)
	case !st.Engine.ValidBlocks():
		return wire.Failf(wire.ClassProtocol, "block size %d, or %d, is out of range", st.Engine.BlockSize, st.Engine.Least)
	}
	conn := engine.Link(raw)
	if st.Pass {
		if st.Write == nil {
			return wire.Failf(wire.ClassProtocol, "only what is written can be passed on")
		}
		m := newMux(raw)
		own := m.open(chanOwn)
		pass = &passer{m: m, control: m.open(chanControl), env: env, runs: make(map[byte]*passRun)}
		conn = own
		go m.run()
		defer func() {
			var reported *reportedError
			if err != nil && !errors.As(err, &reported) {
				f := new(wire.Fail)
				if !errors.As(err, &f) {
					f = wire.Failf(wire.ClassInternal, "%v", err)
				}
				_ = sendJSON(own, wire.KindFail, f) // the director may be gone
				err = &reportedError{err}
			}
			m.conn.Close()
			<-m.over
		}()
	}
	st.Engine.JobID = st.JobID
	home := func(name string) (string, error) {
		if name == "" {
			return env.Home, nil
		}
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.HomeDir, nil
	}
	if st.Fetch != nil {
		return serveFetch(ctx, env, raw, st, home)
	}
	if st.Serve != nil {
		return serveFiles(ctx, env, raw, st, home)
	}
	warned := &warnings{link: conn}
	warn := warned.say
	paths := engine.Paths{DialFirst: st.DialFirst, DialOnly: st.DialOnly, RTT: time.Duration(st.RTT), Name: otherEnd, Seal: transports.Seal(st.Seal), Window: st.Window, Obeys: true}
	rd := ready{}
	if st.TCP || st.UDT {
		var err error
		first := []netip.Addr{}
		if st.Client {
			first = append(first, env.Client)
		}
		if paths.Far, err = parseOffer(st.Offer, first...); err != nil {
			return err
		}
		var known []netip.Addr
		if env.Server.IsValid() {
			known = append(known, env.Server)
		}
		ep, err := newEndpoint(ctx, params{secret: st.Secret, tcp: st.TCP, udt: st.UDT, spare: st.Spare, streams: udtOptions(&st.Engine), seal: paths.Seal, maxBody: st.Engine.FrameMax(), listen: st.Listen,
			ports: st.Ports, window: st.Window, dscp: st.DSCP, ipv4: st.IPv4, ipv6: st.IPv6, known: known, on: early,
			warn: func(text string) { warn("net.buffer", text, "") }})
		if err != nil {
			return err
		}
		defer ep.Close()
		paths.Endpoint, paths.Prefer, paths.Ports = ep, prefer(st.UDT), portsOf(st.TCP, st.UDT)
		paths.Spare, paths.Known = spareWay(st.TCP, st.UDT, st.Spare), st.Known
		rd.Offer, rd.CCs = offerText(ep.Offer()), ccs()
		paths.CCs = rd.CCs
	}
	var e end
	if st.Write != nil {
		w := st.Write
		p, err := expandHome(string(w.Path), home)
		if err != nil {
			return wire.Failf(wire.ClassDest, "%s: %v", w.Shown, err)
		}
		w.Path = []byte(p)
		if err := refuseInside(w); err != nil {
			return err
		}
		lock, err := jobs.Acquire(env.StateDir, st.JobID, lockWait)
		if err != nil {
			return busy(err, "there")
		}
		defer lock.Release()
		denied := onceDenied(func(text string) { warn("dest.owner", text, "") })
		t := target(w, st.JobID, st.Engine.Attrs, denied)
		if pass != nil {
			pass.tap = newTap(st.Engine, t)
			conn, t = tapLink{conn, pass.tap}, pass.tap.aim()
		}
		host := &castHost{env: env, ports: st.Ports, link: conn}
		if st.Engine.Shared {
			paths.Group = host.take
			defer host.end()
		}
		host.sink = engine.NewSink(st.Engine, paths, conn, t, events.Discard{})
		e = host.sink
	} else {
		for i := range st.Read.Sources {
			s := &st.Read.Sources[i]
			p, err := expandHome(string(s.Path), home)
			if err != nil {
				return wire.Failf(wire.ClassSource, "%s: %v", s.Shown, err)
			}
			if p == "" {
				p = "."
			}
			s.Path = []byte(p)
		}
		roots, err := openSources(st.Read, func(text, path string) { warn("source.link", text, path) })
		if err != nil {
			return err
		}
		defer closeSources(roots)
		if st.SameHost {
			rd.Dirs = sourceDirs(st.Read.Sources)
		}
		e = engine.NewSource(st.Engine, paths, conn, roots, engine.Forward(conn))
	}
	if err := sendJSON(conn, wire.KindReady, rd); err != nil {
		return wire.Failf(wire.ClassLost, "%v", err)
	}
	warned.release()
	if pass != nil {
		return pass.beside(ctx, e)
	}
	if err := e.Run(ctx); err != nil {
		return &reportedError{err} // the engine tells its other end
	}
	return nil
}

// busy is the error for a job that runs already; where is this machine, as the
// user sees it.
func busy(err error, where string) error {
	var b *jobs.BusyError
	if !errors.As(err, &b) {
		return wire.Failf(wire.ClassDest, "%v", err)
	}
	process, host, _ := strings.Cut(b.Holder, " on ")
	if own, err := os.Hostname(); err != nil || host != "" && host != own {
		where = "on " + host // the state directory is shared by several
	}
	if process == "" {
		return wire.Failf(wire.ClassBusy, "job %s is already running %s", b.Job, where)
	}
	return wire.Failf(wire.ClassBusy, "job %s is already running %s (%s)", b.Job, where, process)
}
