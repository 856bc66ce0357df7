package location

import (
	"path"
	"strings"
)

// check makes the checks that need no host, and completes IntoDir.
func (r *reader) check(p *Plan) *Error {
	for _, d := range p.Dests {
		if d.Kind == Local && p.Mode != FromStdin && (r.exists(d.Path) == Directory || d.NamesDir()) || d.Kind == Remote && d.NamesDir() {
			p.IntoDir = p.IntoDir || len(p.Dests) == 1
		}
	}
	if r.o.Exact {
		if len(p.Sources) > 1 && p.Mode != ReplicaPull {
			return refuse("-T takes one source, since the destination is its exact name")
		}
		if r.o.TargetDir != "" {
			return refuse("-t and -T exclude one another")
		}
		p.IntoDir = false
	}
	if err := r.checkSources(p); err != nil {
		return err
	}
	if err := r.checkDests(p); err != nil {
		return err
	}
	return r.checkPairs(p)
}

// checkSources refuses a lone missing source, directories without -r, URLs
// without a file name, and sources that would get one name.
func (r *reader) checkSources(p *Plan) *Error {
	names := map[string]Location{}
	for _, s := range p.Sources {
		if s.Kind == Local {
			switch r.exists(s.Path) {
			case Missing:
				if len(p.Sources) == 1 {
					return refuse(s.Raw + ": no such file or directory").with(FaultSource)
				}
			case Directory:
				if !r.o.Recursive {
					return refuse(s.Raw+": is a directory", "add -r to copy it with its contents")
				}
			}
		}
		if p.Mode == ReplicaPull || p.Mode == FromStdin || p.Mode == ToStdout {
			continue
		}
		base := s.Base()
		if s.Kind == URL && base == "" && (p.IntoDir || p.Dests[0].Kind == Remote) {
			return refuse(s.Shown()+": the URL names no file", "give a file name: "+command(s.Shown(), "./NAME"))
		}
		if len(p.Sources) == 1 || base == "" || s.Contents() || s.Kind == Remote && strings.ContainsAny(base, "*?[") {
			continue
		}
		if first, ok := names[base]; ok {
			return sameName(first, s, p.Dests[0], base)
		}
		names[base] = s
	}
	return nil
}

// sameName refuses two sources that would be written to one name.
func sameName(a, b, dst Location, base string) *Error {
	target := dst.Path
	switch {
	case dst.Kind == Remote && dst.Path == "":
		target = dst.Raw + base
	case dst.Kind == Remote:
		target = strings.TrimSuffix(dst.Raw, "/") + "/" + base
	default:
		target = strings.TrimSuffix(target, "/") + "/" + base
	}
	hint := ""
	if dst.Kind == Local {
		hint = "if they are copies of one file: " + command("pull", a.Shown(), b.Shown(), target)
	}
	return refuse(a.Shown()+" and "+b.Shown()+" would both be written to "+target, hint)
}

// checkDests refuses one destination given twice, a file where a directory is
// needed, and a local destination whose parent is missing.
func (r *reader) checkDests(p *Plan) *Error {
	seen := map[Location]string{}
	for _, d := range p.Dests {
		key := Location{Kind: d.Kind, User: d.User, Host: strings.ToLower(d.Host), Port: d.Port, Path: clean(d)}
		if first, ok := seen[key]; ok {
			return refuse(first + " and " + d.Raw + " are the same destination")
		}
		seen[key] = d.Raw
		if d.Kind != Local {
			continue
		}
		state := r.exists(d.Path)
		if p.IntoDir && state == File {
			return refuse(d.Raw + ": is not a directory").with(FaultDest)
		}
		if state != Missing {
			continue
		}
		if err := r.checkParent(d); err != nil {
			return err
		}
	}
	return nil
}

// checkParent names the first missing parent of a local destination that does
// not exist: only its last element is made without --mkpath.
func (r *reader) checkParent(d Location) *Error {
	if r.o.MakePath {
		return nil
	}
	p := d.slashed()
	trimmed := strings.TrimRight(p, "/")
	for i := 1; i < len(trimmed); i++ {
		if trimmed[i] != '/' || trimmed[i-1] == '/' {
			continue
		}
		parent := d.Path[:i]
		switch r.exists(parent) {
		case Missing:
			// A drive without a directory and the start of a network path are
			// not things that can be looked at or made.
			if strings.HasPrefix(p, "//") && strings.Count(parent, `\`)+strings.Count(parent, "/") < 4 {
				continue
			}
			return refuse("local: no such directory: "+parent, "add --mkpath to create it").with(FaultDest)
		case File:
			return refuse("local: " + parent + ": is not a directory").with(FaultDest)
		}
	}
	return nil
}

// clean gives a path without needless parts, for comparing. Remote paths keep
// the difference between the home directory and the root.
func clean(l Location) string {
	if l.Path == "" || l.Path == "~" || l.Path == "~/" {
		return "."
	}
	return path.Clean(strings.TrimPrefix(l.slashed(), "~/"))
}

// checkPairs refuses a source that is its own destination or holds it. It sees
// only what the words say; links and mounts are for those who can ask the disk.
func (r *reader) checkPairs(p *Plan) *Error {
	if p.Mode == FromStdin || p.Mode == ToStdout {
		return nil
	}
	for _, s := range p.Sources {
		// A list of places is read, not copied.
		if p.Mode == ReplicaPull && strings.HasSuffix(s.Path, ".meta4") {
			continue
		}
		for _, d := range p.Dests {
			if s.Kind != d.Kind || s.User != d.User || !strings.EqualFold(s.Host, d.Host) || s.Port != d.Port {
				continue
			}
			from, to := clean(s), clean(d)
			isDir := s.Kind == Local && r.exists(s.Path) == Directory
			if p.IntoDir && !(isDir && s.Contents()) || isDir && !r.o.Exact && !s.Contents() {
				to = path.Join(to, s.Base())
			}
			if from == to {
				return refuse(s.Raw + " and " + d.Raw + " are the same " + sameWhat(isDir))
			}
			if isDir && (strings.HasPrefix(to, from+"/") || from == "." && !strings.HasPrefix(to, "/") && to != ".." && !strings.HasPrefix(to, "../") || from == "/") {
				return refuse(d.Raw + ": lies inside " + s.Raw)
			}
		}
	}
	return nil
}

// sameWhat names what two words both are.
func sameWhat(dir bool) string {
	if dir {
		return "directory"
	}
	return "file"
}
