package main

import (
	"errors"
	"strings"

	"github.com/gomover/gomover/internal/location"
)

// readWords decides what the words of a copy mean, or refuses them.
//
// It looks at local names and contacts nothing. The plan that comes back is one
// that this version carries out: a push to one or several destinations, a pull from
// one host, or a local copy.
// Errors: *exitError with exitUsage, exitSource or exitDestination.
func readWords(env Env, o *Options, words []string) (location.Plan, error) {
	plan, err := classify(env, o, words)
	var bad *location.Error
	if errors.As(err, &bad) {
		return location.Plan{}, wordError(bad, hintsToday(env, o, words, bad.Hints))
	}
	if err == nil {
		err = multicastOnly(o, len(plan.Dests))
	}
	return plan, err
}

// multicastOnly refuses --transport=xm where there can be no multicast.
func multicastOnly(o *Options, dests int) error {
	if !o.Net.Multicast || len(o.Net.Transports) > 0 {
		return nil
	}
	if dests < 2 {
		return usageError("--transport xm: is multicast to several destinations, and there is one")
	}
	_, err := fanHow(o)
	return err
}

// exists asks the local file system about one path, following links.
func (e Env) exists(path string) location.Exist {
	info, err := e.Stat(path)
	switch {
	case err != nil:
		return location.Missing
	case info.IsDir():
		return location.Directory
	}
	return location.File
}

// wordError gives a refused word its exit code.
func wordError(bad *location.Error, hints []string) error {
	code := exitUsage
	switch bad.Fault {
	case location.FaultSource:
		code = exitSource
	case location.FaultDest:
		code = exitDestination
	}
	return &exitError{Code: code, Msg: bad.Msg, Hints: hints, Err: bad}
}

// refuseLater refuses a plan that this version understands and does not carry
// out, with what works instead.
func refuseLater(p location.Plan) error {
	src, dst := p.Sources[0].Shown(), p.Dests[0].Shown()
	refuse := func(what, instead string) error {
		return laterUsage(what, instead)
	}
	switch p.Mode {
	case location.FanOut:
		for _, s := range p.Sources {
			if s.Kind != location.Local {
				return refuse("from "+s.Shown()+" to several destinations", "copy to this machine first, then on to the other")
			}
		}
	case location.ThirdParty:
		return refuse("from "+src+" to "+dst+", both remote", "copy to this machine first, then on to the other")
	case location.FromStdin:
		return refuse("copying from standard input", "write a file first and copy that")
	case location.ToStdout:
		return refuse("copying to standard output", "copy to a file first: gomover "+src+" ./")
	case location.Fetch:
		return refuse("copying from "+src, "use gomover pull URL FILE, which writes to this machine")
	case location.Mixed:
		return refuse("sources from several kinds of places", "run gomover once for each place")
	case location.ReplicaPull:
		return refusePull(p)
	case location.Pull:
		for _, s := range p.Sources {
			if f := p.Sources[0]; s.User != f.User || !strings.EqualFold(s.Host, f.Host) || s.Port != f.Port {
				return refuse("sources on several hosts ("+src+", "+s.Shown()+")", "run gomover once for each host")
			}
		}
	}
	return nil
}
