package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// testEnv gives surroundings without a real file system: files maps paths
// without their leading slash to contents; the home directory is /home/me.
func testEnv(vars map[string]string, files fstest.MapFS, args ...string) (Env, *bytes.Buffer, *bytes.Buffer) {
	var out, errOut bytes.Buffer
	inside := func(path string) string {
		if p := strings.Trim(path, "/"); p != "" && p != "." {
			return strings.TrimPrefix(p, "./")
		}
		return "."
	}
	return Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut,
		LookupEnv:    func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		Stat:         func(path string) (fs.FileInfo, error) { return fs.Stat(files, inside(path)) },
		ReadFile:     func(path string) ([]byte, error) { return fs.ReadFile(files, inside(path)) },
		Now:          func() time.Time { return time.Unix(1_800_000_000, 0) },
		Home:         "/home/me",
		SystemConfig: "/etc/gomover/config",
	}, &out, &errOut
}

// ran is what one command line came to.
type ran struct {
	command     string
	o           *Options
	words       []string
	out, errOut string
	code        int
}

// run dispatches a command line with handlers that only note what they got, and
// then reads the words of a copy as the program does.
func run(vars map[string]string, files fstest.MapFS, args ...string) ran {
	env, out, errOut := testEnv(vars, files, args...)
	var r ran
	err := dispatch(context.Background(), env, handlers{
		copy: func(_ context.Context, o *Options, words []string) error {
			r.command, r.o, r.words = "copy", o, words
			_, err := readWords(env, o, words)
			return err
		},
		version: func(_ context.Context, o *Options) error {
			r.command, r.o = "version", o
			return nil
		},
		hosts: map[string]func(context.Context, *Options, []string) error{
			"pull": func(_ context.Context, o *Options, words []string) error {
				r.command, r.o, r.words = "pull", o, words
				_, err := readPull(env, o, words)
				return err
			},
		},
		hidden: map[string]func(context.Context, []string) error{
			"__far": func(_ context.Context, args []string) error {
				r.command, r.words = "__far", args
				return nil
			},
		},
	})
	r.code = reportError(errOut, err)
	r.out, r.errOut = out.String(), errOut.String()
	return r
}

// someFiles are the local files of the tests.
var someFiles = fstest.MapFS{
	"f": {}, "g": {}, "big.dat": {}, "dir/x": {}, "pull": {}, "copy": {}, "streams": {}, "-x": {},
}

func TestArgv(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"f h:", "copy -- f h:"},
		{"copy f h:", "copy -- f h:"},
		{"copy copy h:", "copy -- copy h:"},
		{"-r copy f h:", "copy --recursive=yes -- f h:"},
		{"-- pull h:", "copy -- pull h:"},
		{"f pull", "copy -- f pull"},
		{"f h: -r", "copy --recursive=yes -- f h:"},
		{"f -rv h:", "copy --recursive=yes --verbose=yes -- f h:"},
		{"-vv f h:", "copy --verbose=yes --verbose=yes -- f h:"},
		{"-P22 f h:", "copy --P=22 -- f h:"},
		{"-P 22 f h:", "copy --P=22 -- f h:"},
		{"-rP22 f h:", "copy --recursive=yes --P=22 -- f h:"},
		{"-rP 22 f h:", "copy --recursive=yes --P=22 -- f h:"},
		{"--streams 4 f h:", "copy --streams=4 -- f h:"},
		{"--streams=4 f h:", "copy --streams=4 -- f h:"},
		{"--streams=4=5 f h:", "copy --streams=4=5 -- f h:"},
		{"--streams -- f h:", "copy --streams=-- -- f h:"},
		{"--no-glob f h:", "copy --glob=no -- f h:"},
		{"--no-space-check f h:", "copy --no-space-check=yes -- f h:"},
		{"--no-no-space-check f h:", "copy --no-space-check=no -- f h:"},
		{"--recursive=no f h:", "copy --recursive=no -- f h:"},
		{"--json f h:", "copy --json=- -- f h:"},
		{"--json=x f h:", "copy --json=x -- f h:"},
		{"-p f h:", "copy --perms=yes --times=yes -- f h:"},
		{"-L f h:", "copy --links=follow -- f h:"},
		{"--ignore-existing f h:", "copy --existing=skip -- f h:"},
		{"--partial --append-verify f h:", "copy -- f h:"},
		{"-46 f h:", "copy --4=yes --6=yes -- f h:"},
		{"-o A=b -o C=d f h:", "copy --o=A=b --o=C=d -- f h:"},
		{"- h:x", "copy -- - h:x"},
		{"-- -x h:", "copy -- -x h:"},
		{"f -- h: -r", "copy -- f h: -r"},
		{"version --json", "version --json=- --"},
		{"resume --nonsense", "resume -- --nonsense"},
	} {
		line, err := readArgs(strings.Fields(c.args))
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		if got := strings.TrimSpace(strings.Join(line.argv()[1:], " ")); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.args, got, c.want)
		}
	}
}

// TestDispatchKeepsOptionsAndWords sends every value and word through the
// dispatcher unchanged, whatever bytes they hold.
func TestDispatchKeepsOptionsAndWords(t *testing.T) {
	r := run(nil, someFiles, "-t", "h: $x\n'", "--agent", "a=b --c", "f", "--", "streams", "-x")
	if r.code != 0 || r.o.Copy.TargetDir != "h: $x\n'" || r.o.SSH.Agent != "a=b --c" || strings.Join(r.words, "|") != "f|streams|-x" {
		t.Errorf("got %+v", r)
	}
	r = run(nil, someFiles, "__far", "-x", "--", "--json", "y")
	if r.code != 0 || r.command != "__far" || strings.Join(r.words, "|") != "-x|--|--json|y" {
		t.Errorf("hidden command: got %+v", r)
	}
	r = run(nil, someFiles, "f", "__far")
	if r.command != "copy" {
		t.Errorf("the hidden command's name as a later word: got %+v", r)
	}
}

// Values that are empty are not taken for options that were not given.
func TestEmptyValues(t *testing.T) {
	for _, args := range [][]string{{"-t", ""}, {"-F", ""}, {"-J", ""}, {"-i", ""}, {"--config", ""}, {"--agent-dir", ""}, {"--bind", ""}} {
		r := run(nil, someFiles, append(args, "f", "g")...)
		if r.code != exitUsage || !strings.HasPrefix(r.errOut, "gomover: "+args[0]) {
			t.Errorf("gomover %q f g: got [%d] %q", args, r.code, r.errOut)
		}
	}
}

func TestMessages(t *testing.T) {
	const later = "not available yet; "
	for _, c := range []struct {
		args string
		code int
		want string // without the prefix; lines separated by " / "
	}{
		// The manual's examples that are decided before anything is contacted.
		{"big.dat", 1, "big.dat: no destination given / hint: gomover big.dat host: / hint: gomover big.dat ./copy.dat"},
		{"big.dat h1", 1, "h1: is neither an existing file nor written as a host / hint: for the host, write h1: / hint: for a new local file, write ./h1"},
		{"f h1 h2:/d", 1, "some destinations have a colon and some do not (h1; h2:/d) / hint: write every host with a colon: gomover f h1: h2:/d"},
		{"f g h2", 1, "cannot tell files from hosts: f, g exist here; h2 does not / hint: hosts: gomover f g: h2: / hint: files into directory h2: gomover f g h2/"},
		{"h1:/a h2:/b h3:/c", 1, "three remote places: several sources into h3:/c, or h1:/a to several hosts? / hint: copy to this machine first, then on to the other"},
		{"h1:/f h2:/f .", 1, "h1:/f and h2:/f would both be written to ./f / hint: if they are copies of one file: gomover pull h1:/f h2:/f ./f"},
		{"f 2001:db8::7:/d", 1, "2001:db8::7:/d: an IPv6 address needs brackets / hint: [2001:db8::7]:/d"},
		{"f sftp://h/x", 1, "sftp://h/x: this kind of address is not supported / hint: ssh://h/x is the absolute path /x on h; ssh://h/~/x starts in the home directory"},
		{`C:\data h:`, 1, `C:\data: looks like a Windows path / hint: for a file of that name write './C:\data'`},
		{"dir h:", 1, "dir: is a directory / hint: add -r to copy it with its contents"},
		{"--bwlimit 10M f h:", 1, "--bwlimit 10M: bits or bytes? / hint: 10MB is 10 million bytes per second, 10Mbit is 10 million bits per second"},
		{"--bwlimit 0 f h:", 1, "--bwlimit 0: must be at least 8kbit / hint: off means no limit"},
		{"--streams 0 f h:", 1, "--streams 0: must be auto, a number from 1 to 256, or a range such as 2-16"},
		{"-s 0 f h:", 1, "-s 0: must be auto, a number from 1 to 256, or a range such as 2-16"},
		{"-s0 f h:", 1, "-s 0: must be auto, a number from 1 to 256, or a range such as 2-16"},
		{"--strems 4", 1, "unknown option --strems / hint: --streams"},
		// Options of other programs.
		{"-l 8000 f h:", 1, "-l: scp's -l is in Kbit/s; use --bwlimit with a unit, e.g. --bwlimit 80Mbit"},
		{"-z f h:", 1, "-z: for the old reverse connection use --dial=target; data is not compressed"},
		{"-Z 1:2 f h:", 1, "-Z: use --ports A-B"},
		{"-e ssh f h:", 1, "-e: use --ssh CMD"},
		{"-rO f h:", 1, "-O: use --ignore-existing"},
		{"-u f h:", 1, "-u: use --existing=update (the default compares size and time)"},
		// Options that cannot be read.
		{"--recurs f h:", 1, "unknown option --recurs / hint: --recursive"},
		{"--ssize-only f h:", 1, "unknown option --ssize-only / hint: --size-only"},
		{"--no-streams f h:", 1, "unknown option --no-streams / hint: --streams"},
		{"--no-recursiv f h:", 1, "unknown option --no-recursiv / hint: --no-recursive"},
		{"--zzz f h:", 1, "unknown option --zzz"},
		{"--delete f h:", 1, "unknown option --delete: nothing at the destination is ever deleted"},
		{"--delete-after f h:", 1, "unknown option --delete-after: nothing at the destination is ever deleted"},
		{"-y f h:", 1, "unknown option -y"},
		{"-ry f h:", 1, "unknown option -y (in -ry)"},
		{"f -h:x", 1, "unknown option -: (in -h:x)"},
		{"f -- -h:x", 1, "-h:x: a host may not start with -"},
		{"--recursive=maybe f h:", 1, "--recursive=maybe: must be yes or no"},
		{"--no-recursive=yes f h:", 1, "--no-recursive=yes: takes no value"},
		{"--partial=x f h:", 1, "--partial=x: takes no value"},
		{"f h: --bwlimit", 1, "--bwlimit: needs a value / hint: --bwlimit RATE"},
		{"f h: -P", 1, "-P: needs a value / hint: -P PORT"},
		{"-j=4 f h:", 1, "-j=4: only long options take a value after = / hint: -j 4"},
		{"-ri=key f h:", 1, "-ri=key: only long options take a value after = / hint: -i key"},
		{"-P= f h:", 1, "-P=: only long options take a value after = / hint: -P ''"},
		{"-r=yes f h:", 1, "-r=yes: only long options take a value after ="},
		{"--streams= f h:", 1, "--streams '': must be auto, a number from 1 to 256, or a range such as 2-16"},
		{"--target-directory= f g", 1, "--target-directory '': must not be empty"},
		{"--json= f h:", 1, "--json=: must be a file, fd: and a number, or off"},
		{"-P 0 f h:", 1, "-P 0: must be a number from 1 to 65535"},
		{"--ports 50010-50000 f h:", 1, "--ports 50010-50000: the first port is above the second"},
		{"--help=x", 1, "--help=x: must be --help or --help=all"},
		// What a later version brings.
		{"--bwlimit 8:00,200Mbit f h:", 1, "--bwlimit 8:00,200Mbit: must be an entry of a timetable such as 08:00,200Mbit or Mon-Fri-18:00,off"},
		{"--transport=xm f h:", 1, "--transport xm: is multicast to several destinations, and there is one"},
		{"--transport=xm --fanout=chain f h1: h2:", 1, "--transport xm: is multicast, which --fanout chain excludes"},
		{"-n f h:", 1, "-n: " + later + "use --explain to see the plan of a real run"},
		{"--mcast-group=10.1.2.3 f h1: h2:", 1, "--mcast-group 10.1.2.3: is no multicast address\n  hint: such as 239.192.1.2 or ff3e::8000:1; auto takes one of this machine's own"},
		{"--to h1: a:x --to h2:", 1, "from a:x to several destinations: " + later + "copy to this machine first, then on to the other"},
		{"--inplace f h:", 1, "--inplace: " + later + "without it the old file stays until the new one is complete"},
		{"--from h1:/f f h2:", 1, "--from is used with pull only"},
		{"pull -r http://h1/d/ ./d", 1, "http://h1/d/: a mirror does not tell what is in a tree / hint: use a list that names the files: --metalink FILE"},
		{"pull -r --trust-mirrors h1:d/ h2:d/ ./d", 1, "--trust-mirrors: does not go with trees, of which every block is compared"},
		{"resume", 1, "resume: " + later + "give the same command again; it continues"},
		{"a:x b:y", 1, "from a:x to b:y, both remote: " + later + "copy to this machine first, then on to the other"},
		{"- h:x", 1, "copying from standard input: " + later + "write a file first and copy that"},
		{"a:x -", 1, "copying to standard output: " + later + "copy to a file first: gomover a:x ./"},
		{"http://h/x .", 1, "copying from http://h/x: " + later + "use gomover pull URL FILE, which writes to this machine"},
		{"a:x b:y .", 1, "sources on several hosts (a:x, b:y): " + later + "run gomover once for each host"},
		// Several destinations.
		{"f n1: n1:/./ n1:", 1, "n1: and n1: are the same destination"},
		{"--hosts n1,n2 f --to n3:", 1, "-t, --to and --hosts exclude one another"},
		{"--hosts n1,,n2 f", 1, ": the host is empty"},
		{"--hosts @none f", 1, "--hosts @none: file does not exist"},
		{"--hosts @g f", 1, "--hosts @g: names no host"},
		{"--hosts n1:/x f", 1, "n1:/x: the host may hold only letters, digits, -, _ and ."},
		{"--dest /x f n1: n2:", 1, "--dest /x: says where on hosts, but no hosts are given without a path"},
		{"--slow-dest=kick f n1 n2", 1, "--slow-dest kick: must be detach, wait or drop"},
		{"--min-dests=0 f n1 n2", 1, "--min-dests 0: must be all or a number from 1 to 1024"},
		{"--bwlimit-each 10M f n1 n2", 1, "--bwlimit-each 10M: bits or bytes? / hint: 10MB is 10 million bytes per second, 10Mbit is 10 million bits per second"},
		// Words whose fault is not the user's spelling.
		{"nofile h1: h2:", 4, "nofile: no such file or directory"},
		{"./nofile h1: h2:", 4, "./nofile: no such file or directory"},
		{"nofile h1 h2", 1, "nofile, h1, h2: no such file or directory"},
		{"nofile f h1:", 4, "nofile: no such file or directory"},
		{"nofile h:", 4, "nofile: no such file or directory / hint: for a file on the host nofile: copy to this machine first, then on to the other"},
		{"f no/way/x", 5, "local: no such directory: no / hint: add --mkpath to create it"},
		{"f f", 1, "f and f are the same file"},
		{"version x", 1, "version takes no words"},
	} {
		r := run(nil, someFiles, strings.Fields(c.args)...)
		want := "gomover: " + strings.ReplaceAll(c.want, " / hint: ", "\n  hint: ") + "\n"
		if r.code != c.code || r.errOut != want || r.out != "" {
			t.Errorf("gomover %s:\n got [%d] %q\nwant [%d] %q", c.args, r.code, r.errOut, c.code, want)
		}
	}
}

func TestCommands(t *testing.T) {
	for _, c := range []struct{ args, command, words string }{
		{"f h:", "copy", "f h:"},
		{"copy f h:", "copy", "f h:"},
		{"-- pull h:", "copy", "pull h:"},
		{"./pull h:", "copy", "./pull h:"},
		{"version", "version", ""},
		{"version --json", "version", ""},
		{"--version", "version", ""},
	} {
		r := run(nil, someFiles, strings.Fields(c.args)...)
		if r.code != 0 || r.command != c.command || strings.Join(r.words, " ") != c.words {
			t.Errorf("gomover %s: got %d %s %q %s", c.args, r.code, r.command, r.words, r.errOut)
		}
	}
	for _, c := range commandTable {
		if c.later == "" {
			continue
		}
		r := run(nil, someFiles, c.name, "--json", "-z")
		want := "gomover: " + c.name + ": not available yet; " + c.later + "\n"
		if r.code != exitUsage || r.errOut != want || r.command != "" {
			t.Errorf("gomover %s: got [%d] %q; want %q", c.name, r.code, r.errOut, want)
		}
	}
}

func TestDispatcherFaultIsInternal(t *testing.T) {
	env, _, errOut := testEnv(nil, nil)
	err := newApp(env, handlers{}, commandLine{}).RunContext(context.Background(), []string{"gomover", "copy", "--nonsense=1"})
	if code := reportError(errOut, err); code != exitInternal || errOut.Len() == 0 {
		t.Errorf("got %d %q", code, errOut)
	}
	if errors.Is(err, context.Canceled) {
		t.Error("unexpected cause")
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"strems", "streams", 1}, {"sterams", "streams", 1}, {"kitten", "sitting", 3}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d; want %d", c.a, c.b, got, c.want)
		}
	}
}

func FuzzReadArgs(f *testing.F) {
	for _, s := range []string{"f h:", "-rP 22 f -- h:", "--no-glob", "--json=x", "-", "--", "-t", "pull x", "-4\x00é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, " ")
		line, err := readArgs(args)
		if err != nil {
			var e *exitError
			if !errors.As(err, &e) || e.Code != exitUsage || e.Msg == "" {
				t.Fatalf("%q: %v", args, err)
			}
			return
		}
		c := findCommand(line.command)
		if c == nil || c.later != "" {
			return
		}
		// The canonical form reads as itself: options in the long form, except
		// for those that have only a letter.
		for i, g := range line.given {
			p := findID(g.id)
			if p == nil || p.name == "" || p.kind == kindCount {
				continue
			}
			back, err := readArgs([]string{"--" + g.id + "=" + g.value})
			if err != nil || len(back.given) != 1 || back.given[0].value != g.value {
				t.Fatalf("%q: option %d %+v reads back as %+v, %v", args, i, g, back.given, err)
			}
		}
	})
}
