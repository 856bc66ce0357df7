package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/user"
	"runtime"
	"slices"
	"strings"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/location"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/transports"
)

// place turns a location into the job's.
func place(l location.Location) mover.Place {
	return mover.Place{Remote: l.Kind == location.Remote, User: l.User, Host: l.Host, Port: l.Port, Path: l.Path, Shown: l.Shown()}
}

// newJob makes the job of a plan. o is resolved for the far host; hash is that of this
// program, "" if it is not known yet.
func newJob(ctx context.Context, env Env, o *Options, plan location.Plan, hash string) (*mover.Job, error) {
	j := &mover.Job{
		Recursive: o.Copy.Recursive, Exact: o.Copy.Exact, MkPath: o.Copy.MakePath, Glob: o.Copy.Glob, Links: string(o.Attr.Links),
		IntoDir: o.Copy.TargetDir != "" || len(plan.Sources) > 1,
		TCP:     true, SSH: true, Spare: o.Net.Transports == nil && o.Net.Congestion == "", Dial: o.Net.Dial, Window: int(o.Net.Window), DSCP: o.Net.DSCP,
		IPv4: o.Net.Family == 4, IPv6: o.Net.Family == 6, Version: version,
		GiveUp: o.Safety.GiveUp, RetryWait: o.Safety.RetryWait, TimeLimit: o.Safety.TimeLimit, StateDir: stateDir(env, o.Safety.StateDir),
		Limit: o.Net.Limit, FinishBy: o.Net.FinishBy, MinRate: o.Pull.MinRate,
	}
	for _, s := range plan.Sources {
		p := place(s)
		p.Inside = s.Contents()
		j.Sources = append(j.Sources, p)
	}
	j.Dest = place(plan.Dests[0])
	j.Dest.Inside = plan.Dests[0].NamesDir()
	if t := o.Net.Transports; t != nil {
		j.TCP, j.UDT, j.SSH = slices.Contains(t, "tcp"), slices.Contains(t, "udt"), slices.Contains(t, "ssh")
		if j.UDT && !j.TCP && !j.SSH {
			j.TCP, j.SSH = true, true // where nothing gets through over UDP
		}
	}
	if err := checkCongestion(o.Net.Congestion, j.UDT); err != nil {
		return nil, err
	}
	j.Seal = map[string]transports.Seal{"auth": transports.SealAuth, "off": transports.SealOff}[o.Net.Encrypt]
	if !o.Net.Ports.Auto {
		j.Ports = [2]uint16{uint16(o.Net.Ports.First), uint16(o.Net.Ports.Last)}
	}
	var err error
	if j.Bind, err = bindAddr(o.Net.Bind); err != nil {
		return nil, err
	}
	for _, d := range o.Net.DataAddrs {
		if d.Host != "" && d.Host != j.FarHost() {
			continue
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", d.Addr)
		if err != nil {
			return nil, usageError(fmt.Sprintf("--data-addr %s: is no address and no name with one", d.Addr))
		}
		j.DataAddr = append(j.DataAddr, addrs...)
	}
	if bs := o.Storage.BlockSize; bs != 0 && !(integrity.ValidBlockSize(bs) && bs <= engine.MaxBlock) {
		return nil, usageError(fmt.Sprintf("--block-size %d: must be a power of two from 64K to 16M", bs))
	}
	j.Engine = engine.Options{
		BlockSize: o.Storage.BlockSize, StallMs: o.Safety.StallTimeout.Milliseconds(),
		CC: o.Net.Congestion, Priority: o.Net.Priority, Interval: int64(o.Net.Interval), OnChange: o.Safety.OnChange,
		Existing: o.Safety.Existing, Checksum: o.Safety.Checksum, SizeOnly: o.Safety.SizeOnly, Resume: o.Safety.Resume,
		Fsync: string(o.Attr.Sync), Verify: o.Safety.Verify, NoSpaceCheck: o.Safety.NoSpaceCheck, Discard: o.Safety.DiscardPartial,
		Expect: hex.EncodeToString(o.Safety.Expect),
		Attrs:  store.Attrs{Perms: o.Attr.Perms, Special: o.Copy.Archive, Times: o.Attr.Times, Owner: o.Attr.Owner, Group: o.Attr.Group},
	}
	j.Probe = o.Net.Probe
	if err := checkPriority(o, j); err != nil {
		return nil, err
	}
	if o.Net.Retune != "off" {
		j.Engine.Retune = o.Net.Retune
	}
	if s := o.Net.Streams; !s.Auto {
		j.Engine.StreamsMin, j.Engine.StreamsMax = s.Min, s.Max
	}
	// One frame for each stream at each end is what the buffers come to.
	bs := max(j.Engine.BlockSize, engine.DefaultBlock)
	fit := int(max(1, o.Storage.Memory/bs))
	if o.Storage.Memory > 0 && j.Engine.StreamsMin > fit {
		return nil, usageError(fmt.Sprintf("--streams %d with blocks of %s need more than --memory %s", j.Engine.StreamsMin, units.ExactSize(bs), units.ExactSize(o.Storage.Memory)))
	}
	if o.Storage.Memory > 0 && (j.Engine.StreamsMax == 0 || j.Engine.StreamsMax > fit) {
		j.Engine.StreamsMax = min(fit, 256)
	}
	j.Engine.Memory = o.Storage.Memory
	if err := j.CheckMemory(); err != nil {
		return nil, usageError(err.Error())
	}
	if len(j.Sources) > 1 && j.Engine.Expect != "" {
		return nil, usageError("--expect: needs a single file")
	}
	return j, loginOptions(env, o, j, hash)
}

// leDSCP is the class of traffic that gives way (RFC 8622).
const leDSCP = 1

// checkPriority refuses what would take all that there is, and marks what gives way.
func checkPriority(o *Options, j *mover.Job) error {
	switch o.Net.Priority {
	case engine.Bold:
		if _, given := o.Set["bwlimit"]; !given {
			return usageError("--priority bold: needs a limit", "--bwlimit 800Mbit")
		}
	case engine.Background:
		if _, given := o.Set["dscp"]; !given {
			j.DSCP = leDSCP
		}
	}
	return nil
}

// checkCongestion refuses what UDT does not know, and what only it knows. What the
// kernels know is seen when they are asked.
func checkCongestion(name string, udt bool) error {
	switch {
	case name == "":
	case udt:
		if err := mover.CheckUDTControl(name); err != nil {
			text := fmt.Sprintf("--cc %s: for --transport=udt it is one of %s", name, mover.UDTControls())
			if small := strings.ToLower(name); mover.CheckUDTControl(small) == nil {
				return usageError(text, "did you mean --cc "+small+"?")
			}
			return usageError(text)
		}
	case strings.Contains(name, "="):
		return usageError(fmt.Sprintf("--cc %s: only --transport=udt has that", name))
	}
	return nil
}

// bindAddr is the address of --bind, which may name an interface.
func bindAddr(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return a, nil
	}
	ifc, err := net.InterfaceByName(s)
	if err != nil {
		return netip.Addr{}, usageError(fmt.Sprintf("--bind %s: is neither an address nor an interface of this machine", s))
	}
	addrs, err := ifc.Addrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && err == nil {
			if b, ok := netip.AddrFromSlice(n.IP); ok && !b.Unmap().IsLinkLocalUnicast() {
				return b.Unmap(), nil
			}
		}
	}
	return netip.Addr{}, usageError(fmt.Sprintf("--bind %s: has no address", s))
}

// loginOptions says how to log in and what to start there. hash is as for newJob.
func loginOptions(env Env, o *Options, j *mover.Job, hash string) error {
	name := env.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	j.Login = sshboot.Options{
		Home: env.Home, LocalUser: name, LookupEnv: env.LookupEnv, Identities: o.SSH.Identities, Jump: o.SSH.Jump, Extra: o.SSH.Raw,
		AgentSocket: env.Getenv("SSH_AUTH_SOCK"), Program: o.SSH.Program, IPv4: j.IPv4, IPv6: j.IPv6,
	}
	// The default is weaker than ssh_config; sshboot has the same one.
	if _, given := o.Set["connect-timeout"]; given {
		j.Login.ConnectTimeout = o.SSH.ConnectTimeout
	}
	if o.SSH.ConfigFile != "" {
		j.Login.ConfigFiles = []string{o.SSH.ConfigFile}
	} else {
		j.Login.ConfigFiles = []string{env.Home + "/.ssh/config", "/etc/ssh/ssh_config"}
	}
	if o.Output.Verbose >= 2 {
		j.Login.Verbose = func(text string) { fmt.Fprintf(env.Stderr, "gomover: ssh: %s\n", printable(text)) }
	}
	if o.SSH.Port != 0 {
		for i := range j.Sources {
			if j.Sources[i].Remote && j.Sources[i].Port == 0 {
				j.Sources[i].Port = o.SSH.Port
			}
		}
		if j.Dest.Remote && j.Dest.Port == 0 {
			j.Dest.Port = o.SSH.Port
		}
	}
	j.Boot = sshboot.BootOptions{GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, Dir: o.SSH.AgentDir, Keep: o.SSH.AgentKeep,
		Program: func() (io.ReadCloser, int64, error) {
			f, err := self()
			if err != nil {
				return nil, 0, err
			}
			info, err := f.Stat()
			if err != nil {
				f.Close()
				return nil, 0, err
			}
			return f, info.Size(), nil
		}}
	if o.SSH.Agent != "" && o.SSH.Agent != "auto" {
		j.Boot.Command = o.SSH.Agent
	}
	if j.Boot.Hash = hash; hash != "" || j.FarHost() == "" {
		return nil
	}
	var err error
	if j.Boot.Hash, err = selfHash(); err != nil {
		return &exitError{Code: exitInternal, Msg: err.Error()}
	}
	return nil
}
