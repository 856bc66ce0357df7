package location

import (
	"strings"
	"testing"
)

func remote(user, host string, port int, path string) Location {
	return Location{Kind: Remote, Class: ClassRemote, User: user, Host: host, Port: port, Path: path}
}

func local(class Class, path string) Location {
	return Location{Kind: Local, Class: class, Path: path}
}

// bare strips what the comparison leaves out.
func bare(l Location) Location {
	l.Raw, l.backslashes = "", false
	return l
}

func TestParse(t *testing.T) {
	long := strings.Repeat("a", 255)
	for _, c := range []struct {
		word string
		want Location
	}{
		{"-", Location{Kind: Stdio, Class: ClassStdio, Path: "-"}},
		{"h:", remote("", "h", 0, "")},
		{"u@h:x", remote("u", "h", 0, "x")},
		{"u@dom@h:x", remote("u@dom", "h", 0, "x")},
		{"h:/a:b", remote("", "h", 0, "/a:b")},
		{"a:b:c", remote("", "a", 0, "b:c")},
		{"h:2222:/path", remote("", "h", 0, "2222:/path")},
		{"h:~/x", remote("", "h", 0, "~/x")},
		{"h:a b'$;\n", remote("", "h", 0, "a b'$;\n")},
		{"h:\xff", remote("", "h", 0, "\xff")},
		{"h:@x", remote("", "h", 0, "@x")},
		{"10.0.0.1:/x", remote("", "10.0.0.1", 0, "/x")},
		{"[::1]:", remote("", "::1", 0, "")},
		{"[2001:db8::7]:/data", remote("", "2001:db8::7", 0, "/data")},
		{"u@[fe80::1%eth0]:/x", remote("u", "fe80::1%eth0", 0, "/x")},
		{"[c]:/x", remote("", "c", 0, "/x")},
		{"u@[name]:x", remote("u", "name", 0, "x")},
		{"my_host-1.example:x", remote("", "my_host-1.example", 0, "x")},
		{long + ":x", remote("", long, 0, "x")},
		{"ssh://h", remote("", "h", 0, "")},
		{"SSH://h", remote("", "h", 0, "")},
		{"ssh://h/", remote("", "h", 0, "/")},
		{"ssh://u@h:22/x%20y", remote("u", "h", 22, "/x y")},
		{"ssh://h/~/x", remote("", "h", 0, "~/x")},
		{"ssh://h/~bob/x", remote("", "h", 0, "~bob/x")},
		{"ssh://[2001:db8::7]:2222/data", remote("", "2001:db8::7", 2222, "/data")},
		{"ssh://a%40b@h/x", remote("a@b", "h", 0, "/x")},
		{"ssh://h/a%25b", remote("", "h", 0, "/a%b")},
		{"ssh://h/+", remote("", "h", 0, "/+")},
		{"file:///tmp/x", local(ClassPath, "/tmp/x")},
		{"file://localhost/tmp/x%20y", local(ClassPath, "/tmp/x y")},
		{"http://h/x", Location{Kind: URL, Class: ClassURL, Path: "http://h/x"}},
		{"HTTPS://h", Location{Kind: URL, Class: ClassURL, Path: "HTTPS://h"}},
		{"./a:b", local(ClassPath, "./a:b")},
		{"../a:b", local(ClassPath, "../a:b")},
		{"/a:b", local(ClassPath, "/a:b")},
		{".", local(ClassPath, ".")},
		{"..", local(ClassPath, "..")},
		{"a/b:c", local(ClassPath, "a/b:c")},
		{"a/b://c", local(ClassPath, "a/b://c")},
		{":x", local(ClassOther, ":x")},
		{"x", local(ClassHost, "x")},
		{"u@x", local(ClassHost, "u@x")},
		{"10.0.0.1", local(ClassHost, "10.0.0.1")},
		{"[::1]", local(ClassHost, "[::1]")},
		{"a b", local(ClassOther, "a b")},
		{"x*", local(ClassOther, "x*")},
		{"x[a:b]", local(ClassOther, "x[a:b]")},
		{`a\b`, local(ClassOther, `a\b`)},
		{`\\srv\a`, local(ClassOther, `\\srv\a`)},
		{"-x", local(ClassOther, "-x")},
	} {
		got, err := Parse(c.word, false)
		if err != nil || bare(got) != c.want || got.Raw != c.word {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", c.word, got, err, c.want)
		}
	}
}

func TestParseWindows(t *testing.T) {
	for _, c := range []struct {
		word string
		want Location
	}{
		{`C:\a`, local(ClassPath, `C:\a`)},
		{"c:a", local(ClassPath, "c:a")},
		{"c:/a", local(ClassPath, "c:/a")},
		{"c:", local(ClassPath, "c:")},
		{`\\srv\share\a`, local(ClassPath, `\\srv\share\a`)},
		{`\\?\C:\a`, local(ClassPath, `\\?\C:\a`)},
		{`\a:b`, local(ClassPath, `\a:b`)},
		{`.\a:b`, local(ClassPath, `.\a:b`)},
		{`..\a`, local(ClassPath, `..\a`)},
		{`a\b`, local(ClassPath, `a\b`)},
		{"[c]:/x", remote("", "c", 0, "/x")},
		{"ssh://c/x", remote("", "c", 0, "/x")},
		{"cc:/x", remote("", "cc", 0, "/x")},
		{"file:///C:/x", local(ClassPath, "C:/x")},
	} {
		got, err := Parse(c.word, true)
		if err != nil || bare(got) != c.want {
			t.Errorf("Parse(%q, windows) = %+v, %v; want %+v", c.word, got, err, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const brackets = ": an IPv6 address needs brackets"
	for _, c := range []struct{ word, msg, hint string }{
		{"", "the path is empty", "for the current directory, write ."},
		{"a\x00b", "a\x00b: a path cannot hold a zero byte", ""},
		{"h:a\x00b", "h:a\x00b: a path cannot hold a zero byte", ""},
		{"@h:x", "@h:x: the user is empty", ""},
		{"u@:x", "u@:x: the host is empty", ""},
		{"-h:x", "-h:x: a host may not start with -", ""},
		{"u@-h:x", "u@-h:x: a host may not start with -", ""},
		{"-u@h:x", "-u@h:x: the user may not start with -", ""},
		{"[-h]:x", "[-h]:x: a host may not start with -", ""},
		{"h h:x", "h h:x: the host may hold only letters, digits, -, _ and .", ""},
		{"h\n:x", "h\n:x: the host may hold only letters, digits, -, _ and .", ""},
		{"[]:x", "[]:x: the host is empty", ""},
		{"[x:y]:z", "[x:y]:z: is not an IPv6 address in brackets", ""},
		{"[::1%]:z", "[::1%]:z: is not an IPv6 address in brackets", ""},
		{strings.Repeat("a", 256) + ":x", strings.Repeat("a", 256) + ":x: a host has at most 255 bytes", ""},
		{"2001:db8::7:/d", "2001:db8::7:/d" + brackets, "[2001:db8::7]:/d"},
		{"::1:/x", "::1:/x" + brackets, "[::1]:/x"},
		{"::1", "::1" + brackets, "[::1]:"},
		{"fe80::1:x", "fe80::1:x" + brackets, "[fe80::1]:x"},
		{"u@fe80::1:x", "u@fe80::1:x" + brackets, "u@[fe80::1]:x"},
		{"ssh://fe80::1/x", "ssh://fe80::1/x" + brackets, "ssh://[fe80::1]/x"},
		{"ftp://h/x", "ftp://h/x: this kind of address is not supported", "ssh://, file://, http:// and https:// are understood"},
		{"sftp://h/x", "sftp://h/x: this kind of address is not supported", "ssh://h/x is the absolute path /x on h; ssh://h/~/x starts in the home directory"},
		{"scp://u@h/x", "scp://u@h/x: this kind of address is not supported", "ssh://u@h/x is the absolute path /x on u@h; ssh://u@h/~/x starts in the home directory"},
		{"ssh://h:0/x", "ssh://h:0/x: the port must be a number from 1 to 65535", ""},
		{"ssh://h:70000/x", "ssh://h:70000/x: the port must be a number from 1 to 65535", ""},
		{"ssh://h:/x", "ssh://h:/x: the port must be a number from 1 to 65535", ""},
		{"ssh://h/%00", "ssh://h/%00: a path cannot hold a zero byte", ""},
		{"ssh://h/%2", "ssh://h/%2: has a % that no two hexadecimal digits follow", "a percent sign is written %25"},
		{"ssh://h/%zz", "ssh://h/%zz: has a % that no two hexadecimal digits follow", "a percent sign is written %25"},
		{"ssh:///x", "ssh:///x: the host is empty", ""},
		{"ssh://@h/x", "ssh://@h/x: the user is empty", ""},
		{"ssh://u:pw@h/x", "an ssh:// address holds no password", "ssh keys, an agent or a prompt at the terminal are used"},
		{"ssh://-h/x", "ssh://-h/x: a host may not start with -", ""},
		{"ssh://%2Dou@h/x", "ssh://%2Dou@h/x: the user may not start with -", ""},
		{"file://h/x", "file://h/x: names a host or a relative path", "write file:///PATH or just the path"},
		{"http:///x", "http:///x: is not a complete address", ""},
		{`C:\data`, `C:\data: looks like a Windows path`, `for a file of that name write './C:\data'`},
	} {
		_, err := Parse(c.word, false)
		e, ok := err.(*Error)
		if !ok || e.Msg != c.msg || strings.Join(e.Hints, " / ") != c.hint || e.Fault != FaultUsage {
			t.Errorf("Parse(%q) = %v; want message %q, hint %q", c.word, err, c.msg, c.hint)
		}
	}
}

func TestLocationParts(t *testing.T) {
	for _, c := range []struct {
		word     string
		windows  bool
		base     string
		namesDir bool
	}{
		{"f", false, "f", false}, {"a/f", false, "f", false}, {"d/", false, "d", true}, {".", false, "", true},
		{"d/.", false, "", true}, {"..", false, "", true}, {"/", false, "", true}, {"a//", false, "a", true},
		{"h:", false, "", true}, {"h:x", false, "x", false}, {"h:/a/b/", false, "b", true}, {"h:~", false, "", true},
		{"h:~bob", false, "", true}, {"h:~/x", false, "x", false}, {"h:/", false, "", true},
		{"http://h/a%20b?q", false, "a b", false}, {"http://h/", false, "", false}, {"http://h", false, "", false},
		{"http://h/%2e%2e", false, "", false}, {"http://h/a%2fb", false, "", false},
		{`a\b`, false, `a\b`, false}, {`C:\a\b`, true, "b", false}, {`C:\a\`, true, "a", true}, {`\\f`, false, `\\f`, false},
		{"-", false, "", false},
	} {
		l, err := Parse(c.word, c.windows)
		if err != nil || l.Base() != c.base || l.NamesDir() != c.namesDir {
			t.Errorf("Parse(%q): base %q, names a directory %v, %v; want %q, %v", c.word, l.Base(), l.NamesDir(), err, c.base, c.namesDir)
		}
	}
}

func TestPortHint(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"h:2222:/d", "a port is given as -P 2222 or ssh://h:2222/d"},
		{"h:2222/d", "a port is given as -P 2222 or ssh://h:2222/d"},
		{"u@h:22:d", "a port is given as -P 22 or ssh://u@h:22/~/d"},
		{"h:2222", ""}, {"h:/2222:x", ""}, {"h:99999:/x", ""}, {"ssh://h:22/2222:x", ""}, {"f", ""},
	} {
		l, err := Parse(c.word, false)
		if err != nil || l.PortHint() != c.want {
			t.Errorf("Parse(%q).PortHint() = %q, %v; want %q", c.word, l.PortHint(), err, c.want)
		}
	}
}

func TestShownHidesPassword(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"https://me:secret@h/x", "https://me@h/x"},
		{"https://me:s@crt@h/x@y", "https://me@h/x@y"},
		{"https://h/x@y", "https://h/x@y"},
		{"h:x", "h:x"},
	} {
		l, err := Parse(c.word, false)
		if err != nil || l.Shown() != c.want {
			t.Errorf("Parse(%q).Shown() = %q, %v; want %q", c.word, l.Shown(), err, c.want)
		}
	}
}

func TestValidHost(t *testing.T) {
	for host, want := range map[string]bool{
		"h": true, "10.0.0.1": true, "::1": true, "fe80::1%eth0": true,
		"": false, "-oProxyCommand=x": false, "a b": false, "a;b": false, "fe80::1%$(x)": false,
	} {
		if got := ValidHost(host); got != want {
			t.Errorf("ValidHost(%q) = %v; want %v", host, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"h:x", "u@[fe80::1%eth0]:/x", "ssh://u@h:22/x%20y", "ssh://h/~/x", "file:///tmp/x", `C:\a`,
		"[ssh]://x", "[fe80]::1:x", "./a:b", ":x", "http://u:p@h/x", "ssh://h//~x", "c:", "-", "[[a]]:", "a@b@[c]:d"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, word string, windows bool) {
		l, err := Parse(word, windows)
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("Parse(%q): %T", word, err)
			}
			return
		}
		if l.Kind == Remote && (!ValidHost(l.Host) || strings.HasPrefix(l.User, "-")) {
			t.Fatalf("Parse(%q) gave an invalid host: %+v", word, l)
		}
		if strings.ContainsRune(l.Path, 0) {
			t.Fatalf("Parse(%q) gave a path with a zero byte", word)
		}
		back, err := Parse(l.String(), windows)
		if err != nil || bare(back) != bare(l) {
			t.Fatalf("Parse(%q) = %+v, printed as %q, reads as %+v, %v", word, l, l.String(), back, err)
		}
		if base := l.Base(); strings.ContainsRune(base, '/') || isDots(base) {
			t.Fatalf("Parse(%q).Base() = %q", word, base)
		}
	})
}
