package location

import (
	"strconv"
	"strings"
	"testing"
)

// disk is the file system of the parse cases: files f, g and h1x, directory d,
// and a few names for cases beyond the manual's table.
func disk(path string) Exist {
	switch strings.TrimSuffix(path, "/") {
	case "f", "g", "h1x", "./f", "big.dat", "h1", "d/f", "x.meta4", "/tmp/f", `C:\a`, "c:a", `\\srv\share\a`:
		return File
	case "d", ".", "..", "./d", "", "/tmp", "dir":
		return Directory
	}
	return Missing
}

// caseRow is one row of the table. want is "mode: sources -> destinations" with
// "/" after the mode when IntoDir is set, or empty for a refusal, of which msg
// is the whole message and hints are joined by " / ".
type caseRow struct {
	words string // separated by a space; "" is an empty word
	o     WordOptions
	want  string
	msg   string
	hints string
	fault Fault
}

// describe prints a plan for comparing: H(user,host,port,path), L(path), U(url).
func describe(p Plan) string {
	place := func(l Location) string {
		switch l.Kind {
		case Remote:
			port := ""
			if l.Port != 0 {
				port = strconv.Itoa(l.Port)
			}
			return "H(" + l.User + "," + l.Host + "," + port + "," + l.Path + ")"
		case URL:
			return "U(" + l.Path + ")"
		case Stdio:
			return "-"
		}
		return "L(" + l.Path + ")"
	}
	out := p.Mode.String()
	if p.IntoDir {
		out += "/"
	}
	out += ":"
	for _, s := range p.Sources {
		out += " " + place(s)
	}
	out += " ->"
	for _, d := range p.Dests {
		out += " " + place(d)
	}
	return out
}

// manualCases are the rows of the manual's table of parse cases, in its order.
var manualCases = []caseRow{
	{words: "f h:", want: "push/: L(f) -> H(,h,,)"},
	{words: "f u@h:x", want: "push: L(f) -> H(u,h,,x)"},
	{words: "f u@dom@h:x", want: "push: L(f) -> H(u@dom,h,,x)"},
	{words: "f @h:x", msg: "@h:x: the user is empty"},
	{words: "f -h:x", msg: "-h:x: a host may not start with -"},
	{words: "f :x", msg: ":x: is neither an existing file nor written as a host", hints: "for a new local file, write ./:x"},
	{words: "f ./:x", want: "local copy: L(f) -> L(./:x)"},
	{words: "./f h:", want: "push/: L(./f) -> H(,h,,)"},
	{words: "./a:b h:", msg: "./a:b: no such file or directory", fault: FaultSource}, // read as local; nothing there
	{words: "f h:/a:b", want: "push: L(f) -> H(,h,,/a:b)"},
	{words: "f a/b:c", msg: "local: no such directory: a", hints: "add --mkpath to create it", fault: FaultDest},
	{words: "f a/b:c", o: WordOptions{MakePath: true}, want: "local copy: L(f) -> L(a/b:c)"},
	{words: "f [::1]:", want: "push/: L(f) -> H(,::1,,)"},
	{words: "f u@[fe80::1%eth0]:/x", want: "push: L(f) -> H(u,fe80::1%eth0,,/x)"},
	{words: "f [c]:/x", want: "push: L(f) -> H(,c,,/x)"},
	{words: "f [::1]", msg: "[::1]: is neither an existing file nor written as a host", hints: "for the host, write [::1]:"},
	{words: "f ::1:/x", msg: "::1:/x: an IPv6 address needs brackets", hints: "[::1]:/x"},
	{words: "f ::1", msg: "::1: an IPv6 address needs brackets", hints: "[::1]:"},
	{words: "f a:b:c", want: "push: L(f) -> H(,a,,b:c)"},
	{words: "f fe80::1:x", msg: "fe80::1:x: an IPv6 address needs brackets", hints: "[fe80::1]:x"},
	{words: "f 10.0.0.1", msg: "10.0.0.1: is neither an existing file nor written as a host", hints: "for the host, write 10.0.0.1: / for a new local file, write ./10.0.0.1"},
	{words: "f 10.0.0.1 10.0.0.2", want: "fan-out: L(f) -> H(,10.0.0.1,,) H(,10.0.0.2,,)"},
	{words: "f ssh://h", want: "push/: L(f) -> H(,h,,)"},
	{words: "f ssh://u@h:22/x%20y", want: "push: L(f) -> H(u,h,22,/x y)"},
	{words: "f ssh://h/~/x", want: "push: L(f) -> H(,h,,~/x)"},
	{words: "f ssh://h:0/x", msg: "ssh://h:0/x: the port must be a number from 1 to 65535"},
	{words: "f ssh://h:70000/x", msg: "ssh://h:70000/x: the port must be a number from 1 to 65535"},
	{words: "f ftp://h/x", msg: "ftp://h/x: this kind of address is not supported", hints: "ssh://, file://, http:// and https:// are understood"},
	{words: "f file:///tmp/x", want: "local copy: L(f) -> L(/tmp/x)"},
	{words: "f http://h/x", msg: "http://h/x: a web address can be a source only"},
	{words: "http://h/x .", want: "fetch/: U(http://h/x) -> L(.)"},
	{words: "http://h/ .", msg: "http://h/: the URL names no file", hints: "give a file name: gomover http://h/ ./NAME"},
	{words: "f d", want: "local copy/: L(f) -> L(d)"},
	{words: "f d/", want: "local copy/: L(f) -> L(d/)"},
	{words: "f new/", want: "local copy/: L(f) -> L(new/)"},
	{words: "f a/b/new/", msg: "local: no such directory: a", hints: "add --mkpath to create it", fault: FaultDest},
	{words: "d h:", msg: "d: is a directory", hints: "add -r to copy it with its contents"},
	{words: "d h:x", o: WordOptions{Recursive: true}, want: "push: L(d) -> H(,h,,x)"},
	{words: "d/ h:x", o: WordOptions{Recursive: true}, want: "push: L(d/) -> H(,h,,x)"},
	{words: "d h:x", o: WordOptions{Recursive: true, Exact: true}, want: "push: L(d) -> H(,h,,x)"},
	{words: "f g h:/d", want: "push/: L(f) L(g) -> H(,h,,/d)"},
	{words: "f g d", want: "local copy/: L(f) L(g) -> L(d)"},
	{words: "f g new", msg: "cannot tell files from hosts: f, g exist here; new does not", hints: "hosts: gomover f g: new: / files into directory new: gomover f g new/"},
	{words: "f g h1x", msg: "h1x: is not a directory", hints: "for the host h1x, write h1x:"},
	{words: "f n1 n2 n3", want: "fan-out: L(f) -> H(,n1,,) H(,n2,,) H(,n3,,)"},
	{words: "f n1: n2:/x", want: "fan-out: L(f) -> H(,n1,,) H(,n2,,/x)"},
	{words: "f n1 n2:/x", msg: "some destinations have a colon and some do not (n1; n2:/x)", hints: "write every host with a colon: gomover f n1: n2:/x"},
	{words: "f h1x n2", msg: "cannot tell files from hosts: f, h1x exist here; n2 does not", hints: "hosts: gomover f h1x: n2: / files into directory n2: gomover f h1x n2/"},
	{words: "f n1: n2", msg: "some destinations have a colon and some do not (n2; n1:)", hints: "write every host with a colon: gomover f n1: n2:"},
	{words: "f n1: d", msg: "local and remote words are mixed: n1:, d", hints: "several sources into d: gomover -t d f n1: / one source to several places: gomover f --to n1: --to d"},
	{words: "nofile n1: n2:", msg: "nofile: no such file or directory", hints: "for the host, write nofile:", fault: FaultSource},
	{words: "http://a/x n1: n2:", msg: "http://a/x, n1:, n2:: cannot tell sources from destinations", hints: "gomover http://a/x --to n1: --to n2: / gomover [options] SRC... DST"},
	{words: "f g n1: n2:", msg: "two sources (f, g) and two destinations (n1:, n2:) are written with --to", hints: "gomover f g --to n1: --to n2:"},
	{words: "a:x b:y", want: "third-party copy: H(,a,,x) -> H(,b,,y)"},
	{words: "a:x b:y c:z", msg: "three remote places: several sources into c:z, or a:x to several hosts?", hints: "gomover -t c:z a:x b:y / gomover a:x --to b:y --to c:z"},
	{words: "a:x b:y", o: WordOptions{TargetDir: "c:z"}, want: "third-party copy/: H(,a,,x) H(,b,,y) -> H(,c,,z)"},
	{words: "a:x", o: WordOptions{To: []string{"b:y", "c:z"}}, want: "fan-out: H(,a,,x) -> H(,b,,y) H(,c,,z)"},
	{words: "a:x b:y .", want: "pull/: H(,a,,x) H(,b,,y) -> L(.)"},
	{words: "a:/f b:/f .", msg: "a:/f and b:/f would both be written to ./f", hints: "if they are copies of one file: gomover pull a:/f b:/f ./f"},
	{words: "a:x new", want: "pull: H(,a,,x) -> L(new)"},
	{words: "a:x b:y new", msg: "new: several sources need a directory", hints: "for a new directory, write new/"},
	{words: "a:/f b:/f ./f", o: WordOptions{Pull: true}, want: "replica pull: H(,a,,/f) H(,b,,/f) -> L(./f)"},
	{words: "a:/f b:/f", o: WordOptions{Pull: true}, msg: "pull needs a local destination, but the last word is b:/f", hints: "gomover pull a:/f b:/f ./f / into another host: gomover pull a:/f b:/f --to HOST:PATH"},
	{words: "a:/f b:/f", o: WordOptions{Pull: true, To: []string{"c:/f"}}, want: "replica pull: H(,a,,/f) H(,b,,/f) -> H(,c,,/f)"},
	{words: "x.meta4 ./", o: WordOptions{Pull: true}, want: "replica pull/: L(x.meta4) -> L(./)"},
	{words: "x.meta4 h:", want: "push/: L(x.meta4) -> H(,h,,)"},
	{words: "- h:x", want: "from stdin: - -> H(,h,,x)"},
	{words: "- h:", msg: "h:: standard input needs a file name, not a directory", hints: "gomover - h:NAME"},
	{words: "a:x -", want: "to stdout: H(,a,,x) -> -"},
	{words: "- -", msg: "standard input is not copied to standard output", hints: "gomover - host:FILE"},
	{words: "f f", msg: "f and f are the same file"},
	{words: "d d/sub", o: WordOptions{Recursive: true}, msg: "d/sub: lies inside d"},
	{words: "f n1: n1:", msg: "n1: and n1: are the same destination"},
	{words: `"" h:`, msg: "the path is empty", hints: "for the current directory, write ."},
	{words: `f ""`, msg: "the path is empty", hints: "for the current directory, write ."},
	{words: `f g ""`, msg: "the path is empty", hints: "for the current directory, write ."},
	// One letter and a colon is a drive there, at the end as well.
	{words: `C:\a h:`, o: WordOptions{Windows: true}, want: `local copy: L(C:\a) -> L(h:)`},
	{words: "c:a h:", o: WordOptions{Windows: true}, want: "local copy: L(c:a) -> L(h:)"},
	{words: `\\srv\share\a h:`, o: WordOptions{Windows: true}, want: `local copy: L(\\srv\share\a) -> L(h:)`},
	{words: "f [c]:/x", o: WordOptions{Windows: true}, want: "push: L(f) -> H(,c,,/x)"},
}

// messageCases are the manual's examples of messages that concern words.
var messageCases = []caseRow{
	{words: "help", msg: "help: no destination given", hints: "gomover --help / gomover help host:"},
	{words: "big.dat", msg: "big.dat: no destination given", hints: "gomover big.dat host: / gomover big.dat ./copy.dat"},
	{words: "big.dat n1", msg: "n1: is neither an existing file nor written as a host", hints: "for the host, write n1: / for a new local file, write ./n1"},
	{words: "f n1 h2:/d", msg: "some destinations have a colon and some do not (n1; h2:/d)", hints: "write every host with a colon: gomover f n1: h2:/d"},
	{words: "f h1 h2", msg: "cannot tell files from hosts: f, h1 exist here; h2 does not", hints: "hosts: gomover f h1: h2: / files into directory h2: gomover f h1 h2/"},
	{words: "h1:/a h2:/b h3:/c", msg: "three remote places: several sources into h3:/c, or h1:/a to several hosts?", hints: "gomover -t h3:/c h1:/a h2:/b / gomover h1:/a --to h2:/b --to h3:/c"},
	{words: "h1:/f h2:/f .", msg: "h1:/f and h2:/f would both be written to ./f", hints: "if they are copies of one file: gomover pull h1:/f h2:/f ./f"},
	{words: "h1:/f h2:/f", o: WordOptions{Pull: true}, msg: "pull needs a local destination, but the last word is h2:/f", hints: "gomover pull h1:/f h2:/f ./f / into another host: gomover pull h1:/f h2:/f --to HOST:PATH"},
	{words: "f 2001:db8::7:/d", msg: "2001:db8::7:/d: an IPv6 address needs brackets", hints: "[2001:db8::7]:/d"},
	{words: "f sftp://h/x", msg: "sftp://h/x: this kind of address is not supported", hints: "ssh://h/x is the absolute path /x on h; ssh://h/~/x starts in the home directory"},
	{words: `C:\data h:`, msg: `C:\data: looks like a Windows path`, hints: `for a file of that name write './C:\data'`},
	{words: "dir h:", msg: "dir: is a directory", hints: "add -r to copy it with its contents"},
}

// furtherCases decide what the two tables above leave out.
var furtherCases = []caseRow{
	{words: "", msg: "no source and no destination given", hints: "gomover FILE HOST:"},
	{words: "h:x", msg: "h:x: no destination given", hints: "gomover h:x ."},
	{words: "nofile h:", msg: "nofile: no such file or directory", hints: "for a file on the host nofile: gomover nofile:PATH h:", fault: FaultSource},
	{words: "no*file h:", msg: "no*file: no such file or directory", fault: FaultSource},
	{words: "./nofile h:", msg: "./nofile: no such file or directory", fault: FaultSource},
	{words: "./nofile f h:/d", want: "push/: L(./nofile) L(f) -> H(,h,,/d)"},
	{words: "h:x d", want: "pull/: H(,h,,x) -> L(d)"},
	{words: "h:x a/b", msg: "local: no such directory: a", hints: "add --mkpath to create it", fault: FaultDest},
	{words: "h:x f/b", msg: "local: f: is not a directory", fault: FaultDest},
	{words: "h:x /tmp/new", want: "pull: H(,h,,x) -> L(/tmp/new)"},
	{words: "http://h/x n1", want: "fetch: U(http://h/x) -> L(n1)"},
	{words: "http://h/x n1:y", want: "fetch: U(http://h/x) -> H(,n1,,y)"},
	{words: "http://h/ new", want: "fetch: U(http://h/) -> L(new)"},
	{words: "http://u:secret@h/ .", msg: "http://u@h/: the URL names no file", hints: "give a file name: gomover http://u@h/ ./NAME"},
	{words: "- n1", msg: "n1: is neither an existing file nor written as a host", hints: "for the host, write n1: / for a new local file, write ./n1"},
	{words: "- ./n1", want: "from stdin: - -> L(./n1)"},
	{words: "- d", msg: "d: standard input needs a file name, not a directory", hints: "gomover - d/NAME"},
	{words: "f -", want: "to stdout: L(f) -> -"},
	{words: "- f h:", msg: "-, f, h:: cannot tell sources from destinations", hints: "gomover [options] SRC... DST"},
	{words: "f n1 -", msg: "n1: no such file or directory", hints: "for the host, write n1:"},
	{words: "f .", msg: "f and . are the same file"},
	{words: "f ./f", msg: "f and ./f are the same file"},
	{words: "d .", o: WordOptions{Recursive: true}, msg: "d and . are the same directory"},
	{words: "d d", o: WordOptions{Recursive: true}, msg: "d: lies inside d"},
	{words: "d/ d", o: WordOptions{Recursive: true}, msg: "d/ and d are the same directory"},
	{words: ". d", o: WordOptions{Recursive: true}, msg: "d: lies inside ."},
	{words: "d dd", o: WordOptions{Recursive: true}, msg: "dd: is neither an existing file nor written as a host", hints: "for the host, write dd: / for a new local file, write ./dd"},
	{words: "d ./dd", o: WordOptions{Recursive: true}, want: "local copy: L(d) -> L(./dd)"},
	{words: "d ../x", o: WordOptions{Recursive: true}, want: "local copy: L(d) -> L(../x)"},
	{words: "h:x h:x", msg: "h:x and h:x are the same file"},
	{words: "h:x h:", msg: "h:x and h: are the same file"},
	{words: "h:x u@h:x", want: "third-party copy: H(,h,,x) -> H(u,h,,x)"},
	{words: "h:x ssh://h:22/x", want: "third-party copy: H(,h,,x) -> H(,h,22,/x)"},
	{words: "f d/f h:", msg: "f and d/f would both be written to h:f"},
	{words: "f d/f h:/x/", msg: "f and d/f would both be written to h:/x/f"},
	{words: "a:*.c b:*.c .", want: "pull/: H(,a,,*.c) H(,b,,*.c) -> L(.)"},
	{words: "a:x/ b:x/ .", want: "pull/: H(,a,,x/) H(,b,,x/) -> L(.)"},
	{words: "http://h/x a:y d", want: "mixed sources/: U(http://h/x) H(,a,,y) -> L(d)"},
	{words: "f g ./new", msg: "./new: is not a directory", hints: "for a new directory, write ./new/"},
	{words: "f g new/", want: "local copy/: L(f) L(g) -> L(new/)"},
	{words: "f n1 g", msg: "cannot tell files from hosts: f, g exist here; n1 does not", hints: "hosts: gomover f n1: g:"},
	{words: "f n1 :x", msg: "n1, :x: no such file or directory", hints: "for the host, write n1:"},
	{words: "n1 n2 n3", msg: "n1, n2, n3: no such file or directory", hints: "for the hosts, write n1: n2: n3:"},
	{words: "f u@n1 [::1]", want: "fan-out: L(f) -> H(u,n1,,) H(,::1,,)"},
	{words: "f n1 n2", o: WordOptions{DestPath: "/x"}, want: "fan-out: L(f) -> H(,n1,,/x) H(,n2,,/x)"},
	{words: "f n1:", o: WordOptions{DestPath: "/x"}, msg: "--dest /x: says where on hosts, but no hosts are given without a path"},
	{words: "f", o: WordOptions{Hosts: []string{"n1", "n2"}, DestPath: "x"}, want: "fan-out: L(f) -> H(,n1,,x) H(,n2,,x)"},
	{words: "f", o: WordOptions{Hosts: []string{"n1"}}, want: "push/: L(f) -> H(,n1,,)"},
	{words: "f", o: WordOptions{Hosts: []string{"-n1"}}, msg: "-n1: a host may not start with -"},
	{words: "f", o: WordOptions{Hosts: []string{"n1"}, To: []string{"h:"}}, msg: "-t, --to and --hosts exclude one another"},
	{words: "f a:x", o: WordOptions{TargetDir: "h2:/d"}, want: "mixed sources/: L(f) H(,a,,x) -> H(,h2,,/d)"},
	{words: "f", o: WordOptions{TargetDir: "d"}, want: "local copy/: L(f) -> L(d)"},
	{words: "f", o: WordOptions{TargetDir: "h1x"}, msg: "h1x: is not a directory", fault: FaultDest},
	{words: "f", o: WordOptions{TargetDir: "new"}, want: "local copy/: L(f) -> L(new)"},
	{words: "f", o: WordOptions{TargetDir: "http://h/x"}, msg: "http://h/x: a web address can be a source only"},
	{words: "n1", o: WordOptions{TargetDir: "d"}, msg: "n1: no such file or directory", hints: "for a file on the host n1, write n1:PATH", fault: FaultSource},
	{words: "", o: WordOptions{TargetDir: "d"}, msg: "no source given", hints: "gomover FILE -t d"},
	{words: "- f", o: WordOptions{TargetDir: "d"}, msg: "standard input is not mixed with other sources"},
	{words: "-", o: WordOptions{To: []string{"h:x"}}, want: "from stdin: - -> H(,h,,x)"},
	{words: "-", o: WordOptions{TargetDir: "h:x"}, msg: "standard input goes to one file only", hints: "gomover - host:FILE"},
	{words: "f g ./x/", o: WordOptions{Exact: true}, msg: "-T takes one source, since the destination is its exact name"},
	{words: "f", o: WordOptions{Exact: true, TargetDir: "d"}, msg: "-t and -T exclude one another"},
	{words: "f n1: N1:/./", want: "fan-out: L(f) -> H(,n1,,) H(,N1,,/./)"},
	{words: "f n1:x N1:./x", msg: "n1:x and N1:./x are the same destination"},
	{words: "./f", o: WordOptions{Pull: true, From: []string{"a:/f"}}, want: "replica pull: H(,a,,/f) -> L(./f)"},
	{words: "f h:", o: WordOptions{From: []string{"a:/f"}}, msg: "--from is used with pull only"},
	{words: "./f", o: WordOptions{Pull: true}, msg: "pull needs at least one copy and a local destination", hints: "gomover pull h1:/f h2:/f ./f"},
}

func TestClassify(t *testing.T) {
	for name, table := range map[string][]caseRow{"manual": manualCases, "messages": messageCases, "further": furtherCases} {
		t.Run(name, func(t *testing.T) {
			for _, c := range table {
				runCase(t, c)
			}
		})
	}
}

func runCase(t *testing.T, c caseRow) {
	t.Helper()
	words := strings.Fields(c.words)
	for i, w := range words {
		if w == `""` {
			words[i] = ""
		}
	}
	p, err := Classify(words, c.o, disk)
	if c.want != "" {
		if err != nil {
			t.Errorf("%s %+v: refused: %v; want %s", c.words, c.o, err, c.want)
		} else if got := describe(p); got != c.want {
			t.Errorf("%s %+v:\n got %s\nwant %s", c.words, c.o, got, c.want)
		}
		return
	}
	e, ok := err.(*Error)
	if !ok {
		t.Errorf("%s %+v: got %s, %v; want refusal %q", c.words, c.o, describe(p), err, c.msg)
		return
	}
	if hints := strings.Join(e.Hints, " / "); e.Msg != c.msg || hints != c.hints || e.Fault != c.fault {
		t.Errorf("%s %+v:\n got %q hints %q fault %d\nwant %q hints %q fault %d", c.words, c.o, e.Msg, hints, e.Fault, c.msg, c.hints, c.fault)
	}
}

func FuzzClassify(f *testing.F) {
	for _, c := range manualCases {
		f.Add(c.words, false, "", false)
	}
	f.Add("a:x b:y", true, "c:z", true)
	f.Fuzz(func(t *testing.T, line string, pull bool, target string, windows bool) {
		words := strings.Split(line, " ")
		p, err := Classify(words, WordOptions{Pull: pull, TargetDir: target, Windows: windows, Recursive: true}, disk)
		if err != nil {
			if e, ok := err.(*Error); !ok || e.Msg == "" || len(e.Hints) > 2 {
				t.Fatalf("%q: %#v", words, err)
			}
			return
		}
		if len(p.Sources) == 0 || len(p.Dests) == 0 || p.Mode == 0 {
			t.Fatalf("%q: incomplete plan %+v", words, p)
		}
		for _, d := range p.Dests {
			if d.Kind == URL {
				t.Fatalf("%q: a web address as destination", words)
			}
		}
	})
}
