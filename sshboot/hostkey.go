package sshboot

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// knownKey is one line of a known_hosts file.
type knownKey struct {
	file   string
	line   int
	marker string // "", "cert-authority" or "revoked"
	hosts  []string
	key    ssh.PublicKey
}

func (k *knownKey) where() string { return k.file + ", line " + strconv.Itoa(k.line) }

// maxKnownHosts bounds one known_hosts file, in bytes.
const maxKnownHosts = 64 << 20

// readKnownHosts reads all lines of the files; missing files and lines that
// cannot be read are passed over, as ssh does, so that one strange line does not
// lock the user out of every host.
//
// A line of @revoked that cannot be read is an error: passing it over would
// weaken the check.
func readKnownHosts(files []string) ([]knownKey, error) {
	var keys []knownKey
	for _, name := range files {
		st, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !st.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading known hosts: %w", err)
		}
		if st.Size() > maxKnownHosts {
			return nil, fmt.Errorf("reading known hosts: %s is larger than %d bytes", name, maxKnownHosts)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading known hosts: %w", err)
		}
		sc := bufio.NewScanner(bytes.NewReader(text))
		sc.Buffer(nil, 1<<20)
		for n := 1; sc.Scan(); n++ {
			line := bytes.TrimSpace(sc.Bytes())
			if len(line) == 0 || line[0] == '#' {
				continue
			}
			marker, hosts, key, _, _, err := ssh.ParseKnownHosts(line)
			if err != nil {
				if bytes.HasPrefix(line, []byte("@revoked")) {
					return nil, fmt.Errorf("%s, line %d: unreadable @revoked line: %w", name, n, err)
				}
				continue
			}
			keys = append(keys, knownKey{name, n, marker, hosts, key})
		}
		if err := sc.Err(); err != nil {
			return nil, fmt.Errorf("reading known hosts %s: %w", name, err)
		}
	}
	return keys, nil
}

// matches reports whether the line is about name, which is "host" or
// "[host]:port".
func (k *knownKey) matches(name string) bool {
	if len(k.hosts) == 1 && strings.HasPrefix(k.hosts[0], "|") {
		return hashMatches(k.hosts[0], name)
	}
	return matchList(strings.Join(k.hosts, ","), name)
}

// hashMatches compares with a hashed name: "|1|" base64 salt "|" base64
// HMAC-SHA1. Source: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
func hashMatches(field, name string) bool {
	part := strings.Split(field, "|")
	if len(part) != 4 || part[1] != "1" {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(part[2])
	want, err2 := base64.StdEncoding.DecodeString(part[3])
	if err1 != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(name))
	return hmac.Equal(mac.Sum(nil), want)
}

// keyCheck verifies the host key of one login. ssh calls verify once during the
// key exchange; err keeps the classified refusal, since ssh wraps errors freely.
type keyCheck struct {
	ctx    context.Context
	s      *settings
	o      *Options
	pause  func() func() // stops the login clock until the result is called
	known  []knownKey
	files  []string // user's known_hosts files, for new entries
	name   string   // lookup name with port
	bare   string   // lookup name without port
	strict string   // yes, no, ask, accept-new
	gone   map[string]bool
	key    ssh.PublicKey // verified key
	err    *Error
}

func newKeyCheck(ctx context.Context, s *settings, o *Options) (*keyCheck, error) {
	c := &keyCheck{ctx: ctx, s: s, o: o, strict: strings.ToLower(s.first("stricthostkeychecking", "ask"))}
	switch c.strict {
	case "yes", "true":
		c.strict = "yes"
	case "no", "off", "false":
		c.strict = "no"
	case "ask", "accept-new":
	default:
		return nil, configError(s.typed, "StrictHostKeyChecking "+cleanLine(c.strict, 40)+": unknown value", nil)
	}
	var err error
	if c.files, err = s.paths("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"); err != nil {
		return nil, err
	}
	global, err := s.paths("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2")
	if err != nil {
		return nil, err
	}
	if c.known, err = readKnownHosts(slices.Concat(c.files, global)); err != nil {
		return nil, &Error{Kind: Config, Host: s.typed, Text: err.Error(), Err: err}
	}
	c.bare = s.keyName()
	c.name = c.bare
	if s.port != 22 && s.first("hostkeyalias", "") == "" {
		c.name = "[" + c.bare + "]:" + strconv.Itoa(s.port)
	}
	return c, c.readRevoked()
}

// readRevoked loads RevokedHostKeys: lines of public keys. A binary revocation
// list is refused rather than passed over.
func (c *keyCheck) readRevoked() error {
	c.gone = make(map[string]bool)
	files, err := c.s.paths("revokedhostkeys", "none")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return configError(c.s.typed, "RevokedHostKeys: "+err.Error(), err)
		}
		for line := range bytes.Lines(text) {
			line = bytes.TrimSpace(line)
			if len(line) == 0 || line[0] == '#' {
				continue
			}
			key, _, _, _, err := ssh.ParseAuthorizedKey(line)
			if err != nil {
				return configError(c.s.typed, "RevokedHostKeys "+f+": only lists of public keys can be read", err)
			}
			c.gone[string(key.Marshal())] = true
		}
	}
	return nil
}

// entries are the lines about the host that carry the marker.
func (c *keyCheck) entries(marker string) []knownKey {
	find := func(name string) []knownKey {
		var out []knownKey
		for _, k := range c.known {
			if k.marker == marker && k.matches(name) {
				out = append(out, k)
			}
		}
		return out
	}
	out := find(c.name)
	if len(out) == 0 && marker == "cert-authority" && c.name != c.bare {
		out = find(c.bare)
	}
	return out
}

// algorithms orders the host key algorithms so that the server shows a key that
// is known. Certificates are asked for only where an authority is known: a
// server would otherwise prefer one that nobody can check.
func (c *keyCheck) algorithms() []string {
	supported := ssh.SupportedAlgorithms().HostKeys
	var out []string
	add := func(keyType string, cert bool) {
		for _, a := range supported {
			plain, isCert := strings.CutSuffix(a, "-cert-v01@openssh.com")
			same := plain == keyType || keyType == ssh.KeyAlgoRSA && (plain == ssh.KeyAlgoRSASHA256 || plain == ssh.KeyAlgoRSASHA512)
			if isCert == cert && (keyType == "" || same) && !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	if len(c.entries("cert-authority")) > 0 {
		add("", true) // the authority's type says nothing about the host's
	}
	for _, k := range c.entries("") {
		add(k.key.Type(), false)
	}
	if len(c.entries("")) == 0 && c.name != c.bare {
		for _, k := range c.known {
			if k.marker == "" && k.matches(c.bare) {
				add(k.key.Type(), false)
			}
		}
	}
	add("", false)
	return out
}

// verify is the ssh.HostKeyCallback.
func (c *keyCheck) verify(_ string, remote net.Addr, key ssh.PublicKey) error {
	if e := c.check(remote, key); e != nil {
		e.Host = c.s.typed
		c.err = e
		return e
	}
	c.key = key
	if cert, ok := key.(*ssh.Certificate); ok {
		c.key = cert.Key
	}
	return nil
}

func (c *keyCheck) revokedAt(key ssh.PublicKey) (string, bool) {
	blob := key.Marshal()
	if c.gone[string(blob)] {
		return "RevokedHostKeys", true
	}
	for _, k := range c.known {
		if k.marker == "revoked" && bytes.Equal(k.key.Marshal(), blob) {
			return k.where(), true
		}
	}
	return "", false
}

func (c *keyCheck) check(remote net.Addr, key ssh.PublicKey) *Error {
	parts := []ssh.PublicKey{key}
	cert, isCert := key.(*ssh.Certificate)
	if isCert {
		parts = []ssh.PublicKey{cert.Key, cert.SignatureKey}
	}
	for _, k := range parts {
		if where, bad := c.revokedAt(k); bad {
			return &Error{Kind: HostKeyChanged, Text: "ssh refused the host key: it is revoked (" + where + ")",
				Detail: "key " + ssh.FingerprintSHA256(k)}
		}
	}
	if isCert {
		return c.checkCert(remote, cert)
	}
	return c.checkPlain(remote, key)
}

// checkCert accepts a certificate of a known authority; other certificates
// count as the plain key in them.
func (c *keyCheck) checkCert(remote net.Addr, cert *ssh.Certificate) *Error {
	known := false
	checker := ssh.CertChecker{
		IsHostAuthority: func(auth ssh.PublicKey, _ string) bool {
			for _, k := range c.entries("cert-authority") {
				if bytes.Equal(k.key.Marshal(), auth.Marshal()) {
					known = true
				}
			}
			return known
		},
		IsRevoked: func(*ssh.Certificate) bool { return false }, // checked before
	}
	err := checker.CheckHostKey(net.JoinHostPort(c.bare, strconv.Itoa(c.s.port)), remote, cert)
	if err == nil {
		return nil
	}
	if known {
		return &Error{Kind: HostKeyUnknown, Text: "ssh refused the host certificate", Detail: cleanText(err.Error(), maxDetail), Err: err}
	}
	return c.checkPlain(remote, cert.Key)
}

func (c *keyCheck) checkPlain(remote net.Addr, key ssh.PublicKey) *Error {
	entries := c.entries("")
	blob := key.Marshal()
	for _, k := range entries {
		if bytes.Equal(k.key.Marshal(), blob) {
			return nil
		}
	}
	if len(entries) > 0 {
		return c.changed(entries[0], key)
	}
	if c.name != c.bare {
		// A host known at the standard port is accepted at another one, as ssh
		// does; a different key there proves nothing.
		for _, k := range c.known {
			if k.marker == "" && k.matches(c.bare) && bytes.Equal(k.key.Marshal(), blob) {
				return nil
			}
		}
	}
	return c.unknown(remote, key)
}

func (c *keyCheck) changed(k knownKey, key ssh.PublicKey) *Error {
	return &Error{
		Kind: HostKeyChanged,
		Text: "ssh refused the host key: it is not the one in " + k.where(),
		Detail: fmt.Sprintf("offered %s %s\nknown   %s %s", key.Type(), ssh.FingerprintSHA256(key),
			k.key.Type(), ssh.FingerprintSHA256(k.key)),
		Hints: []string{
			"someone may be answering in its place: ask its administrator before anything else",
			fmt.Sprintf("if the new key is right: ssh-keygen -f %s -R '%s'", k.file, c.name),
		},
	}
}

func (c *keyCheck) refused(cause error) *Error {
	return &Error{
		Kind:   HostKeyUnknown,
		Text:   "ssh refused the host key",
		Detail: "Host key verification failed.",
		Hints:  []string{fmt.Sprintf("run \"ssh %s true\" once and check the fingerprint", c.s.typed)},
		Err:    cause,
	}
}

// unknown decides about a key of a host that has none on record.
func (c *keyCheck) unknown(remote net.Addr, key ssh.PublicKey) *Error {
	switch c.strict {
	case "yes":
		return c.refused(nil)
	case "ask":
		if c.o.Prompt == nil || c.s.yes("batchmode", false) {
			return c.refused(nil)
		}
		if e := c.ask(remote, key); e != nil {
			return e
		}
	}
	if err := c.record(key); err != nil {
		c.o.verbose("host key not recorded: " + err.Error())
	}
	return nil
}

func (c *keyCheck) ask(remote net.Addr, key ssh.PublicKey) *Error {
	resume := c.pause()
	defer resume()
	at := ""
	if remote != nil && remote.Network() == "tcp" {
		at = " (" + remote.String() + ")"
	}
	ok, err := c.o.Prompt.Confirm(c.ctx, fmt.Sprintf("%s%s is not known yet; its %s key has the fingerprint\n%s\nTrust it and go on?",
		c.name, at, shortKeyType(key), ssh.FingerprintSHA256(key)))
	if err != nil || !ok {
		return c.refused(err)
	}
	return nil
}

func shortKeyType(key ssh.PublicKey) string {
	t := strings.TrimSuffix(strings.TrimPrefix(key.Type(), "ssh-"), "-cert-v01@openssh.com")
	t, _, _ = strings.Cut(t, "-")
	return strings.ToUpper(t)
}

// record appends the key to the user's first file, in one write.
func (c *keyCheck) record(key ssh.PublicKey) error {
	if len(c.files) == 0 {
		return nil
	}
	name := c.name
	if c.s.yes("hashknownhosts", false) {
		name = knownhosts.HashHostname(name)
	}
	line := name + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
	file := c.files[0]
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("recording host key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("recording host key: %w", err)
	}
	var last [1]byte
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
		if _, err := f.ReadAt(last[:], st.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}
