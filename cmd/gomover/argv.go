package main

import (
	"strings"
)

// commandLine is a command line taken apart: one command, options with their
// values in the order given, and words.
type commandLine struct {
	command string
	given   []given
	words   []string
}

// argv gives the canonical form that the dispatcher is handed: the command, then
// --name=value for every option, then "--" and the words. All freedom of writing
// (letters in clusters, options after words, negations, aliases) is gone from it.
func (c commandLine) argv() []string {
	out := []string{"gomover", c.command}
	for _, g := range c.given {
		out = append(out, "--"+g.id+"="+g.value)
	}
	return append(append(out, "--"), c.words...)
}

// argReader walks over the arguments once.
type argReader struct {
	args  []string
	line  commandLine
	named bool // the place of the command is behind us
}

// readArgs takes a command line apart by the option table.
//
// Options may follow words, "--" ends them, letters may be clustered and carry
// their value with or without a space, "--name value" and "--name=value" are the
// same, flags are negated by "--no-name". The first word is the command when it
// is the name of one and no "--" came before it. Nothing after a command that
// does not exist yet, or has options of its own, is looked at. Errors: *exitError with exitUsage.
func readArgs(args []string) (commandLine, error) {
	r := &argReader{args: args}
	r.line.command = commandTable[0].name
	for len(r.args) > 0 {
		arg := r.args[0]
		r.args = r.args[1:]
		var err error
		switch {
		case arg == "--":
			r.line.words = append(r.line.words, r.args...)
			return r.line, nil
		case strings.HasPrefix(arg, "--"):
			err = r.long(arg)
		case len(arg) > 1 && arg[0] == '-':
			err = r.cluster(arg)
		case r.first(arg):
			if c := findCommand(arg); c.later != "" || c.own {
				return commandLine{command: arg, given: r.line.given, words: r.args}, nil
			}
		default:
			r.line.words = append(r.line.words, arg)
		}
		if err != nil {
			return commandLine{}, err
		}
	}
	return r.line, nil
}

// first takes the first word as a command if it is one. After that, the name of
// a command is a word like any other.
func (r *argReader) first(word string) bool {
	if r.named || len(r.line.words) > 0 {
		return false
	}
	r.named = true
	if findCommand(word) == nil {
		return false
	}
	r.line.command = word
	return true
}

// long reads --name, --no-name, --name=value or --name value.
func (r *argReader) long(arg string) error {
	name, value, hasValue := strings.Cut(arg[2:], "=")
	p, bare := findLong(name)
	if p == nil {
		return unknownOption("--" + name)
	}
	switch p.kind {
	case kindFlag, kindCount:
		if !hasValue {
			value = bare
		} else if bare == "no" {
			return usageError(arg + ": takes no value")
		}
	case kindOptional:
		if !hasValue {
			value = p.bare
		}
	case kindValue:
		if !hasValue {
			if len(r.args) == 0 {
				return needsValue("--"+name, p)
			}
			value, r.args = r.args[0], r.args[1:]
		}
		arg = "--" + name + " " + shownValue(value)
	default:
		if hasValue {
			return usageError(arg + ": takes no value")
		}
	}
	return r.add(p, value, arg)
}

// cluster reads one or more letters after one dash. A letter that needs a value
// takes the rest of the argument, or the next one.
func (r *argReader) cluster(arg string) error {
	for i, c := range arg[1:] {
		letter := string(c)
		if letter == "=" && i > 0 {
			return usageError(arg + ": only long options take a value after =")
		}
		p := findShort(letter)
		if p == nil {
			if p, _ := findLong(strings.TrimPrefix(arg, "-")); p != nil && len(arg) > 2 {
				return usageError("unknown option "+arg, p.title())
			}
			if len(arg) > 2 {
				return usageError("unknown option -" + letter + " (in " + arg + ")")
			}
			return unknownOption(arg)
		}
		if p.kind == kindForeign {
			return usageError("-" + letter + ": " + p.answer)
		}
		if p.kind != kindValue {
			value := "yes"
			if p.kind == kindOptional {
				value = p.bare
			}
			if err := r.add(p, value, "-"+letter); err != nil {
				return err
			}
			continue
		}
		value := arg[1+i+len(letter):]
		if rest, ok := strings.CutPrefix(value, "="); ok {
			return usageError(arg+": only long options take a value after =", "-"+letter+" "+shownValue(rest))
		}
		if value == "" {
			if len(r.args) == 0 {
				return needsValue("-"+letter, p)
			}
			value, r.args = r.args[0], r.args[1:]
		}
		return r.add(p, value, "-"+letter+" "+shownValue(value))
	}
	return nil
}

// shownValue is a value as messages show it: what is empty must be seen, too.
func shownValue(value string) string {
	if value == "" {
		return "''"
	}
	return value
}

// add notes an option, or refuses one that does not exist yet.
func (r *argReader) add(p *option, value, typed string) error {
	switch {
	case p.later != "":
		shown, _, _ := strings.Cut(typed, " ")
		return laterUsage(shown, p.later)
	case p.kind == kindIgnored:
		return nil
	case p.kind == kindAlias:
		for _, a := range p.alias {
			a.typed = typed
			r.line.given = append(r.line.given, a)
		}
		return nil
	}
	r.line.given = append(r.line.given, given{id: p.id(), value: value, typed: typed})
	return nil
}

// needsValue refuses an option at the end of the line.
func needsValue(shown string, p *option) error {
	hint := ""
	if p.arg != "" {
		hint = shown + " " + p.arg
	}
	return usageError(shown+": needs a value", hint)
}

// unknownOption refuses an option that is not in the table and names the nearest
// that is.
func unknownOption(shown string) error {
	if strings.HasPrefix(shown, "--del") {
		return usageError("unknown option " + shown + ": nothing at the destination is ever deleted")
	}
	return usageError("unknown option "+shown, nearestOption(shown))
}

// nearestOption gives the available long option that a wrong one most resembles,
// or "". A name that is the beginning of exactly one option is taken for it.
func nearestOption(shown string) string {
	name, ok := strings.CutPrefix(shown, "--")
	if !ok || len(name) < 2 {
		return ""
	}
	best, bestDistance := "", max(1, len(name)/3)+1
	begins := 0
	for i := range optionTable {
		p := &optionTable[i]
		if p.name == "" || !p.available() {
			continue
		}
		candidates := []string{p.name}
		if p.kind == kindFlag {
			candidates = append(candidates, "no-"+p.name)
		}
		for _, c := range candidates {
			if strings.HasPrefix(c, name) {
				if begins++; begins == 1 {
					best, bestDistance = c, 0
				}
				continue
			}
			if d := editDistance(name, c); d < bestDistance {
				best, bestDistance = c, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return "--" + best
}

// editDistance is the least number of inserted, removed, changed and swapped
// neighbouring bytes between two names (optimal string alignment). Names are
// short, so the quadratic table is small; a is cut to 64 bytes.
func editDistance(a, b string) int {
	if len(a) > 64 {
		a = a[:64]
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
