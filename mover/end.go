package mover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/wire"
)

// end is a source or a sink in this process.
type end interface {
	Run(ctx context.Context) error
	Totals() engine.Totals
}

// sourceSpec says what a source reads.
type sourceSpec struct {
	Path   []byte `json:"path"`
	Inside bool   `json:"inside,omitempty"`
	Shown  string `json:"shown"`
}

// readSpec is all a source end needs.
type readSpec struct {
	Sources   []sourceSpec `json:"sources"`
	Recursive bool         `json:"recursive,omitempty"`
	Glob      bool         `json:"glob,omitempty"`
	Links     string       `json:"links,omitempty"`
}

// writeSpec is all a sink end needs.
type writeSpec struct {
	Path    []byte `json:"path"`
	Shown   string `json:"shown"`
	Slash   bool   `json:"slash,omitempty"`
	Exact   bool   `json:"exact,omitempty"`
	MkPath  bool   `json:"mkpath,omitempty"`
	Several bool   `json:"several,omitempty"`
	// Never are real paths of source directories on the same host, which the
	// destination must not lie in.
	Never [][]byte `json:"never,omitempty"`
}

// expandGlobs replaces patterns that are no literal names by what they match.
func expandGlobs(list []sourceSpec) ([]sourceSpec, error) {
	var out []sourceSpec
	for _, s := range list {
		p := string(s.Path)
		if !strings.ContainsAny(p, "*?[") {
			out = append(out, s)
			continue
		}
		if _, err := os.Lstat(p); err == nil {
			out = append(out, s)
			continue
		}
		found, err := doublestar.FilepathGlob(p, doublestar.WithFailOnIOErrors())
		if err != nil {
			return nil, wire.Failf(wire.ClassSource, "%s: %v", s.Shown, err)
		}
		if len(found) == 0 {
			return nil, wire.Failf(wire.ClassSource, "%s: nothing matches", s.Shown)
		}
		for _, f := range found {
			out = append(out, sourceSpec{Path: []byte(f), Inside: s.Inside, Shown: strings.TrimSuffix(s.Shown, p) + f})
		}
	}
	return out, nil
}

// openSources opens what a source reads. The caller closes them.
func openSources(r *readSpec, warn func(text, path string)) (roots []engine.SourceRoot, err error) {
	defer func() {
		if err != nil {
			closeSources(roots)
		}
	}()
	list := r.Sources
	if r.Glob {
		if list, err = expandGlobs(list); err != nil {
			return nil, err
		}
	}
	if len(list) > wire.MaxRoots {
		return nil, wire.Failf(wire.ClassUsage, "%d sources are more than %d", len(list), wire.MaxRoots)
	}
	links := linksOf(r.Links)
	for _, s := range list {
		p := string(s.Path)
		info, err := os.Stat(p)
		if err != nil {
			return roots, sourceFail(s.Shown, err)
		}
		if info.IsDir() && !r.Recursive {
			return roots, &wire.Fail{Class: wire.ClassUsage, Text: s.Shown + ": is a directory", Hints: []string{"add -r to copy it with its contents"}}
		}
		if !info.IsDir() && s.Inside && strings.HasSuffix(p, "/") {
			return roots, wire.Failf(wire.ClassSource, "%s: is not a directory", s.Shown)
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return roots, wire.Failf(wire.ClassSource, "%s: is neither a file nor a directory", s.Shown)
		}
		st, err := osfs.NewSource(p, osfs.SourceOptions{Links: links, Skipped: func(e store.Entry) { warn("link left out", e.Name) }})
		if err != nil {
			return roots, sourceFail(s.Shown, err)
		}
		base := filepath.Base(filepath.Clean(p))
		if base == ".." || base == "." || base == "/" {
			s.Inside, base = true, ""
		}
		roots = append(roots, engine.SourceRoot{Store: st, Base: base, Inside: s.Inside && info.IsDir(), Shown: s.Shown})
	}
	return roots, nil
}

func closeSources(roots []engine.SourceRoot) {
	for _, r := range roots {
		r.Store.Close()
	}
}

func sourceFail(shown string, err error) error {
	text := err.Error()
	var pe *fs.PathError
	if errors.As(err, &pe) {
		text = pe.Err.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		text = "no such file or directory"
	}
	return wire.Failf(wire.ClassSource, "%s: %s", shown, text)
}

// target makes the engine's target of a writeSpec.
func target(w *writeSpec, jobID string, attrs store.Attrs, denied func(name string, err error)) engine.Target {
	p := string(w.Path)
	if p == "" {
		p = "."
	}
	slash := w.Slash
	if len(p) > 1 && strings.HasSuffix(p, "/") {
		slash = true
	}
	return engine.Target{
		Path: path.Clean(filepath.ToSlash(p)), Shown: w.Shown, Slash: slash, Exact: w.Exact, MkPath: w.MkPath, Several: w.Several,
		Open: func(root string, create bool) (store.Dest, error) {
			return osfs.NewDest(root, osfs.DestOptions{JobID: jobID, Create: create, PrivateDirs: attrs.Perms, Denied: denied})
		},
		Stat:     os.Stat,
		Resolve:  followLink,
		MkdirAll: func(p string) error { return os.MkdirAll(p, 0o777) },
	}
}

// followLink gives the path of what the links at p lead to; p itself when there
// is no link.
func followLink(p string) (string, error) {
	info, err := os.Lstat(p)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return p, nil // what is wrong with it shows when it is opened
	}
	to, err := filepath.EvalSymlinks(p)
	return filepath.ToSlash(to), err
}

// refuseSame refuses a local file that would be copied onto itself.
func refuseSame(r *readSpec, w *writeSpec) error {
	to := string(w.Path)
	if to == "" {
		to = "."
	}
	dir := w.Slash
	if info, err := os.Stat(to); err == nil && info.IsDir() && !w.Exact {
		dir = true
	}
	for i := range r.Sources {
		from := string(r.Sources[i].Path)
		p := to
		if dir {
			p = filepath.Join(to, filepath.Base(from))
		}
		a, err := os.Stat(from)
		if err != nil || a.IsDir() {
			continue
		}
		if b, err := os.Stat(p); err == nil && os.SameFile(a, b) {
			return wire.Failf(wire.ClassUsage, "%s and %s are the same file", r.Sources[i].Shown, p)
		}
	}
	return nil
}

// refuseInside refuses a destination that lies in one of the directories.
func refuseInside(w *writeSpec) error {
	p := string(w.Path)
	if p == "" {
		p = "."
	}
	real, err := realPath(p)
	if err != nil {
		return nil // what does not exist is met when it is opened
	}
	for _, n := range w.Never {
		if d := string(n); real == d || strings.HasPrefix(real, strings.TrimSuffix(d, "/")+"/") {
			return wire.Failf(wire.ClassUsage, "%s: lies inside the source %s", w.Shown, d)
		}
	}
	return nil
}

// realPath resolves links in the part of p that exists.
func realPath(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	rest := ""
	for dir := abs; ; dir = filepath.Dir(dir) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return "", fmt.Errorf("resolving %s: %w", p, err)
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// sourceDirs are the real paths of the directories among the sources.
func sourceDirs(list []sourceSpec) (dirs [][]byte) {
	for _, s := range list {
		if info, err := os.Stat(string(s.Path)); err != nil || !info.IsDir() {
			continue
		}
		if real, err := realPath(string(s.Path)); err == nil {
			dirs = append(dirs, []byte(real))
		}
	}
	return dirs
}

// denyOnce warns once that owners can't be set.
func denyOnce(rec events.Recorder) func(string, error) {
	return onceDenied(func(text string) { record(rec, events.Warn{Code: "dest.owner", Message: text}) })
}
