package location

import (
	"net/netip"
	"strconv"
	"strings"
)

// Kind says where a location is.
type Kind uint8

// The kinds of places. The zero value is none of them.
const (
	Local  Kind = iota + 1 // a path on this machine
	Remote                 // a path on a host reached through SSH
	URL                    // an http or https address; a source only
	Stdio                  // "-": standard input as source, output as destination
)

// String gives the kind's name in lower case.
func (k Kind) String() string {
	switch k {
	case Local:
		return "local"
	case Remote:
		return "remote"
	case URL:
		return "url"
	case Stdio:
		return "stdio"
	}
	return "none"
}

// Class says how sure the reading of a word is. Parse knows nothing of the disk
// and so never gives ClassExisting; Classify does.
type Class uint8

// The classes of words. The letters are those of the tables in the manual.
const (
	ClassRemote   Class = iota + 1 // R: remote by a colon, brackets or ssh://
	ClassURL                       // U: http:// or https://
	ClassPath                      // P: plainly a path, whether or not it exists
	ClassExisting                  // E: a bare word that exists here
	ClassHost                      // H: a bare word that does not exist and could be a host
	ClassOther                     // X: any other bare word that does not exist
	ClassStdio                     // -: standard input or output
)

// String gives the class's letter.
func (c Class) String() string {
	const letters = "?RUPEHX-"
	if int(c) >= len(letters) {
		return "?"
	}
	return letters[c : c+1]
}

// Location is one place, read from one word.
//
// Raw is the word as typed. User, Host and Port are set for Remote only; Port is
// 0 unless written. Host has no brackets. Path is bytes, not text: for Local the
// path as typed (for file:// decoded), for Remote relative to the home directory
// unless it starts with "/" or "~", empty for the home directory itself; for URL
// the whole address.
type Location struct {
	Kind  Kind
	Class Class
	User  string
	Host  string
	Port  int
	Path  string
	Raw   string

	// backslashes is set for local paths in which they separate (Windows).
	backslashes bool
}

// String gives a word that Parse reads as the same place, on the same system.
// A URL keeps its password here; print Shown instead.
func (l Location) String() string {
	switch l.Kind {
	case Remote:
		return l.remoteString()
	case Stdio:
		return "-"
	}
	return l.Path
}

// remoteString prints a remote place: in the short form, or as ssh:// when it
// has a port.
func (l Location) remoteString() string {
	target := l.Host
	// Brackets also keep a one-letter host from being read as a drive, a host
	// called ssh from being read as a scheme, and fe80 as part of an address.
	short := l.Port == 0
	if strings.Contains(l.Host, ":") || short && (len(l.Host) == 1 || strings.HasPrefix(l.Path, "//") ||
		bareIPv6(l.Host+":"+l.Path) != nil) {
		target = "[" + l.Host + "]"
	}
	if short {
		if l.User != "" {
			target = l.User + "@" + target
		}
		return target + ":" + l.Path
	}
	if l.User != "" {
		target = escape(l.User, "") + "@" + target
	}
	path := ""
	switch {
	case strings.HasPrefix(l.Path, "/"):
		path = escape(l.Path, "/")
	case strings.HasPrefix(l.Path, "~"):
		path = "/" + escape(l.Path, "/")
	case l.Path != "":
		path = "/~/" + escape(l.Path, "/")
	}
	return "ssh://" + target + ":" + strconv.Itoa(l.Port) + path
}

// Shown gives the place as the user typed it, without the password of a URL.
func (l Location) Shown() string {
	if l.Kind != URL {
		return l.Raw
	}
	scheme, rest, ok := strings.Cut(l.Raw, "://")
	if !ok {
		return l.Raw
	}
	authority, _, _ := strings.Cut(rest, "/")
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return l.Raw
	}
	user, _, _ := strings.Cut(authority[:at], ":")
	return scheme + "://" + user + rest[at:]
}

// NamesDir reports whether the path can only be a directory by the way it is
// written: empty (a home directory), ending in "/", or ending in "." or "..".
func (l Location) NamesDir() bool {
	p := l.slashed()
	switch l.Kind {
	case Remote:
		return p == "" || strings.HasSuffix(p, "/") || isDots(lastElement(p)) || isHome(p)
	case Local:
		return strings.HasSuffix(p, "/") || isDots(lastElement(p))
	}
	return false
}

// Contents reports whether, as a source directory, this place stands for what is
// in it and not for the directory itself.
func (l Location) Contents() bool { return l.NamesDir() }

// Base gives the name that this place has inside a directory it is copied into:
// the last element of its path, for a URL decoded. It is empty when there is
// none, as for a home directory, "/", ".." or a URL that ends in a slash.
func (l Location) Base() string {
	if l.Kind == URL {
		return urlBase(l.Path)
	}
	if l.Kind == Remote && isHome(l.Path) {
		return ""
	}
	base := lastElement(strings.TrimRight(l.slashed(), "/"))
	if isDots(base) || l.Kind == Stdio {
		return ""
	}
	return base
}

// slashed is the path with "/" as the only separator: Windows paths may mix both,
// elsewhere a backslash belongs to the name.
func (l Location) slashed() string {
	if l.backslashes {
		return strings.ReplaceAll(l.Path, `\`, "/")
	}
	return l.Path
}

// lastElement is what follows the last "/".
func lastElement(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// isDots reports whether a path element is "." or "..".
func isDots(s string) bool { return s == "." || s == ".." }

// isHome reports whether a remote path is "~" or "~user" and nothing more.
func isHome(p string) bool { return strings.HasPrefix(p, "~") && !strings.Contains(p, "/") }

// HostLike reports whether a word could be typed to mean a host without its
// colon: a name, user@name, a bracketed address, or an IPv4 address.
func HostLike(word string) bool {
	_, _, err := splitHost(word)
	return err == nil
}

// PortHint gives a hint when a remote path starts with what looks like a port,
// as in host:2222:/path, and an empty string otherwise. It is for the moment
// when no such path was found.
func (l Location) PortHint() string {
	if l.Kind != Remote || l.Port != 0 {
		return ""
	}
	end := 0
	for end < len(l.Path) && l.Path[end] >= '0' && l.Path[end] <= '9' {
		end++
	}
	port, err := strconv.Atoi(l.Path[:end])
	if err != nil || port < 1 || port > maxPort || end == len(l.Path) || l.Path[end] != ':' && l.Path[end] != '/' {
		return ""
	}
	with := l
	with.Port = port
	with.Path = strings.TrimPrefix(l.Path[end:], ":")
	return "a port is given as -P " + strconv.Itoa(port) + " or " + with.String()
}

// validIPv6 reports whether s is an IPv6 address, with or without a zone.
func validIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}
