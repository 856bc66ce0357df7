package main

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/location"
	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/sshboot"
)

// runPull fetches files from their replicas and shows it.
func runPull(ctx context.Context, env Env, o *Options, words []string) error {
	plan, err := readPull(env, o, words)
	if err != nil {
		return refused(env, o.Output.JSON, err)
	}
	j, err := pullJob(ctx, env, o, plan)
	if err != nil {
		return refused(env, o.Output.JSON, err)
	}
	begin := []events.Event{events.JobStart{Version: version, Argv: withoutSecrets(env.Args), Mode: "pull", Sources: shownLocations(plan.Sources), Dests: shown([]mover.Place{j.Dest})}}
	if o.Net.Retune == "observe" {
		begin = append(begin, events.Warn{Code: "net.retune", Message: "--retune=observe: a pull does not tell what it would change"})
	}
	return runJob(ctx, env, o, j, begin)
}

// readPull reads the words of a pull; lists count as sources.
func readPull(env Env, o *Options, words []string) (location.Plan, error) {
	o.Pull.Words = true
	plan, err := readWords(env, o, words)
	if err != nil || !o.Copy.Recursive {
		return plan, err
	}
	for i, s := range plan.Sources {
		switch list := isList(o, i, s); {
		case list && len(plan.Sources) > 1:
			return plan, usageError(s.Shown()+": a list names its files, and does not go with trees", "pull it by itself, without -r")
		case !list && s.Kind == location.URL:
			return plan, usageError(s.Shown()+": a mirror does not tell what is in a tree", "use a list that names the files: --metalink FILE")
		case !list && o.Pull.TrustMirrors:
			return plan, usageError("--trust-mirrors: does not go with trees, of which every block is compared")
		}
	}
	if o.Safety.Expect != nil {
		return plan, usageError("--expect: needs a single file")
	}
	return plan, nil
}

// isList tells whether source number i of a pull is a list.
func isList(o *Options, i int, s location.Location) bool {
	return i < len(o.Pull.Lists) || strings.HasSuffix(s.Path, ".meta4")
}

// pullJob makes the job of a pull.
func pullJob(ctx context.Context, env Env, o *Options, plan location.Plan) (*mover.Job, error) {
	if p := o.Net.Priority; p != "" && p != engine.Fair {
		return nil, usageError("--priority "+p+": replicas cannot be told", "limit the rate: --bwlimit 200Mbit")
	}
	// What a copy asks of its only source is what a pull asks of all.
	one := plan
	one.Sources = plan.Sources[:1]
	j, err := newJob(ctx, env, o, one, "")
	if err != nil {
		return nil, err
	}
	j.Sources, j.IntoDir = nil, o.Copy.TargetDir != ""
	if !o.Copy.Recursive {
		j.MinRate = 0 // a pull of a file has its own watch over it
	}
	p := o.Pull
	j.Pull = &mover.Pull{ListFile: p.ListFile, Location: p.Location, RequireSignature: p.RequireSignature, Streams: p.MirrorStreams, MaxSources: p.MaxSources, MinRate: p.MinRate,
		Trust: p.TrustMirrors, Proxy: http.ProxyFromEnvironment}
	for i, s := range plan.Sources {
		r := mover.Replica{Path: s.Path, Base: s.Base(), Shown: s.Shown(), Inside: s.Contents()}
		switch s.Kind {
		case location.URL:
			r.URL, r.Path = s.Path, ""
		case location.Remote:
			r.Host, r.User, r.Port = s.Host, s.User, s.Port
			if r.Port == 0 {
				r.Port = o.SSH.Port
			}
		}
		if isList(o, i, s) {
			j.Pull.Lists = append(j.Pull.Lists, r)
			continue
		}
		j.Pull.Replicas = append(j.Pull.Replicas, r)
		if p.Prefer == s.Raw || p.Prefer == "first" && len(j.Pull.Replicas) == 1 {
			j.Pull.Prefer = len(j.Pull.Replicas)
		}
	}
	j.Boot.Uploads = new(sshboot.Uploads)
	if j.Boot.Hash, err = selfHash(); err != nil {
		return nil, &exitError{Code: exitInternal, Msg: err.Error()}
	}
	if p.Prefer != "" && j.Pull.Prefer == 0 {
		return nil, usageError("--prefer " + p.Prefer + ": is none of the replicas")
	}
	return j, nil
}

func shownLocations(l []location.Location) (s []string) {
	for _, x := range l {
		s = append(s, x.Shown())
	}
	return s
}

// withoutSecrets is a command line without the passwords of URLs, which would
// otherwise stay in logs and on screens.
func withoutSecrets(args []string) []string {
	shown := slices.Clone(args)
	for i, a := range shown {
		before, rest, ok := strings.Cut(a, "://")
		if !ok {
			continue
		}
		authority, _, _ := strings.Cut(rest, "/")
		at := strings.LastIndexByte(authority, '@')
		if at < 0 {
			continue
		}
		if user, _, secret := strings.Cut(authority[:at], ":"); secret {
			shown[i] = before + "://" + user + ":***" + rest[at:]
		}
	}
	return shown
}

// refusePull refuses destinations that this version cannot write.
func refusePull(p location.Plan) error {
	if len(p.Dests) > 1 {
		return laterUsage("pull to several destinations", "pull to one of them first, then copy on")
	}
	return nil
}
