package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/gomover/gomover/internal/units"
)

// maxConfigLen is the longest configuration file that is read, in bytes; ours,
// far above what a person writes.
const maxConfigLen = 1 << 20

// setting is one option with a value and where it was given.
type setting struct {
	option *option
	value  string
	shown  string // the setting and its place, as in a message
	source Source
}

// hostSection is what a file says about some hosts.
type hostSection struct {
	patterns []string
	settings []setting
}

// configFile is one file, read and checked.
type configFile struct {
	global []setting
	hosts  []hostSection
}

// layers are all the places of settings, from weak to strong.
type layers struct {
	env   Env
	files []configFile
	vars  []setting
	line  []setting
}

// resolve gives the options of a run: the defaults, overridden by configuration
// files, then the environment, then the command line. Every value is checked,
// also those of sections for hosts that may never be met. Errors: *exitError
// with exitUsage.
func resolve(env Env, line []given) (*Options, error) {
	l := &layers{env: env}
	for _, g := range line {
		l.line = append(l.line, setting{option: findID(g.id), value: g.value, shown: g.typed, source: Source{From: FromCommandLine, Where: g.typed}})
	}
	if err := l.readEnvironment(); err != nil {
		return nil, err
	}
	if err := l.readFiles(); err != nil {
		return nil, err
	}
	for _, f := range l.files {
		for _, h := range f.hosts {
			if err := applyAll(newOptions(), env, h.settings); err != nil {
				return nil, err
			}
		}
	}
	return l.build(nil)
}

// ForHost gives the options as they are for one host: sections of the
// configuration whose pattern matches one of its names (as typed, or as resolved
// by ssh) come after the general settings of their file.
func (o *Options) ForHost(names ...string) *Options {
	if o.from == nil {
		return o
	}
	out, err := o.from.build(names)
	if err != nil {
		// Every value was accepted by resolve already.
		return o
	}
	return out
}

// build applies all layers in order.
func (l *layers) build(hosts []string) (*Options, error) {
	o := newOptions()
	o.from = l
	for _, f := range l.files {
		if err := applyAll(o, l.env, f.global); err != nil {
			return nil, err
		}
		for _, h := range f.hosts {
			if !h.matches(hosts) {
				continue
			}
			if err := applyAll(o, l.env, h.settings); err != nil {
				return nil, err
			}
		}
	}
	if err := applyAll(o, l.env, l.vars); err != nil {
		return nil, err
	}
	if err := applyAll(o, l.env, l.line); err != nil {
		return nil, err
	}
	o.finish(l.env)
	return o, nil
}

// newOptions gives the defaults of the table.
func newOptions() *Options {
	o := &Options{Set: map[string]Source{}}
	for i := range optionTable {
		p := &optionTable[i]
		if p.available() && p.kind != kindAlias && p.def != noDefault {
			// A test checks that every default is a value of its option.
			_ = p.store(o, p.def)
		}
	}
	return o
}

// applyAll stores settings in order.
func applyAll(o *Options, env Env, settings []setting) error {
	for _, s := range settings {
		if err := s.apply(o); err != nil {
			return err
		}
	}
	return nil
}

// apply stores one setting.
func (s setting) apply(o *Options) error {
	p := s.option
	switch {
	case p.later != "":
		return laterUsage(s.shown, p.later)
	case p.kind == kindForeign:
		return usageError(s.shown + ": " + p.answer)
	case p.kind == kindIgnored:
		return nil
	case p.kind == kindAlias:
		if s.value == "no" {
			return nil
		}
		for _, a := range p.alias {
			if err := (setting{option: findID(a.id), value: a.value, shown: s.shown, source: s.source}).apply(o); err != nil {
				return err
			}
		}
		return nil
	}
	if err := p.store(o, s.value); err != nil {
		return s.refuse(err)
	}
	o.applied++
	s.source.order = o.applied
	o.Set[p.id()] = s.source
	return nil
}

// refuse says which setting was wrong and where it stands.
func (s setting) refuse(err error) error {
	var bad *units.ValueError
	if errors.As(err, &bad) {
		return usageError(s.shown+": "+bad.Reason, bad.Hint)
	}
	return usageError(s.shown + ": " + err.Error())
}

// archived are the options that -a stands for.
var archived = []struct {
	id string
	at func(o *Options)
}{
	{"recursive", func(o *Options) { o.Copy.Recursive = true }},
	{"links", func(o *Options) { o.Attr.Links = LinksCopy }},
	{"perms", func(o *Options) { o.Attr.Perms = true }},
	{"times", func(o *Options) { o.Attr.Times = true }},
	{"owner", func(o *Options) { o.Attr.Owner = true }},
	{"group", func(o *Options) { o.Attr.Group = true }},
	{"specials", func(o *Options) { o.Attr.Specials = true }},
}

// finish resolves what depends on several options: -a gives way to what was set
// after it, and paths that no shell has seen get their home directory.
func (o *Options) finish(env Env) {
	if o.Copy.Archive {
		for _, a := range archived {
			if o.Set[a.id].order < o.Set["archive"].order {
				a.at(o)
			}
		}
	}
	for _, p := range []*string{&o.Safety.StateDir, &o.SSH.ConfigFile} {
		*p = env.expandHome(*p)
	}
	for i := range o.SSH.Identities {
		o.SSH.Identities[i] = env.expandHome(o.SSH.Identities[i])
	}
}

// readEnvironment takes GOMOVER_<OPTION> for every long option.
func (l *layers) readEnvironment() error {
	for i := range optionTable {
		p := &optionTable[i]
		if p.name == "" || p.name == "help" || p.name == "version" || p.name == "config" {
			continue
		}
		name := envName(p.name)
		if value, ok := l.env.LookupEnv(name); ok && value != "" {
			l.vars = append(l.vars, setting{option: p, value: value, shown: name + "=" + value, source: Source{From: FromEnvironment, Where: name}})
		}
	}
	return nil
}

// readFiles reads the system's, the user's and the given file, as far as they are
// wanted.
func (l *layers) readFiles() error {
	file, wanted, err := l.wantedFiles()
	if err != nil || !wanted {
		return err
	}
	if l.env.SystemConfig != "" {
		if err := l.readFile(l.env.SystemConfig, fileSystem); err != nil {
			return err
		}
	}
	if user := l.userFile(); user != "" {
		if err := l.readFile(user, fileUser); err != nil {
			return err
		}
	}
	if file != "" {
		return l.readFile(l.env.expandHome(file), fileGiven)
	}
	return nil
}

// wantedFiles gives the file of --config or GOMOVER_CONFIG, and whether files are
// read at all. An empty GOMOVER_CONFIG means none, as --no-config does.
func (l *layers) wantedFiles() (file string, wanted bool, err error) {
	line := newOptions()
	given := map[string]bool{}
	for _, s := range l.line {
		if s.option.name == "config" || s.option.name == "no-config" {
			given[s.option.name] = true
			if err := s.apply(line); err != nil {
				return "", false, err
			}
		}
	}
	switch {
	case line.Output.NoConfig && given["config"]:
		return "", false, usageError("--config and --no-config exclude one another")
	case line.Output.NoConfig:
		return "", false, nil
	case given["config"]:
		if line.Output.ConfigFile == "" {
			return "", false, usageError("--config: needs a file", "--no-config reads none")
		}
		return line.Output.ConfigFile, true, nil
	}
	for _, s := range l.vars {
		if s.option.name == "no-config" && s.value == "yes" {
			return "", false, nil
		}
	}
	file, ok := l.env.LookupEnv(envName("config"))
	return file, !ok || file != "", nil
}

// userFile is the user's own file, or "" when there is no home directory.
func (l *layers) userFile() string {
	switch {
	case l.env.UserConfig != "":
		return l.env.UserConfig
	case l.env.Getenv("XDG_CONFIG_HOME") != "":
		return path.Join(l.env.Getenv("XDG_CONFIG_HOME"), "gomover/config")
	case l.env.Home != "":
		return path.Join(l.env.Home, ".config/gomover/config")
	}
	return ""
}

// fileKind says whose a configuration file is.
type fileKind uint8

// The kinds of configuration files.
const (
	fileSystem fileKind = iota + 1
	fileUser
	fileGiven
)

// readFile reads one file. One that does not exist is an error only when it was
// asked for.
func (l *layers) readFile(name string, kind fileKind) error {
	shown := l.env.shortHome(name)
	info, err := l.env.Stat(name)
	if errors.Is(err, fs.ErrNotExist) && kind != fileGiven {
		return nil
	}
	if err != nil {
		return fileError(shown, err)
	}
	if kind == fileUser && !l.env.Windows && info.Mode().Perm()&0o002 != 0 {
		return usageError(shown+": others may write to this configuration", "chmod o-w "+shown)
	}
	if info.Size() > maxConfigLen {
		return usageError(fmt.Sprintf("%s: has %d bytes, at most %d are read", shown, info.Size(), maxConfigLen))
	}
	text, err := l.env.ReadFile(name)
	if err != nil {
		return fileError(shown, err)
	}
	f, err := parseConfig(string(text), shown, kind)
	if err != nil {
		return err
	}
	l.files = append(l.files, f)
	return nil
}

// fileError says why a configuration file cannot be read, without what the
// system call was named.
func fileError(shown string, err error) error {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	e := usageError("reading the configuration " + shown + ": " + err.Error())
	e.Err = err
	return e
}

// parseConfig reads the lines of a file: "key = value", "[host PATTERN...]", and
// comments. Values are checked later.
func parseConfig(text, shown string, kind fileKind) (configFile, error) {
	var f configFile
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		where := shown + ", line " + strconv.Itoa(i+1)
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '[':
			section, err := parseSection(line, where)
			if err != nil {
				return configFile{}, err
			}
			f.hosts = append(f.hosts, section)
			continue
		}
		s, err := parseSetting(line, where, kind)
		if err != nil {
			return configFile{}, err
		}
		if n := len(f.hosts); n > 0 {
			f.hosts[n-1].settings = append(f.hosts[n-1].settings, s)
		} else {
			f.global = append(f.global, s)
		}
	}
	return f, nil
}

// parseSection reads "[host PATTERN...]".
func parseSection(line, where string) (hostSection, error) {
	inner, ok := strings.CutSuffix(line[1:], "]")
	words := strings.Fields(inner)
	if !ok || len(words) < 2 || words[0] != "host" {
		return hostSection{}, usageError(where+": "+line+": is not a section", "[host PATTERN...]")
	}
	for _, p := range words[1:] {
		if _, err := path.Match(p, ""); err != nil {
			return hostSection{}, usageError(where + ": " + p + ": is not a pattern")
		}
	}
	return hostSection{patterns: words[1:]}, nil
}

// parseSetting reads "key = value".
func parseSetting(line, where string, kind fileKind) (setting, error) {
	key, value, ok := strings.Cut(line, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" {
		return setting{}, usageError(where+": "+line+": is not a setting", "NAME = VALUE")
	}
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	p, bare := findLong(key)
	if p == nil || bare == "no" {
		nearest := strings.TrimPrefix(nearestOption("--"+key), "--")
		if p != nil {
			nearest = p.name + " = no"
		}
		return setting{}, usageError(where+": "+key+": unknown setting", nearest)
	}
	if p.private && (kind != fileGiven || p.name == "config" || p.name == "no-config" || p.name == "help" || p.name == "version") {
		return setting{}, usageError(where+": "+key+": cannot be set in a file, since it changes what a command means", "--"+key+" on the command line")
	}
	if p.kind == kindAlias && value != "yes" && value != "no" {
		return setting{}, usageError(where + ": " + key + " = " + value + ": must be yes or no")
	}
	return setting{option: p, value: value, shown: where + ": " + key + " = " + value, source: Source{From: FromFile, Where: where}}, nil
}

// matches reports whether one of the names fits one of the patterns, without
// regard to case. "*" and "?" stand for any characters.
func (h hostSection) matches(names []string) bool {
	for _, name := range names {
		for _, p := range h.patterns {
			if ok, err := path.Match(strings.ToLower(p), strings.ToLower(name)); err == nil && ok {
				return true
			}
		}
	}
	return false
}
