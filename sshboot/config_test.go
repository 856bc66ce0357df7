package sshboot

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	home := homeDir(t)
	conf := filepath.Join(home, ".ssh", "config")
	write(t, filepath.Join(home, ".ssh", "conf.d", "10-a"), "Host inc\n Port 1010\n", 0o600)
	write(t, filepath.Join(home, ".ssh", "conf.d", "20-b"), "Port 2020\nUser late\n", 0o600)
	write(t, filepath.Join(home, "loop"), "Include ~/loop\n", 0o600)
	for _, c := range []struct {
		name, text string
		target     Target
		edit       func(*Options)
		want       string // user@host:port, or part of the error
	}{
		{"empty", "", Target{Host: "h"}, nil, "me@h:22"},
		{"target wins", "User x\nPort 1\n", Target{User: "u", Host: "h", Port: 5}, nil, "u@h:5"},
		{"first wins", "Port 1\nPort 2\n", Target{Host: "h"}, nil, "me@h:1"},
		{"option wins", "Port 1\n", Target{Host: "h"}, func(o *Options) { o.Extra = []string{"port 7"} }, "me@h:7"},
		{"equals and case", "hOsTnAmE=Example.ORG\nPORT = 3\n", Target{Host: "h"}, nil, "me@example.org:3"},
		{"host block", "Host a b\n Port 1\nHost *\n Port 2\n", Target{Host: "b"}, nil, "me@b:1"},
		{"other block", "Host a b\n Port 1\nHost *\n Port 2\n", Target{Host: "c"}, nil, "me@c:2"},
		{"negated", "Host *.org !x.org\n Port 1\n", Target{Host: "x.org"}, nil, "me@x.org:22"},
		{"question mark", "Host n?\n Port 1\n", Target{Host: "n"}, nil, "me@n:22"},
		{"HostName token", "HostName %h.example.org\n", Target{Host: "h"}, nil, "me@h.example.org:22"},
		{"bad token", "HostName %z\n", Target{Host: "h"}, nil, "unknown token %z"},
		{"dash after expansion", "HostName -oProxyCommand=x\n", Target{Host: "h"}, nil, "must not begin with a dash"},
		{"dash user", "User -x\n", Target{Host: "h"}, nil, "must not begin with a dash"},
		{"match all", "Match all\n Port 4\n", Target{Host: "h"}, nil, "me@h:4"},
		{"match host sees HostName", "HostName real\nMatch host real\n Port 4\n", Target{Host: "h"}, nil, "me@real:4"},
		{"match originalhost", "HostName real\nMatch originalhost h,g user me\n Port 4\n", Target{Host: "h"}, nil, "me@real:4"},
		{"match originalhost, other user", "Match originalhost h user you\n Port 4\n", Target{Host: "h"}, nil, "me@h:22"},
		{"match negated", "Match !host h\n Port 4\nMatch !host x localuser me\n Port 5\n", Target{Host: "h"}, nil, "me@h:5"},
		{"match final", "Match final host real\n Port 4\nHost h\n HostName real\n", Target{Host: "h"}, nil, "me@real:4"},
		{"match exec", "Match exec true\n Port 4\nMatch !exec false\n Port 5\n", Target{Host: "h"}, nil, "me@h:22"},
		{"match tagged", "Tag blue\nMatch tagged blue\n Port 4\n", Target{Host: "h"}, nil, "me@h:4"},
		{"match nothing", "Match\n", Target{Host: "h"}, nil, "line 1: match without a criterion"},
		{"match without argument", "Match host\n", Target{Host: "h"}, nil, "without an argument"},
		{"include", "Include conf.d/*\n", Target{Host: "inc"}, nil, "late@inc:1010"},
		{"include, other host", "Include ~/.ssh/conf.d/*\n", Target{Host: "h"}, nil, "late@h:2020"},
		{"include ends with its file", "Include conf.d/10-a\nPort 9\n", Target{Host: "h"}, nil, "me@h:9"},
		{"include in a block", "Host x\n Include conf.d/20-b\nHost *\n Port 9\n", Target{Host: "h"}, nil, "me@h:9"},
		{"include of nothing", "Include nothing/*\nPort 9\n", Target{Host: "h"}, nil, "me@h:9"},
		{"include loop", "Include ~/loop\n", Target{Host: "h"}, nil, "include each other"},
		{"comments", "# Port 1\nPort 2 # or 3\n", Target{Host: "h"}, nil, "me@h:2"},
		{"carriage returns", "Port 2\r\nUser x\r\n", Target{Host: "h"}, nil, "x@h:2"},
		{"unknown keywords pass in files", "NoSuchThing yes\nPort 2\n", Target{Host: "h"}, nil, "me@h:2"},
		{"unknown option", "", Target{Host: "h"}, func(o *Options) { o.Extra = []string{"ControlPath=x"} }, "-o ControlPath: the built-in ssh client does not know this option\n  hint: --ssh ssh"},
		{"malformed option", "", Target{Host: "h"}, func(o *Options) { o.Extra = []string{"Port"} }, "-o Port: not of the form Key=Value"},
		{"two options in one", "", Target{Host: "h"}, func(o *Options) { o.Extra = []string{"Port=1\nUser=x"} }, "not of the form"},
		{"bad port", "Port 0\n", Target{Host: "h"}, nil, "port \"0\": must be 1 to 65535"},
		{"missing -F", "", Target{Host: "h"}, func(o *Options) { o.ConfigFiles = []string{"/no/such"} }, "no such file"},
		{"missing of two", "Port 2", Target{Host: "h"}, func(o *Options) { o.ConfigFiles = []string{"/no/such", conf} }, "me@h:2"},
		{"none", "Port 2", Target{Host: "h"}, func(o *Options) { o.ConfigFiles = []string{"none"} }, "me@h:22"},
		{"fd passing", "ProxyUseFdpass yes\n", Target{Host: "h"}, nil, "ProxyUseFdpass"},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, conf, c.text, 0o600)
			o := Options{ConfigFiles: []string{conf}, Home: home, LocalUser: "me"}
			if c.edit != nil {
				c.edit(&o)
			}
			s, err := loadSettings(c.target, &o)
			got := fmt.Sprint(err)
			if err == nil {
				got = fmt.Sprintf("%s@%s:%d", s.user, s.host, s.port)
			} else if kindOf(err) != Config {
				t.Errorf("kind %v", kindOf(err))
			}
			if err == nil && got != c.want || err != nil && !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestNotesOfIgnoredConditions(t *testing.T) {
	home := homeDir(t)
	conf := filepath.Join(home, "c")
	write(t, conf, "Match exec \"on-vpn %h\"\n Port 4\n", 0o600)
	_, err := Dial(t.Context(), Target{Host: "127.0.0.1", Port: freePort(t)}, Options{ConfigFiles: []string{conf}, Home: home, LocalUser: "me"})
	var e *Error
	if !errors.As(err, &e) || len(e.Hints) != 1 || !strings.Contains(e.Hints[0], "Match exec") {
		t.Errorf("got %v", err)
	}
}

func TestPaths(t *testing.T) {
	s := &settings{alias: "a", host: "h", user: "u", port: 7, local: "me", home: "/home/me", values: map[string][]string{},
		env: func(n string) (string, bool) { return "E", n == "SET" }}
	for in, want := range map[string]string{
		"~/x": "/home/me/x", "~": "/home/me", "/a~": "/a~", "%d/%u/%r@%h:%p %n%%": "/home/me/me/u@h:7 a%",
		"/run/${SET}/s": "/run/E/s", "${UNSET}": "no value for UNSET", "${SET": "without }", "%": "% at the end", "%q": "unknown token",
	} {
		got, err := s.path(in)
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for in, want := range map[string]time.Duration{"": time.Second, "30": 30 * time.Second, "1h30m": 90 * time.Minute, "2D": 48 * time.Hour, "0": 0, "9999999w": 52 * 7 * 24 * time.Hour, "x": -1, "5y": -1, "-1": -1, "99999999999999999999": -1} {
		s := &settings{values: map[string][]string{"k": {in}}}
		got, err := s.span("k", time.Second)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

func TestParseJump(t *testing.T) {
	for in, want := range map[string]string{
		"h": "@h:0", "u@h": "u@h:0", "u@h:22": "u@h:22", "a@b@h": "a@b@h:0", "[::1]:22": "@::1:22", "[::1]": "@::1:0",
		"ssh://u@h:5/": "u@h:5", "h:0": "port", "h:x": "port", "-h": "dash", "": "empty", "@h": "empty user", " h ": "@h:0",
	} {
		g, err := parseJump(in)
		got := fmt.Sprintf("%s@%s:%d", g.User, g.Host, g.Port)
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestCommandWords(t *testing.T) {
	for in, want := range map[string]string{
		"ssh": "ssh", " ssh  -v ": "ssh|-v", `ssh -o "A b" 'c d' e\ f ""`: `ssh|-o|A b|c d|e f|`, `x 'a\b'`: `x|a\b`,
		"": "empty", "ssh 'x": "not closed",
	} {
		w, err := commandWords(in)
		got := strings.Join(w, "|")
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestChooseAlgorithms(t *testing.T) {
	good, all := []string{"a1", "a2", "b"}, []string{"a1", "a2", "b", "weak"}
	for in, want := range map[string]string{
		"b,a1": "b a1", "+weak": "a1 a2 b weak", "-a*": "b", "^b": "b a1 a2", "nothing": "", "weak,b": "weak b", "a?": "a1 a2", "[": "",
	} {
		if got := strings.Join(chooseAlgorithms(in, good, all), " "); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"*", "abc", true}, {"a*c", "abbc", true}, {"a*c", "abcd", false}, {"?", "", false}, {"?", "x", true},
		{"*.a.*", "x.a.y", true}, {"", "", true}, {"", "x", false}, {"a**", "a", true},
		{strings.Repeat("*a", 100), strings.Repeat("a", 5000) + "b", false},
	} {
		if got := wildcard(c.pattern, c.s); got != c.want {
			t.Errorf("%.20q, %.20q: got %v", c.pattern, c.s, got)
		}
	}
}
