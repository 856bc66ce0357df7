package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

const (
	systemPath = "etc/gomover/config"
	userPath   = "home/me/.config/gomover/config"
)

// configs gives the usual files with some configurations among them.
func configs(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for k, v := range someFiles {
		out[k] = v
	}
	for k, v := range files {
		out[k] = &fstest.MapFile{Data: []byte(v), Mode: 0o644}
	}
	return out
}

func TestPrecedence(t *testing.T) {
	files := configs(map[string]string{
		systemPath: "streams = 1\nwindow = 1M\nmemory = 64M\njobs = 2\ncc = bbr\n",
		userPath:   "# mine\n\n  streams=2\nwindow = 2M\n memory = \"32M\"\njobs = 3\n",
		"my.conf":  "streams = 3\nwindow = 3M\nmemory = 16M\n",
	})
	vars := map[string]string{"GOMOVER_STREAMS": "4", "GOMOVER_WINDOW": "4M", "GOMOVER_CONFIG": "my.conf", "GOMOVER_JOBS": ""}
	r := run(vars, files, "--streams=5", "f", "h:")
	if r.code != 0 {
		t.Fatal(r.errOut)
	}
	o := r.o
	if o.Net.Streams.Max != 5 || o.Net.Window != 4<<20 || o.Storage.Memory != 16<<20 || o.Storage.Jobs != 3 || o.Net.Congestion != "bbr" {
		t.Errorf("streams %d window %d memory %d jobs %d cc %s", o.Net.Streams.Max, o.Net.Window, o.Storage.Memory, o.Storage.Jobs, o.Net.Congestion)
	}
	for id, want := range map[string]string{
		"streams": "--streams 5", "window": "GOMOVER_WINDOW", "memory": "my.conf, line 3",
		"jobs": "~/.config/gomover/config, line 6", "cc": "/etc/gomover/config, line 5",
	} {
		if got := o.Set[id].Where; got != want {
			t.Errorf("%s comes from %q; want %q", id, got, want)
		}
	}
	if o.Set["streams"].From != FromCommandLine || o.Set["window"].From != FromEnvironment || o.Set["jobs"].From != FromFile {
		t.Errorf("got %+v", o.Set)
	}
	if _, ok := o.Set["dial"]; ok {
		t.Error("a default is said to be set")
	}
}

func TestWhichFilesAreRead(t *testing.T) {
	files := configs(map[string]string{
		systemPath: "jobs = 2\n", userPath: "jobs = 3\n", "my.conf": "jobs = 4\n", "xdg/gomover/config": "jobs = 5\n",
	})
	for _, c := range []struct {
		vars map[string]string
		args string
		want int
		msg  string
	}{
		{nil, "", 3, ""},
		{nil, "--no-config", 0, ""},
		{nil, "--config my.conf", 4, ""},
		{map[string]string{"GOMOVER_CONFIG": "my.conf"}, "", 4, ""},
		{map[string]string{"GOMOVER_CONFIG": ""}, "", 0, ""},
		{map[string]string{"GOMOVER_CONFIG": "my.conf"}, "--no-config", 0, ""},
		{map[string]string{"GOMOVER_NO_CONFIG": "yes"}, "", 0, ""},
		{map[string]string{"GOMOVER_CONFIG": "none.conf"}, "--config my.conf", 4, ""},
		{map[string]string{"XDG_CONFIG_HOME": "/xdg"}, "", 5, ""},
		{nil, "--config none.conf", 0, "reading the configuration none.conf: file does not exist"},
		{nil, "--config my.conf --no-config", 0, "--config and --no-config exclude one another"},
	} {
		r := run(c.vars, files, append(strings.Fields(c.args), "f", "h:")...)
		if c.msg != "" {
			if r.code != exitUsage || r.errOut != "gomover: "+c.msg+"\n" {
				t.Errorf("%v %s: got [%d] %q; want %q", c.vars, c.args, r.code, r.errOut, c.msg)
			}
			continue
		}
		if r.code != 0 || r.o.Storage.Jobs != c.want {
			t.Errorf("%v %s: got [%d] %s jobs %v; want %d", c.vars, c.args, r.code, r.errOut, r.o, c.want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{strings.Repeat("\n", 11) + "ports = 50010-50000", "~/.config/gomover/config, line 12: ports = 50010-50000: the first port is above the second"},
		{"strems = 4", "~/.config/gomover/config, line 1: strems: unknown setting\n  hint: streams"},
		{"no-glob = yes", "~/.config/gomover/config, line 1: no-glob: unknown setting\n  hint: glob = no"},
		{"P = 22", "~/.config/gomover/config, line 1: P: unknown setting"},
		{"streams", "~/.config/gomover/config, line 1: streams: is not a setting\n  hint: NAME = VALUE"},
		{"= 4", "~/.config/gomover/config, line 1: = 4: is not a setting\n  hint: NAME = VALUE"},
		{"recursive = maybe", "~/.config/gomover/config, line 1: recursive = maybe: must be yes or no"},
		{"ignore-existing = maybe", "~/.config/gomover/config, line 1: ignore-existing = maybe: must be yes or no"},
		{"bwlimit = 10M", "~/.config/gomover/config, line 1: bwlimit = 10M: bits or bytes?\n  hint: 10MB is 10 million bytes per second, 10Mbit is 10 million bits per second"},
		{"priority = loud", "~/.config/gomover/config, line 1: priority = loud: must be fair, background or bold"},
		{"target-directory = x", "~/.config/gomover/config, line 1: target-directory: cannot be set in a file, since it changes what a command means\n  hint: --target-directory on the command line"},
		{"[host n*]\nports = 9-1", "~/.config/gomover/config, line 2: ports = 9-1: the first port is above the second"},
		{"[host]", "~/.config/gomover/config, line 1: [host]: is not a section\n  hint: [host PATTERN...]"},
		{"[hosts a]", "~/.config/gomover/config, line 1: [hosts a]: is not a section\n  hint: [host PATTERN...]"},
		{"[host a", "~/.config/gomover/config, line 1: [host a: is not a section\n  hint: [host PATTERN...]"},
		{"[host [a]", "~/.config/gomover/config, line 1: [a: is not a pattern"},
	} {
		r := run(nil, configs(map[string]string{userPath: c.text}), "f", "h:")
		if r.code != exitUsage || r.errOut != "gomover: "+c.want+"\n" || r.o != nil {
			t.Errorf("%q:\n got [%d] %q\nwant %q", c.text, r.code, r.errOut, c.want)
		}
	}
	r := run(map[string]string{"GOMOVER_PORTS": "9-1"}, someFiles, "f", "h:")
	if r.errOut != "gomover: GOMOVER_PORTS=9-1: the first port is above the second\n" {
		t.Errorf("environment: %q", r.errOut)
	}
}

// TestPrivateOptionsInFiles names every option that a system or user file may
// not set, available or not.
func TestPrivateOptionsInFiles(t *testing.T) {
	for _, name := range []string{"to", "hosts", "from", "files-from", "dry-run", "expect", "target-directory", "inplace"} {
		for _, path := range []string{systemPath, userPath} {
			r := run(nil, configs(map[string]string{path: name + " = yes"}), "f", "h:")
			if r.code != exitUsage || !strings.Contains(r.errOut, ": "+name+": cannot be set in a file") {
				t.Errorf("%s in %s: got [%d] %q", name, path, r.code, r.errOut)
			}
		}
	}
	r := run(nil, configs(map[string]string{"my.conf": "target-directory = h:"}), "--config", "my.conf", "f")
	if r.code != 0 || r.o.Copy.TargetDir != "h:" {
		t.Errorf("a file given on the command line: [%d] %s", r.code, r.errOut)
	}
	r = run(nil, configs(map[string]string{"my.conf": "config = other"}), "--config", "my.conf", "f", "h:")
	if r.code != exitUsage {
		t.Error("a file may name another file")
	}
}

func TestUserFileWritableByOthers(t *testing.T) {
	files := configs(map[string]string{userPath: "jobs = 2"})
	files[userPath].Mode = 0o666
	r := run(nil, files, "f", "h:")
	if r.code != exitUsage || r.errOut != "gomover: ~/.config/gomover/config: others may write to this configuration\n  hint: chmod o-w ~/.config/gomover/config\n" {
		t.Errorf("got [%d] %q", r.code, r.errOut)
	}
	files = configs(map[string]string{userPath: strings.Repeat("#", maxConfigLen+1)})
	if r := run(nil, files, "f", "h:"); r.code != exitUsage {
		t.Error("an endless configuration is read")
	}
}

func TestForHost(t *testing.T) {
	r := run(map[string]string{"GOMOVER_JOBS": "7"}, configs(map[string]string{
		systemPath: "jobs = 1\nstreams = 1\n[host *]\nstreams = 2\ndial = source\n",
		userPath: "agent = /a\n\n[host dtn*.example.org lab?]\nports = 50000-50010\nagent = /b\njobs = 9\nstreams = 3\n" +
			"[host DTN1.*]\nagent = /c\nignore-existing = yes\n",
	}), "--streams=8", "f", "h:")
	if r.code != 0 {
		t.Fatal(r.errOut)
	}
	type values struct {
		agent    string
		ports    int
		jobs     int
		streams  int
		dial     string
		existing string
	}
	at := func(o *Options) values {
		return values{o.SSH.Agent, o.Net.Ports.First, o.Storage.Jobs, o.Net.Streams.Max, o.Net.Dial, o.Safety.Existing}
	}
	for _, c := range []struct {
		names string
		want  values
	}{
		{"", values{"/a", 0, 7, 8, "auto", "update"}},
		{"other", values{"/a", 0, 7, 8, "source", "update"}},
		{"lab7", values{"/b", 50000, 7, 8, "source", "update"}},
		{"dtn1.example.org", values{"/c", 50000, 7, 8, "source", "skip"}},
		{"alias dtn2.example.org", values{"/b", 50000, 7, 8, "source", "update"}},
	} {
		if got := at(r.o.ForHost(strings.Fields(c.names)...)); got != c.want {
			t.Errorf("ForHost(%s): got %+v; want %+v", c.names, got, c.want)
		}
	}
	if got := at(r.o); got != (values{"/a", 0, 7, 8, "auto", "update"}) {
		t.Errorf("the general options changed: %+v", got)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("a = b\n[host x]\nstreams = 2\n# c\n")
	f.Add("[host")
	f.Add("=\n\"\"")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig(text, "file", fileUser)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		for _, s := range c.global {
			_ = s.apply(newOptions())
		}
	})
}
