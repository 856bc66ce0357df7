package main

import (
	"slices"
	"testing"
)

func TestShellWords(t *testing.T) {
	for s, want := range map[string][]string{
		"":                   nil,
		" a  b ":             {"a", "b"},
		`'a b' c`:            {"a b", "c"},
		`'it'\''s' ''`:       {"it's", ""},
		`./'C:\data'`:        {`./C:\data`},
		`-t h3:/c h1:/a`:     {"-t", "h3:/c", "h1:/a"},
		`'unfinished and so`: {"unfinished and so"},
	} {
		if got := shellWords(s); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// TestHintsLeadSomewhere follows every hint of refused words: none may be
// refused for being too early.
func TestHintsLeadSomewhere(t *testing.T) {
	env, _, _ := testEnv(nil, someFiles)
	o := newOptions()
	for _, words := range [][]string{
		{"h1:/a", "h2:/b", "h3:/c"}, {"h1:/f", "h2:/f", "."}, {"f", "h1", "h2:/d"}, {"f", "g", "h2"}, {"nofile", "h:"},
		{"nofile", "h1:", "h2:"}, {"f", "h1"}, {"f", "g", "h1:", "h2:"}, {"f", "h1:", "dir"}, {"http://h/", "."}, {"http://a/x", "h1:", "h2:"},
		{"-", "h:"}, {"-", "-"}, {"big.dat"}, {"none"}, {"f", "2001:db8::7:/d"}, {"f", "h1", "h2", "h3:"},
	} {
		_, err := readWords(env, o, words)
		x, ok := err.(*exitError)
		if !ok {
			t.Errorf("%q: %v", words, err)
			continue
		}
		for _, h := range x.Hints {
			if again := hintsToday(env, o, words, []string{h}); !slices.Equal(again, []string{h}) {
				t.Errorf("%q: %s: hint %q leads to %q", words, x.Msg, h, again)
			}
		}
		t.Logf("%q: %s %q", words, x.Msg, x.Hints)
	}
}
