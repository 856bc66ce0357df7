package location

import "strings"

// Fault says which kind of failure an Error is, for the exit code.
type Fault uint8

// The kinds of failure.
const (
	FaultUsage  Fault = iota // the words do not say what to do
	FaultSource              // a source does not exist
	FaultDest                // a destination cannot be used
)

// Error refuses a word or a command.
//
// Msg says what could not be done in the user's own words, without the program's
// name in front. Hints, at most two, can be typed instead.
type Error struct {
	Msg   string
	Hints []string
	Fault Fault
}

// Error gives Msg.
func (e *Error) Error() string { return e.Msg }

// refuse makes a usage error. Empty hints are left out.
func refuse(msg string, hints ...string) *Error {
	e := &Error{Msg: msg}
	for _, h := range hints {
		if h != "" && len(e.Hints) < 2 {
			e.Hints = append(e.Hints, h)
		}
	}
	return e
}

// with sets the kind of failure.
func (e *Error) with(f Fault) *Error {
	e.Fault = f
	return e
}

// shellSafe are the bytes besides letters and digits that no shell changes in
// the middle of a word, or that people type bare all the same (brackets).
const shellSafe = "_-./:@%+=,[]~"

// quote gives a word as it is typed into a shell.
func quote(word string) string {
	safe := word != ""
	for i := 0; i < len(word) && safe; i++ {
		c := word[i]
		safe = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(shellSafe, c) >= 0
	}
	if safe {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// command gives a whole command line that can be typed.
func command(words ...string) string {
	out := "gomover"
	for _, w := range words {
		out += " " + quote(w)
	}
	return out
}

// list joins words as in "a, b".
func list(words []string) string { return strings.Join(words, ", ") }
