package main

import (
	"strings"
	"testing"
)

func TestHelp(t *testing.T) {
	short := run(nil, nil, "--help")
	if short.code != 0 || short.errOut != "" || !strings.Contains(short.out, "usage: gomover [options] SRC... DST") {
		t.Errorf("got [%d] %q %q", short.code, short.out, short.errOut)
	}
	if n := strings.Count(short.out, "\n"); n > 60 {
		t.Errorf("the short help has %d lines; at most 60", n)
	}
	for _, args := range [][]string{{"-h"}, {"f", "h:", "-h"}, {"version", "--help"}, {"--help", "--json"}} {
		if r := run(nil, nil, args...); r.code != 0 || r.out != short.out {
			t.Errorf("%v: got [%d] %q", args, r.code, r.errOut)
		}
	}
	all := run(nil, nil, "--help=all")
	if all.code != 0 || all.errOut != "" {
		t.Errorf("got [%d] %q", all.code, all.errOut)
	}
	for i := range optionTable {
		p := &optionTable[i]
		shown := strings.Contains(all.out, "\n  "+p.spelling()+" ") || strings.Contains(all.out, "\n  "+p.spelling()+"\n")
		if shown != p.available() {
			t.Errorf("%s: in the long help %v, available %v", p.title(), shown, p.available())
		}
	}
	for _, c := range commandTable {
		if shown := strings.Contains(all.out, "\n  "+c.name+" "); shown != (c.later == "") {
			t.Errorf("command %s: in the long help %v", c.name, shown)
		}
	}
	for _, line := range strings.Split(all.out, "\n") {
		if len(line) > lineWidth {
			t.Errorf("longer than %d: %s", lineWidth, line)
		}
	}
}

func TestUsage(t *testing.T) {
	r := run(nil, nil)
	if r.code != exitUsage || r.out != "" || strings.Count(r.errOut, "\n") != 10 || !strings.HasPrefix(r.errOut, "usage: ") {
		t.Errorf("got [%d] out %q err %q", r.code, r.out, r.errOut)
	}
}

// TestHelpExamplesAreAccepted reads every command line of the help.
func TestHelpExamplesAreAccepted(t *testing.T) {
	files := configs(map[string]string{"data/x": "", "a": "", "b": "", "c": ""})
	n := 0
	for _, line := range strings.Split(examples, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		words, _, _ = cutDescription(line)
		n++
		if r := run(nil, files, words[1:]...); r.code != 0 {
			t.Errorf("%s: [%d] %s", line, r.code, r.errOut)
		}
	}
	if n < 4 {
		t.Errorf("only %d examples", n)
	}
}

// cutDescription separates a command from what is said about it.
func cutDescription(line string) (words []string, description string, ok bool) {
	command, description, ok := strings.Cut(strings.TrimSpace(line), "   ")
	return strings.Fields(command), description, ok
}
