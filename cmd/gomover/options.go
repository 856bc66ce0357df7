package main

import (
	"strings"

	"github.com/gomover/gomover/internal/units"
)

// kind says how an option is written.
type kind uint8

// The kinds of options.
const (
	kindFlag     kind = iota + 1 // on or off: --name, --no-name, --name=yes
	kindCount                    // each occurrence counts one more
	kindValue                    // a value is needed
	kindOptional                 // a value may follow after "="
	kindAlias                    // stands for other options with values
	kindForeign                  // belongs to another program and is refused
	kindIgnored                  // accepted without effect
)

// noDefault is the shown default of options whose absence means nothing.
const noDefault = "none"

// option is one row of the table from which the parser, the help, the
// configuration reader and the environment are built, so that they cannot drift
// apart.
type option struct {
	name    string   // long name; empty when there is only a letter
	short   string   // one letter or digit, or empty
	kind    kind     //
	arg     string   // what a value is called in the help
	def     string   // the default, as it would be typed
	help    string   // one line
	group   string   // heading in the help
	brief   bool     // also in the short help
	repeat  bool     // occurrences add up
	bare    string   // value of kindOptional when none is given
	alias   []given  // of kindAlias: options by id and their values
	later   string   // what works instead of an option that does not exist yet
	answer  string   // of kindForeign
	private bool     // refused in configuration files: changes what a command means
	values  []string // of an enumeration, for completion

	// store checks a value and puts it into o. Its errors are *units.ValueError
	// or *laterError; the caller says where the value came from.
	store func(o *Options, value string) error
}

// id names an option in Options.Set and on the way through the dispatcher.
func (p *option) id() string {
	if p.name != "" {
		return p.name
	}
	return p.short
}

// title is how the option is shown: its long form if it has one.
func (p *option) title() string {
	if p.name != "" {
		return "--" + p.name
	}
	return "-" + p.short
}

// available reports whether the option does something in this version.
func (p *option) available() bool {
	return p.later == "" && p.kind != kindForeign && p.kind != kindIgnored
}

// laterError refuses what does not exist yet and says what works instead.
type laterError struct{ instead string }

// Error gives the reason.
func (e *laterError) Error() string { return "not available yet; " + e.instead }

// given is one option with its value, as read from a command line.
type given struct {
	id    string // of the option
	value string
	typed string // what the user wrote, for messages; empty in the table
}

// findLong gives the option of a long name, with the value that the name alone
// sets: "yes", or "no" for the negated form of a flag.
func findLong(name string) (p *option, value string) {
	for i := range optionTable {
		if p := &optionTable[i]; p.name == name && name != "" {
			return p, "yes"
		}
	}
	if rest, ok := strings.CutPrefix(name, "no-"); ok {
		if p, _ := findLong(rest); p != nil && p.kind == kindFlag {
			return p, "no"
		}
	}
	return nil, ""
}

// findShort gives the option of a letter.
func findShort(letter string) *option {
	for i := range optionTable {
		if optionTable[i].short == letter && letter != "" {
			return &optionTable[i]
		}
	}
	return nil
}

// findID gives the option of an id.
func findID(id string) *option {
	if p, value := findLong(id); p != nil && value == "yes" && p.name == id {
		return p
	}
	return findShort(id)
}

// badValue refuses a value; the message names the option and the value.
func badValue(value, reason string) error {
	return &units.ValueError{Value: value, Reason: reason}
}

// flagAt stores yes or no.
func flagAt(at func(o *Options) *bool) func(*Options, string) error {
	return func(o *Options, value string) error {
		switch value {
		case "yes", "on":
			*at(o) = true
		case "no", "off":
			*at(o) = false
		default:
			return badValue(value, "must be yes or no")
		}
		return nil
	}
}

// textAt stores any text.
func textAt(at func(o *Options) *string) func(*Options, string) error {
	return func(o *Options, value string) error {
		if strings.IndexByte(value, 0) >= 0 {
			return badValue(value, "holds a zero byte")
		}
		*at(o) = value
		return nil
	}
}

// nameAt stores any text but the empty one, which would be as if nothing had been
// given: a script's variable that is not set must not change what is copied where.
func nameAt(at func(o *Options) *string) func(*Options, string) error {
	return func(o *Options, value string) error {
		if value == "" {
			return badValue(value, "must not be empty")
		}
		return textAt(at)(o, value)
	}
}

// listAt adds any text to a list.
func listAt(at func(o *Options) *[]string) func(*Options, string) error {
	return func(o *Options, value string) error {
		if value == "" {
			return badValue(value, "must not be empty")
		}
		list := at(o)
		*list = append(*list, value)
		return nil
	}
}

// choiceAt stores one of several words.
func choiceAt[T ~string](at func(o *Options) *T, choices ...string) func(*Options, string) error {
	return func(o *Options, value string) error {
		for _, c := range choices {
			if value == c {
				*at(o) = T(value)
				return nil
			}
		}
		return badValue(value, "must be "+orList(choices))
	}
}

// sizeAt stores a size between two bounds. auto, if not empty, is a word that
// stands for 0.
func sizeAt(at func(o *Options) *int64, auto string, low, high int64) func(*Options, string) error {
	return func(o *Options, value string) error {
		if auto != "" && value == auto {
			*at(o) = 0
			return nil
		}
		n, err := units.ParseSize(value)
		if err != nil {
			return err
		}
		if n < low || n > high {
			return badValue(value, "must be "+orAuto(auto)+"between "+units.ExactSize(low)+" and "+units.ExactSize(high))
		}
		*at(o) = n
		return nil
	}
}

// durationAt stores a span. words stand for 0.
func durationAt[T ~int64](at func(o *Options) *T, words ...string) func(*Options, string) error {
	return func(o *Options, value string) error {
		for _, w := range words {
			if value == w {
				*at(o) = 0
				return nil
			}
		}
		d, err := units.ParseDuration(value)
		if err != nil {
			return err
		}
		*at(o) = T(d)
		return nil
	}
}

// orAuto begins a list of what is allowed.
func orAuto(auto string) string {
	if auto == "" {
		return ""
	}
	return auto + " or "
}

// orList joins words as "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
