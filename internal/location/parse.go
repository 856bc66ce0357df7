package location

import (
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxHostLen is the longest host in bytes. Source: RFC 1035 section 2.3.4.
const maxHostLen = 255

// maxPort is the highest port. Source: RFC 9293 section 3.1.
const maxPort = 65535

// Parse reads one word as a place. windows says which system's local paths are
// meant.
//
// The rules are tried in a fixed order: "-", Windows drives, scheme://, plain
// paths, bare IPv6 addresses (refused), a leading colon (local), a colon before
// any slash (remote), everything else local. The Class of a bare word says
// whether it could be a host if no such file exists. Errors: *Error.
func Parse(word string, windows bool) (Location, error) {
	l, err := parse(word, windows)
	if err != nil {
		return Location{}, err
	}
	l.Raw = word
	l.backslashes = windows && l.Kind == Local
	return l, nil
}

// parse is Parse with the error's type kept and without Raw.
func parse(word string, windows bool) (Location, *Error) {
	switch {
	case word == "":
		return Location{}, refuse("the path is empty", "for the current directory, write .")
	case strings.IndexByte(word, 0) >= 0:
		return Location{}, refuse(word + ": a path cannot hold a zero byte")
	case word == "-":
		return Location{Kind: Stdio, Class: ClassStdio, Path: "-"}, nil
	case windows && windowsPath(word):
		return localPath(word), nil
	}
	if scheme, rest, ok := cutScheme(word); ok {
		return parseScheme(word, scheme, rest, windows)
	}
	if plainPath(word, windows) {
		return localPath(word), nil
	}
	if err := bareIPv6(word); err != nil {
		return Location{}, err
	}
	colon := hostColon(word)
	if colon > 0 {
		return parseShort(word, colon)
	}
	l := Location{Kind: Local, Class: ClassOther, Path: word}
	switch {
	case strings.ContainsRune(word, '/') || windows && strings.ContainsRune(word, '\\'):
		l.Class = ClassPath
	case HostLike(word):
		l.Class = ClassHost
	}
	return l, nil
}

// localPath is a word that is plainly a local path.
func localPath(word string) Location {
	return Location{Kind: Local, Class: ClassPath, Path: word}
}

// windowsPath reports whether a word starts with a drive or is a network or
// device path.
func windowsPath(word string) bool {
	if strings.HasPrefix(word, `\\`) {
		return true
	}
	return len(word) >= 2 && word[1] == ':' && isLetter(word[0])
}

// plainPath reports whether the beginning of a word can only be a path.
func plainPath(word string, windows bool) bool {
	if isDots(word) || strings.HasPrefix(word, "/") || strings.HasPrefix(word, "./") || strings.HasPrefix(word, "../") {
		return true
	}
	return windows && (strings.HasPrefix(word, `\`) || strings.HasPrefix(word, `.\`) || strings.HasPrefix(word, `..\`))
}

// cutScheme splits scheme://rest. The scheme comes back in lower case.
func cutScheme(word string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(word, "://")
	if !ok || scheme == "" || !isLetter(scheme[0]) {
		return "", "", false
	}
	for i := range len(scheme) {
		c := scheme[i]
		if !isLetter(c) && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
			return "", "", false
		}
	}
	return strings.ToLower(scheme), rest, true
}

// parseScheme reads what follows scheme://.
func parseScheme(word, scheme, rest string, windows bool) (Location, *Error) {
	switch scheme {
	case "ssh":
		return parseSSH(word, rest)
	case "file":
		return parseFile(word, rest, windows)
	case "http", "https":
		u, err := url.Parse(word)
		if err != nil || u.Hostname() == "" {
			return Location{}, refuse(Location{Kind: URL, Raw: word}.Shown() + ": is not a complete address")
		}
		return Location{Kind: URL, Class: ClassURL, Path: word}, nil
	case "scp", "sftp":
		host, path, _ := strings.Cut(rest, "/")
		return Location{}, refuse(word+": this kind of address is not supported",
			"ssh://"+host+"/"+path+" is the absolute path /"+path+" on "+host+"; ssh://"+host+"/~/"+path+" starts in the home directory")
	}
	return Location{}, refuse(word+": this kind of address is not supported",
		"ssh://, file://, http:// and https:// are understood")
}

// parseFile reads an absolute local path from a file:// address.
func parseFile(word, rest string, windows bool) (Location, *Error) {
	rest, _ = cutPrefixFold(rest, "localhost")
	if !strings.HasPrefix(rest, "/") {
		return Location{}, refuse(word+": names a host or a relative path", "write file:///PATH or just the path")
	}
	path, err := unescape(word, rest)
	if err != nil {
		return Location{}, err
	}
	if windows && windowsPath(path[1:]) {
		path = path[1:]
	}
	return localPath(path), nil
}

// parseSSH reads [user@]host[:port][/path] after ssh://.
func parseSSH(word, rest string) (Location, *Error) {
	target, path, hasPath := strings.Cut(rest, "/")
	l := Location{Kind: Remote, Class: ClassRemote}
	user := ""
	if at := strings.LastIndexByte(target, '@'); at >= 0 {
		var err *Error
		if user, err = unescape(word, target[:at]); err != nil {
			return Location{}, err
		}
		if user == "" {
			return Location{}, refuse(word + ": the user is empty")
		}
		if strings.Contains(user, ":") {
			return Location{}, refuse("an ssh:// address holds no password", "ssh keys, an agent or a prompt at the terminal are used")
		}
		target = target[at+1:]
	}
	if colon := strings.LastIndexByte(target, ':'); colon > strings.LastIndexByte(target, ']') {
		if validIPv6(target) {
			return Location{}, refuse(word+": an IPv6 address needs brackets", strings.Replace(word, target, "["+target+"]", 1))
		}
		port, err := strconv.ParseUint(target[colon+1:], 10, 16)
		if err != nil || port == 0 {
			return Location{}, refuse(word + ": the port must be a number from 1 to " + strconv.Itoa(maxPort))
		}
		l.Port, target = int(port), target[:colon]
	}
	_, host, err := splitHost(target)
	if err != nil {
		return Location{}, refuse(word + ": " + err.Msg)
	}
	if err := checkUser(user); err != nil {
		return Location{}, refuse(word + ": " + err.Msg)
	}
	l.User, l.Host = user, host
	if !hasPath {
		return l, nil
	}
	if l.Path, err = unescape(word, "/"+path); err != nil {
		return Location{}, err
	}
	l.Path = homePath(l.Path)
	return l, nil
}

// homePath turns /~/x and /~bob/x of an ssh:// address into ~/x and ~bob/x.
func homePath(path string) string {
	if strings.HasPrefix(path, "/~") {
		return path[1:]
	}
	return path
}

// parseShort reads [user@]host:[path], with the colon at the given place.
func parseShort(word string, colon int) (Location, *Error) {
	target, path := word[:colon], word[colon+1:]
	if colon == 1 && strings.HasPrefix(path, `\`) {
		return Location{}, refuse(word+": looks like a Windows path", "for a file of that name write "+quoteAlways("./"+word))
	}
	user, host, err := splitHost(target)
	if err != nil {
		return Location{}, refuse(word + ": " + err.Msg)
	}
	return Location{Kind: Remote, Class: ClassRemote, User: user, Host: host, Path: path}, nil
}

// hostColon gives the place of the first colon that is outside brackets and
// before any slash, or -1. A bracket that is never closed is an ordinary byte.
func hostColon(word string) int {
	head, _, _ := strings.Cut(word, "/")
	for i := 0; i < len(head); i++ {
		switch head[i] {
		case ':':
			return i
		case '[':
			if end := strings.IndexByte(head[i:], ']'); end > 0 {
				i += end
			}
		}
	}
	return -1
}

// bareIPv6 refuses an IPv6 address without brackets, alone or before a path.
func bareIPv6(word string) *Error {
	head, tail, slash := strings.Cut(word, "/")
	if slash {
		tail = "/" + tail
	}
	if strings.ContainsAny(head, "[]") || strings.Count(head, ":") < 2 {
		return nil
	}
	user, addr := "", head
	if at := strings.LastIndexByte(head, '@'); at >= 0 {
		user, addr = head[:at+1], head[at+1:]
	}
	last := strings.LastIndexByte(addr, ':')
	if last < 0 {
		return nil
	}
	hints := []string{}
	if validIPv6(addr[:last]) {
		hints = append(hints, user+"["+addr[:last]+"]:"+addr[last+1:]+tail)
	}
	if validIPv6(addr) {
		hints = append(hints, user+"["+addr+"]:"+tail)
	}
	if len(hints) == 0 {
		return nil
	}
	return refuse(word+": an IPv6 address needs brackets", hints...)
}

// splitHost reads [user@]host, host being a name, an IPv4 address, or either of
// name and IPv6 address in brackets. The last "@" separates.
func splitHost(target string) (user, host string, err *Error) {
	host = target
	if at := strings.LastIndexByte(target, '@'); at >= 0 {
		user, host = target[:at], target[at+1:]
		if user == "" {
			return "", "", refuse("the user is empty")
		}
		if err := checkUser(user); err != nil {
			return "", "", err
		}
	}
	bracketed := false
	if len(host) >= 2 && host[0] == '[' && host[len(host)-1] == ']' {
		bracketed, host = true, host[1:len(host)-1]
	}
	return user, host, checkHost(host, bracketed)
}

// checkUser refuses users that could be taken for an option or would confuse a
// log line.
func checkUser(user string) *Error {
	if strings.HasPrefix(user, "-") {
		return refuse("the user may not start with -")
	}
	for _, r := range user {
		if unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune("/[]:", r) {
			return refuse("the user holds a character that is not allowed")
		}
	}
	return nil
}

// checkHost refuses hosts that no ssh would take, or would take for an option.
// The same rule must be applied again to what a configuration makes of a host;
// see [ValidHost].
func checkHost(host string, bracketed bool) *Error {
	switch {
	case host == "":
		return refuse("the host is empty")
	case strings.HasPrefix(host, "-"):
		return refuse("a host may not start with -")
	case len(host) > maxHostLen:
		return refuse("a host has at most " + strconv.Itoa(maxHostLen) + " bytes")
	}
	if bracketed && strings.Contains(host, ":") {
		addr, zone, hasZone := strings.Cut(host, "%")
		if !validIPv6(addr) || hasZone && !isName(zone) {
			return refuse("is not an IPv6 address in brackets")
		}
		return nil
	}
	if !isName(host) {
		return refuse("the host may hold only letters, digits, -, _ and .")
	}
	return nil
}

// ValidHost reports whether a host without brackets, as found in a
// configuration, may be connected to: a name, an IPv4 or an IPv6 address that
// does not start with "-".
func ValidHost(host string) bool { return checkHost(host, true) == nil }

// isName reports whether s holds letters, digits, "-", "_" and "." only.
func isName(s string) bool {
	if s == "" || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r) {
			return false
		}
	}
	return true
}

// unescape decodes the percent-escapes of part of a word. Unlike net/url it
// leaves every other byte alone, since paths are bytes.
func unescape(word, part string) (string, *Error) {
	if strings.IndexByte(part, '%') < 0 {
		return part, nil
	}
	out := make([]byte, 0, len(part))
	for i := 0; i < len(part); i++ {
		if part[i] != '%' {
			out = append(out, part[i])
			continue
		}
		if i+3 > len(part) {
			return "", refuse(word+": has a % that no two hexadecimal digits follow", "a percent sign is written %25")
		}
		b, err := strconv.ParseUint(part[i+1:i+3], 16, 8)
		if err != nil {
			return "", refuse(word+": has a % that no two hexadecimal digits follow", "a percent sign is written %25")
		}
		if b == 0 {
			return "", refuse(word + ": a path cannot hold a zero byte")
		}
		out = append(out, byte(b))
		i += 2
	}
	return string(out), nil
}

// escape is the inverse of unescape; bytes in keep and unreserved ones stay.
func escape(s, keep string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isLetter(c) || c >= '0' && c <= '9' || strings.IndexByte("-_.~"+keep, c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}

// urlBase is the decoded last path element of a URL, or empty.
func urlBase(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	base := lastElement(u.EscapedPath())
	name, err := url.PathUnescape(base)
	if err != nil || isDots(name) || strings.ContainsAny(name, "/\x00") {
		return ""
	}
	return name
}

// cutPrefixFold is strings.CutPrefix without regard to case.
func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// quoteAlways quotes a word even where no shell needs it.
func quoteAlways(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// isLetter reports whether c is an ASCII letter.
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
