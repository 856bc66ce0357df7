package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/gomover/gomover/internal/location"
)

// hintsToday replaces hints that lead to what this version refuses by what that
// refusal says instead, and leaves out those that lead to words that mean nothing:
// nobody shall type a hint and be turned away. words are the refused ones.
func hintsToday(env Env, o *Options, words, hints []string) []string {
	var out []string
	for _, h := range hints {
		var later *laterError
		var bad *location.Error
		switch err := tryHint(env, o, words, h); {
		case errors.As(err, &later):
			h = hintCase(h) + later.instead
		case errors.As(err, &bad) && bad.Fault == location.FaultUsage:
			continue
		}
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// hintCase is the part of a hint that says for which case it is: "if they are
// copies of one file: ".
func hintCase(hint string) string {
	when, _, ok := strings.Cut(hint, ": gomover ")
	if !ok || !strings.HasPrefix(when, "if ") && !strings.HasPrefix(when, "for ") && when != "hosts" {
		return ""
	}
	return when + ": "
}

// tryHint gives what the command line of a hint would be refused with, as far as
// that shows before anybody is contacted; nil for what changes no words. Options
// that could be missing as well count as given: the next message tells of them.
func tryHint(env Env, o *Options, words []string, hint string) error {
	typed, ok := strings.CutPrefix(hint, "gomover ")
	if !ok {
		_, typed, ok = strings.Cut(hint, ": gomover ")
	}
	if !ok {
		after := rewritten(words, hint)
		if slices.Equal(after, words) {
			return nil
		}
		_, err := classify(env, generous(o), after)
		return err
	}
	line, err := readArgs(shellWords(typed))
	if err != nil {
		return err
	}
	if c := findCommand(line.command); c.later != "" {
		return laterUsage(c.name, c.later)
	}
	inner, err := resolve(env, line.given)
	if err != nil {
		return err
	}
	inner.Pull.Words = line.command == "pull"
	_, err = classify(env, generous(inner), line.words)
	return err
}

// generous are options with those that permit more.
func generous(o *Options) *Options {
	g := *o
	g.Copy.Recursive, g.Copy.MakePath = true, true
	return &g
}

// rewritten gives words as they are after a hint such as "for the host, write
// h1:": what it writes stands for the word that it is made from.
func rewritten(words []string, hint string) []string {
	out := slices.Clone(words)
	_, typed, _ := strings.Cut(hint, "write ")
	for _, to := range shellWords(typed) {
		from := strings.TrimPrefix(to, "./")
		if i := strings.LastIndexByte(from, ':'); i > 0 && !slices.Contains(words, from) {
			from = from[:i]
		}
		for i, w := range words {
			if w == from || w+"/" == from {
				out[i] = to
			}
		}
	}
	return out
}

// shellWords takes words apart as a shell does that are quoted as ours are.
func shellWords(s string) (words []string) {
	var word strings.Builder
	begun, quoted := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			begun, quoted = true, !quoted
		case c == '\\' && !quoted && i+1 < len(s):
			i++
			begun = true
			word.WriteByte(s[i])
		case c == ' ' && !quoted:
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			begun = true
			word.WriteByte(c)
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

// classify decides what words mean, and whether this version carries it out.
// Errors: *location.Error, or *exitError around a *laterError.
func classify(env Env, o *Options, words []string) (location.Plan, error) {
	var hosts []string
	if o.Fan.Hosts != "" {
		var err error
		if hosts, err = hostList(env, o.Fan.Hosts); err != nil {
			return location.Plan{}, err
		}
	}
	plan, err := location.Classify(words, location.WordOptions{
		Windows:   env.Windows,
		Recursive: o.Copy.Recursive,
		Exact:     o.Copy.Exact,
		MakePath:  o.Copy.MakePath,
		TargetDir: o.Copy.TargetDir,
		To:        o.Fan.To,
		Hosts:     hosts,
		DestPath:  o.Fan.Dest,
		Pull:      o.Pull.Words,
		From:      slices.Concat(o.Pull.Lists, o.Pull.From),
	}, env.exists)
	if err != nil {
		return location.Plan{}, err
	}
	if err := refuseLater(plan); err != nil {
		return location.Plan{}, err
	}
	return plan, nil
}
