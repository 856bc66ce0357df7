package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMessages gives command lines that are refused before anybody is contacted,
// and compares every word.
func TestMessages(t *testing.T) {
	t.Parallel()
	w := newLocal(t)
	put(t, filepath.Join(w.near, "f"), []byte("f"))
	put(t, filepath.Join(w.near, "big.dat"), []byte("big"))
	put(t, filepath.Join(w.near, "dir", "x"), []byte("x"))
	put(t, filepath.Join(w.near, "conf"), []byte("# comment\n\nports = 50010-50000\n"))
	put(t, filepath.Join(w.near, "conf2"), []byte("strems = 4\n"))
	put(t, filepath.Join(w.near, "h1file"), []byte("h"))
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"big.dat", 1, "big.dat: no destination given\n  hint: gomover big.dat host:\n  hint: gomover big.dat ./copy.dat"},
		{"big.dat h1", 1, "h1: is neither an existing file nor written as a host\n  hint: for the host, write h1:\n  hint: for a new local file, write ./h1"},
		{"f h1 h2:/d", 1, "some destinations have a colon and some do not (h1; h2:/d)\n  hint: write every host with a colon: gomover f h1: h2:/d"},
		{"f h1file h2", 1, "cannot tell files from hosts: f, h1file exist here; h2 does not\n  hint: hosts: gomover f h1file: h2:\n  hint: files into directory h2: gomover f h1file h2/"},
		{"h1:/a h2:/b h3:/c", 1, "three remote places: several sources into h3:/c, or h1:/a to several hosts?\n  hint: copy to this machine first, then on to the other"},
		{"h1:/f h2:/f .", 1, "h1:/f and h2:/f would both be written to ./f\n  hint: if they are copies of one file: gomover pull h1:/f h2:/f ./f"},
		{"f 2001:db8::7:/d", 1, "2001:db8::7:/d: an IPv6 address needs brackets\n  hint: [2001:db8::7]:/d"},
		{"f sftp://h/x", 1, "sftp://h/x: this kind of address is not supported\n  hint: ssh://h/x is the absolute path /x on h; ssh://h/~/x starts in the home directory"},
		{`C:\data h:`, 1, `C:\data: looks like a Windows path` + "\n" + `  hint: for a file of that name write './C:\data'`},
		{"dir h:", 1, "dir: is a directory\n  hint: add -r to copy it with its contents"},
		{"dir ./y", 1, "dir: is a directory\n  hint: add -r to copy it with its contents"},
		{"--bwlimit 10M f h:", 1, "--bwlimit 10M: bits or bytes?\n  hint: 10MB is 10 million bytes per second, 10Mbit is 10 million bits per second"},
		{"--streams 0 f h:", 1, "--streams 0: must be auto, a number from 1 to 256, or a range such as 2-16"},
		{"--strems 4 f h:", 1, "unknown option --strems\n  hint: --streams"},
		{"--config=conf f h:", 1, "conf, line 3: ports = 50010-50000: the first port is above the second"},
		{"--config=conf2 f h:", 1, "conf2, line 1: strems: unknown setting\n  hint: streams"},
		{"nowhere h:", 4, "nowhere: no such file or directory\n  hint: for a file on the host nowhere: copy to this machine first, then on to the other"},
		{"./nowhere h:", 4, "./nowhere: no such file or directory"},
		{"f ./f", 1, "f and ./f are the same file"},
		{"-r dir dir/sub", 1, "dir/sub: lies inside dir"},
		{"-T f g h:", 1, "some destinations have a colon and some do not (g; h:)\n  hint: write every host with a colon: gomover f g: h:"},
		{"--mcast-group=10.0.0.1 f h1: h2:", 1, "--mcast-group 10.0.0.1: is no multicast address\n  hint: such as 239.192.1.2 or ff3e::8000:1; auto takes one of this machine's own"},
		{"-n f h:", 1, "-n: not available yet; use --explain to see the plan of a real run"},
		{"--exclude x -r dir h:", 1, "--exclude: not available yet; copy the wanted directories as separate sources"},
		{"resume abcd", 1, "resume: not available yet; give the same command again; it continues"},
		{"f http://h/x", 1, "http://h/x: a web address can be a source only"},
		{"h1:/f h2:/g", 1, "from h1:/f to h2:/g, both remote: not available yet; copy to this machine first, then on to the other"},
		{"h1:/a --to h2: --to h3:", 1, "from h1:/a to several destinations: not available yet; copy to this machine first, then on to the other"},
		{"--min-dests=3 f h1 h2", 1, "--min-dests 3: there are 2 destinations"},
		{"- h:x", 1, "copying from standard input: not available yet; write a file first and copy that"},
		{"h:x -", 1, "copying to standard output: not available yet; copy to a file first: gomover h:x ./"},
		{"-l 100 f h:", 1, "-l: scp's -l is in Kbit/s; use --bwlimit with a unit, e.g. --bwlimit 80Mbit"},
		{"-z f h:", 1, "-z: for the old reverse connection use --dial=target; data is not compressed"},
		{"-e ssh f h:", 1, "-e: use --ssh CMD"},
		{"--ports 70000 f h:", 1, "--ports 70000: must be auto or a range of ports from 1 to 65535 such as 50000-50010"},
		{"--block-size 3M f h:", 1, "--block-size 3145728: must be a power of two from 64K to 16M"},
		{"--existing=perhaps f h:", 1, "--existing perhaps: must be update, skip, replace or fail"},
		{"--encrypt=maybe f h:", 1, "--encrypt maybe: must be on, auth or off"},
		{"--expect=sha256:zz f h:", 1, "--expect sha256:zz: not available yet; give the hash as blake3:HEX, which b3sum prints"},
		{"--bind nowhere0 f h:", 1, "--bind nowhere0: is neither an address nor an interface of this machine"},
		{"--json=fd:77 f h:", 1, "--json=fd:77: no such descriptor"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			r := w.run(strings.Fields(tt.args)...)
			want := "gomover: " + tt.want + "\n"
			if r.code != tt.code || r.err != want || r.out != "" {
				t.Errorf("got exit %d and\n%s%s\nwant exit %d and\n%s", r.code, r.out, r.err, tt.code, want)
			}
		})
	}
	if names, err := os.ReadDir(w.near); err != nil || len(names) > 7 {
		t.Errorf("refused commands have left %v, %v", names, err)
	}
}
