package sshboot

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind classifies what went wrong on the way to a greeted agent, because the
// next step and the exit code depend on it.
type Kind int

const (
	// Unreachable: no connection to an address of the host.
	Unreachable Kind = iota + 1
	// NoName: the host name has no address.
	NoName
	// HostKeyUnknown: the host key is not known and nobody accepted it.
	HostKeyUnknown
	// HostKeyChanged: another key is known for the host, or it was revoked.
	HostKeyChanged
	// NoLogin: the host refused every login method.
	NoLogin
	// NotInstalled: the command given for the agent does not exist there.
	NotInstalled
	// CannotExecute: no directory allows running the agent.
	CannotExecute
	// WrongPlatform: the program to upload cannot run there.
	WrongPlatform
	// WrongVersion: the agent speaks another protocol.
	WrongVersion
	// Noisy: text came where the greeting was expected.
	Noisy
	// Lost: the connection or the agent ended before the greeting.
	Lost
	// Config: the user's options or ssh_config cannot be used.
	Config
)

var kindNames = map[Kind]string{
	Unreachable: "unreachable", NoName: "no-name", HostKeyUnknown: "host-key-unknown",
	HostKeyChanged: "host-key-changed", NoLogin: "no-login", NotInstalled: "not-installed",
	CannotExecute: "cannot-execute", WrongPlatform: "wrong-platform", WrongVersion: "wrong-version",
	Noisy: "noisy", Lost: "lost", Config: "config",
}

// String is a short lower-case name.
func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return "kind-" + strconv.Itoa(int(k))
}

// Login reports whether the failure came before a login succeeded (exit code 7
// of the command line); the others but Config belong to the agent (exit code 8).
func (k Kind) Login() bool {
	switch k {
	case Unreachable, NoName, HostKeyUnknown, HostKeyChanged, NoLogin:
		return true
	}
	return false
}

// Error is the only error type that Dial and Boot return, apart from the
// context's own errors, which it wraps.
type Error struct {
	Kind   Kind
	Host   string   // as the user wrote it
	Text   string   // what is wrong, without the host
	Detail string   // ssh's own words, cleaned of control characters; may be ""
	Hints  []string // at most two, each something that can be typed
	Err    error    // cause, may be nil
	gone   bool     // the agent's copy there has vanished meanwhile
}

// Line is the first line: the host and what is wrong.
func (e *Error) Line() string {
	if e.Host == "" {
		return e.Text
	}
	return e.Host + ": " + e.Text
}

// Error is Line, then ssh's words and the hints on indented lines.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Line())
	for _, line := range e.Said() {
		b.WriteString("\n  " + line)
	}
	for _, h := range e.Hints {
		b.WriteString("\n  hint: " + h)
	}
	return b.String()
}

// Said gives the lines of Detail as they are shown, each with "ssh: " in front,
// which some of them begin with as they come.
func (e *Error) Said() (lines []string) {
	for line := range strings.Lines(e.Detail) {
		lines = append(lines, "ssh: "+strings.TrimPrefix(strings.TrimRight(line, "\n"), "ssh: "))
	}
	return lines
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// maxDetail bounds foreign text in an error, in bytes: enough for a reason and
// a few lines of context, too little to flood a terminal.
const maxDetail = 2048

// cleanText makes foreign text safe to print: no control characters but newline,
// valid UTF-8, at most limit bytes. It keeps the end, where the reason stands.
func cleanText(s string, limit int) string {
	if len(s) > limit {
		s = s[len(s)-limit:]
	}
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	return strings.Trim(s, "\n ")
}

// cleanLine is cleanText on one line, keeping the beginning.
func cleanLine(s string, limit int) string {
	s = strings.ReplaceAll(cleanText(s, 1<<20), "\n", " ")
	if len(s) > limit {
		s = s[:limit]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		s += "..."
	}
	return s
}

func itoa(n int) string { return strconv.Itoa(n) }
