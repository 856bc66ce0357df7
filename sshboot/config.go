package sshboot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kevinburke/ssh_config"
)

// settings are the answers of the command line and ssh_config for one host.
type settings struct {
	typed string // as the user wrote the host
	alias string // original host name, "%n"
	host  string // after HostName
	user  string
	port  int
	local string // local user
	home  string
	env   func(string) (string, bool)

	// values by lower-case keyword, in order of precedence; for most keywords
	// only the first counts.
	values map[string][]string
	// explicit counts the identity files at the head of values["identityfile"]
	// that were given by option.
	explicit int
	// notes are conditions that the built-in client does not evaluate.
	notes []string
}

// Limits of ssh_config processing; ours.
const (
	maxInclude    = 16                   // nested Include, as OpenSSH
	maxConfigFile = 4 << 20              // bytes of one file
	maxSpan       = 365 * 24 * time.Hour // longest time, so that sums cannot wrap
	maxHostName   = 255                  // bytes, command-line contract section 3.3
	hintExternal  = "--ssh ssh"          // what helps when the built-in client lacks something
)

// knownKeywords are the keywords that -o may set for the built-in client. Those
// with false have no effect here and none is missed: they shape what a person
// sees or what is already so.
var knownKeywords = map[string]bool{
	"addressfamily": true, "batchmode": true, "bindaddress": true, "casignaturealgorithms": true,
	"certificatefile": true, "challengeresponseauthentication": true, "ciphers": true,
	"connectionattempts": true, "connecttimeout": true, "globalknownhostsfile": true,
	"hashknownhosts": true, "hostkeyalgorithms": true, "hostkeyalias": true, "hostname": true,
	"identitiesonly": true, "identityagent": true, "identityfile": true,
	"kbdinteractiveauthentication": true, "kexalgorithms": true, "macs": true,
	"numberofpasswordprompts": true, "passwordauthentication": true, "port": true,
	"preferredauthentications": true, "proxycommand": true, "proxyjump": true,
	"pubkeyauthentication": true, "revokedhostkeys": true, "serveralivecountmax": true,
	"serveraliveinterval": true, "stricthostkeychecking": true, "tag": true, "user": true,
	"userknownhostsfile": true,
	"checkhostip":        false, "loglevel": false, "tcpkeepalive": false, "updatehostkeys": false,
}

func configError(host, text string, cause error) *Error {
	return &Error{Kind: Config, Host: host, Text: text, Hints: []string{hintExternal}, Err: cause}
}

// loadSettings applies the options and the configuration files to one target.
func loadSettings(t Target, o *Options) (*settings, error) {
	s := &settings{
		typed: t.Host, alias: t.Host, local: o.LocalUser, home: o.Home, env: o.LookupEnv,
		values: make(map[string][]string), explicit: len(o.Identities),
	}
	if t.Port < 0 || t.Port > 65535 {
		return nil, &Error{Kind: Config, Host: t.Host, Text: fmt.Sprintf("port %d: must be 1 to 65535", t.Port)}
	}
	if err := s.fromOptions(t, o); err != nil {
		return nil, err
	}
	files := o.ConfigFiles
	if slices.Contains(files, "none") {
		files = nil
	}
	r := &configReader{s: s}
	if err := r.readAll(files); err != nil {
		return nil, configError(t.Host, err.Error(), err)
	}
	if r.sawFinal {
		r.final = true
		if err := r.readAll(files); err != nil {
			return nil, configError(t.Host, err.Error(), err)
		}
	}
	return s, s.resolve()
}

// fromOptions enters the command line, which wins over every file. The special
// options come before -o, as they are the more deliberate ones.
func (s *settings) fromOptions(t Target, o *Options) error {
	if t.User != "" {
		s.add("user", t.User)
	}
	if t.Port != 0 {
		s.add("port", strconv.Itoa(t.Port))
	}
	for _, f := range o.Identities {
		s.add("identityfile", f)
	}
	if o.Jump != "" {
		s.add("proxyjump", o.Jump)
	}
	for _, text := range o.Extra {
		kvs, err := parseLines(text)
		if err != nil || len(kvs) != 1 || kvs[0].Value == "" {
			return &Error{Kind: Config, Text: fmt.Sprintf("-o %s: not of the form Key=Value", cleanLine(text, 80)), Err: err}
		}
		key := strings.ToLower(kvs[0].Key)
		if _, ok := knownKeywords[key]; !ok {
			return &Error{Kind: Config, Text: fmt.Sprintf("-o %s: the built-in ssh client does not know this option", cleanLine(kvs[0].Key, 80)), Hints: []string{hintExternal}}
		}
		s.add(key, kvs[0].Value)
	}
	switch {
	case o.IPv4 && !o.IPv6:
		s.values["addressfamily"] = []string{"inet"}
	case o.IPv6 && !o.IPv4:
		s.values["addressfamily"] = []string{"inet6"}
	}
	return nil
}

// resolve fixes host, user and port and checks them.
func (s *settings) resolve() error {
	s.user = s.first("user", s.local)
	s.port = 22
	if p := s.first("port", ""); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return &Error{Kind: Config, Host: s.typed, Text: fmt.Sprintf("port %q: must be 1 to 65535", cleanLine(p, 40))}
		}
		s.port = n
	}
	name := s.first("hostname", s.alias)
	host, err := expandWith(name, map[byte]string{'%': "%", 'h': s.alias, 'n': s.alias})
	if err != nil {
		return configError(s.typed, "HostName "+cleanLine(name, 80)+": "+err.Error(), err)
	}
	s.host = strings.ToLower(host)
	if err := checkName("host", s.host); err != nil {
		return &Error{Kind: Config, Host: cleanLine(s.typed, 80), Text: err.Error()}
	}
	if err := checkName("user", s.user); err != nil {
		return &Error{Kind: Config, Host: cleanLine(s.typed, 80), Text: err.Error()}
	}
	if u := s.first("proxyusefdpass", "no"); isYes(u) {
		return configError(s.typed, "ProxyUseFdpass: the built-in ssh client cannot do this", nil)
	}
	return nil
}

// checkName refuses what a far shell, a proxy command or an external ssh could
// take for something else than a name.
func checkName(what, name string) error {
	bad := "'`\"$\\;&<>|(){} \t"
	if what == "user" {
		bad = "'`\"$;&<>|(){}" // directory accounts hold blanks and backslashes
	}
	switch {
	case name == "":
		return fmt.Errorf("empty %s name", what)
	case len(name) > maxHostName:
		return fmt.Errorf("%s name: longer than %d bytes", what, maxHostName)
	case name[0] == '-':
		return fmt.Errorf("%s name %q: must not begin with a dash", what, name)
	case strings.ContainsAny(name, bad), strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%s name %q: not allowed characters", what, name)
	}
	return nil
}

func (s *settings) add(key, value string) { s.values[key] = append(s.values[key], value) }

// first is the value that counts of a keyword.
func (s *settings) first(key, fallback string) string {
	if v := s.values[key]; len(v) > 0 {
		return v[0]
	}
	return fallback
}

func (s *settings) yes(key string, fallback bool) bool {
	if v := s.values[key]; len(v) > 0 {
		return isYes(v[0])
	}
	return fallback
}

func isYes(v string) bool {
	v = strings.ToLower(v)
	return v == "yes" || v == "true"
}

func isNone(v string) bool { return strings.EqualFold(v, "none") }

func (s *settings) number(key string, fallback int) (int, error) {
	v := s.first(key, "")
	if v == "" || isNone(v) {
		return fallback, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, configError(s.typed, fmt.Sprintf("%s %s: not a number", key, cleanLine(v, 40)), nil)
	}
	return n, nil
}

// span reads an ssh time such as 30, 5m or 1h30m.
func (s *settings) span(key string, fallback time.Duration) (time.Duration, error) {
	v := strings.ToLower(s.first(key, ""))
	if v == "" || isNone(v) {
		return fallback, nil
	}
	unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var sum time.Duration
	for rest := v; rest != ""; {
		n := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		count, err := strconv.ParseInt(rest[:n], 10, 32)
		u := time.Second
		rest = rest[n:]
		ok := true
		if rest != "" {
			u, ok = unit[rest[0]]
			rest = rest[1:]
		}
		if err != nil || !ok {
			return 0, configError(s.typed, fmt.Sprintf("%s %s: not a time", key, cleanLine(v, 40)), nil)
		}
		sum += time.Duration(min(count, int64(maxSpan/u))) * u
		sum = min(sum, maxSpan)
	}
	return sum, nil
}

// connectLimit bounds one attempt: the caller's limit, else that of ssh_config,
// else our own. The caller's does not excuse a ConnectTimeout that is none.
func (s *settings) connectLimit(o *Options) (time.Duration, error) {
	limit, err := s.span("connecttimeout", 0)
	if err != nil {
		return 0, err
	}
	if o.ConnectTimeout > 0 || limit <= 0 {
		limit = o.timeout()
	}
	return limit, nil
}

// parseLines reads "Key Value" and "Key=Value" lines.
func parseLines(text string) ([]*ssh_config.KV, error) {
	cfg, err := ssh_config.DecodeBytes([]byte(text + "\n"))
	if err != nil {
		return nil, err
	}
	var kvs []*ssh_config.KV
	for _, h := range cfg.Hosts {
		for _, n := range h.Nodes {
			if kv, ok := n.(*ssh_config.KV); ok {
				kvs = append(kvs, kv)
			}
		}
	}
	return kvs, nil
}

// configReader walks files line by line. The library reads the lines that hold
// settings; Host, Match and Include are decided here, because their meaning
// depends on more than the name of the host: settings seen so far, the user, the
// local home directory.
type configReader struct {
	s        *settings
	final    bool // second pass, for "Match final"
	sawFinal bool
}

func (r *configReader) readAll(files []string) error {
	for _, f := range files {
		err := r.readFile(r.s.localPath(f), true, 0)
		if errors.Is(err, fs.ErrNotExist) && len(files) > 1 {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *configReader) readFile(path string, active bool, depth int) error {
	if depth > maxInclude {
		return fmt.Errorf("reading %s: more than %d files include each other", path, maxInclude)
	}
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading ssh configuration: %w", err)
	}
	if st.Size() > maxConfigFile {
		return fmt.Errorf("reading %s: larger than %d bytes", path, maxConfigFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading ssh configuration: %w", err)
	}
	outer := active
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		words := splitWords(line)
		at := fmt.Sprintf("%s, line %d", path, i+1)
		switch strings.ToLower(words[0]) {
		case "host":
			active = outer && matchHost(words[1:], r.s.alias)
		case "match":
			ok, err := r.match(words[1:])
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			active = outer && ok
		case "include":
			if active {
				err = r.include(path, words[1:], depth)
			}
			if err != nil {
				return err
			}
		default:
			if active {
				err = r.setting(line)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
	}
	return nil
}

func (r *configReader) setting(line string) error {
	kvs, err := parseLines(line)
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		key := strings.ToLower(kv.Key)
		switch {
		case r.final && slices.Contains(r.s.values[key], kv.Value):
			// The second pass reads the first one's lines again.
		case key == "identityfile" || key == "certificatefile" || len(r.s.values[key]) == 0:
			r.s.add(key, kv.Value)
		}
	}
	return nil
}

func (r *configReader) include(from string, words []string, depth int) error {
	base := filepath.Join(r.s.home, ".ssh")
	if d := filepath.Dir(from); strings.HasPrefix(d, "/etc/ssh") {
		base = "/etc/ssh"
	}
	for _, w := range words {
		path := r.s.localPath(w)
		if !filepath.IsAbs(path) {
			path = filepath.Join(base, path)
		}
		names, err := filepath.Glob(path)
		if err != nil {
			return fmt.Errorf("including %s: %w", w, err)
		}
		for _, name := range names {
			if err := r.readFile(name, true, depth+1); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// match evaluates the criteria of one Match line. Those that would run a command
// or need the network's state do not match, negated or not, and are noted.
func (r *configReader) match(words []string) (bool, error) {
	if len(words) == 0 {
		return false, errors.New("match without a criterion")
	}
	result := true
	for i := 0; i < len(words); i++ {
		word := strings.ToLower(words[i])
		negated := strings.HasPrefix(word, "!")
		word, arg, hasArg := strings.Cut(strings.TrimPrefix(word, "!"), "=")
		ok := false
		switch word {
		case "all":
			ok = true
		case "final":
			r.sawFinal = true
			ok = r.final
		case "canonical":
			ok = false
		default:
			if !hasArg {
				if i++; i >= len(words) {
					return false, fmt.Errorf("match %s without an argument", word)
				}
				arg = words[i]
			}
			var known bool
			if ok, known = r.criterion(word, arg); !known {
				r.note("Match " + cleanLine(word, 40))
				result = false
				continue
			}
		}
		result = result && ok != negated
	}
	return result, nil
}

func (r *configReader) criterion(word, arg string) (ok, known bool) {
	s := r.s
	switch word {
	case "host":
		name := s.first("hostname", s.alias)
		if full, err := expandWith(name, map[byte]string{'%': "%", 'h': s.alias, 'n': s.alias}); err == nil {
			name = full
		}
		return matchList(arg, strings.ToLower(name)), true
	case "originalhost":
		return matchList(arg, s.alias), true
	case "user":
		return matchList(arg, s.first("user", s.local)), true
	case "localuser":
		return matchList(arg, s.local), true
	case "tagged":
		return matchList(arg, s.first("tag", "")), true
	}
	return false, false
}

func (r *configReader) note(text string) {
	if !slices.Contains(r.s.notes, text) {
		r.s.notes = append(r.s.notes, text)
	}
}

// matchHost evaluates the patterns of a Host line: one must match, and none of
// those with "!".
func matchHost(patterns []string, name string) bool {
	return matchList(strings.Join(patterns, ","), name)
}

func matchList(list, name string) bool {
	found := false
	for _, p := range strings.Split(list, ",") {
		p, negated := strings.CutPrefix(strings.TrimSpace(p), "!")
		if p == "" || !wildcard(p, name) {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}

// wildcard matches "*" (any bytes) and "?" (one byte) in time proportional to
// the product of both lengths.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
