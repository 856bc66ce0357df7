package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/wire"
)

// The exit codes. They are part of the command line's contract and never change
// meaning; shells and ssh use 126, 127 and 255, which are therefore never given.
const (
	exitOK          = 0   // everything requested is complete and checked
	exitUsage       = 1   // bad arguments or configuration; nothing was contacted
	exitPartFiles   = 2   // some files failed, all others are complete
	exitPartDests   = 3   // some destinations are incomplete
	exitSource      = 4   // nothing could be read from the source
	exitDestination = 5   // the destination refused
	exitSpace       = 6   // not enough space, inodes or quota
	exitSSH         = 7   // no ssh session
	exitAgent       = 8   // the remote agent could not be placed or started
	exitNoPath      = 9   // ssh works but no permitted data path does
	exitLost        = 10  // connection lost and the time to give up reached
	exitIntegrity   = 11  // a content check failed and could not be repaired
	exitTimeLimit   = 12  // the time limit was reached
	exitTooSlow     = 13  // below the minimum rate with no other source
	exitReplicas    = 14  // replicas disagree, or none is usable
	exitChanged     = 15  // the source kept changing while it was read
	exitBusy        = 16  // another run works on the same job or destination
	exitNothing     = 17  // nothing to transfer, and that was to be an error
	exitInternal    = 20  // a fault in the program
	exitHUP         = 129 // ended by HUP after saving state
	exitINT         = 130 // ended by INT after saving state
	exitTERM        = 143 // ended by TERM after saving state
)

// exitOrder is the order in which codes win when several apply.
var exitOrder = []int{
	exitInternal, exitIntegrity, exitReplicas, exitSpace, exitDestination, exitSSH, exitAgent, exitNoPath,
	exitLost, exitChanged, exitTooSlow, exitTimeLimit, exitSource, exitPartDests, exitPartFiles,
}

// worstExit gives the code of several that is reported.
//
// Codes outside the order (usage, busy, nothing, signals) are decisions about
// the whole run and win over it; of several of those the first is given. No
// codes, or only zeros, give 0.
func worstExit(codes ...int) int {
	rank := func(code int) int {
		for i, c := range exitOrder {
			if c == code {
				return i + 1
			}
		}
		return 0
	}
	worst := exitOK
	for _, code := range codes {
		if code != exitOK && (worst == exitOK || rank(code) < rank(worst)) {
			worst = code
		}
	}
	return worst
}

// resumableExit reports whether the same command continues what a run that ended
// with this code has left.
func resumableExit(code int) bool {
	switch code {
	case exitPartFiles, exitPartDests, exitSpace, exitLost, exitIntegrity, exitTimeLimit, exitTooSlow, exitChanged,
		exitHUP, exitINT, exitTERM:
		return true
	}
	return false
}

// exitError ends the program with a code and a message.
//
// Msg says what could not be done, to whom, and why, without the program's name;
// empty means that all has been said already. Lines are shown indented below it,
// such as what ssh said. Of Hints, things that can be typed, the first two are
// shown.
type exitError struct {
	Code  int
	Msg   string
	Hints []string
	Lines []string
	Err   error // the cause, for errors.Is; not printed
}

// Error gives Msg.
func (e *exitError) Error() string { return e.Msg }

// Unwrap gives the cause.
func (e *exitError) Unwrap() error { return e.Err }

// usageError refuses a command line or configuration.
func usageError(msg string, hints ...string) *exitError {
	e := &exitError{Code: exitUsage, Msg: msg}
	for _, h := range hints {
		if h != "" {
			e.Hints = append(e.Hints, h)
		}
	}
	return e
}

// laterUsage refuses something that does not exist yet, and says what works
// instead.
func laterUsage(what, instead string) *exitError {
	later := &laterError{instead}
	return &exitError{Code: exitUsage, Msg: what + ": " + later.Error(), Err: later}
}

// reportError prints an error and gives the exit code. An error that nobody gave
// a code is a fault in the program, and says so. Several errors joined are
// printed each, and the worst code is given.
func reportError(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var codes []int
		for _, e := range joined.Unwrap() {
			codes = append(codes, reportError(w, e))
		}
		return worstExit(codes...)
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = &exitError{Code: exitInternal, Msg: err.Error(), Hints: []string{"this is a fault in gomover; please report it with the command that was typed"}}
	}
	if e.Msg != "" {
		writeMessage(w, "gomover: ", e.Msg, e.Lines, e.Hints)
	}
	return e.Code
}

// writeWarning prints a warning. Warnings never change the exit code.
func writeWarning(w io.Writer, msg string, hints ...string) {
	writeMessage(w, "gomover: warning: ", msg, nil, hints)
}

// writeMessage prints a message with its lines and hints in one write, so that
// messages of several goroutines do not mix. A terminal that cannot be written
// to has nobody to tell, so that error is dropped.
func writeMessage(w io.Writer, prefix, msg string, lines, hints []string) {
	var b strings.Builder
	b.WriteString(prefix + printable(msg) + "\n")
	for _, line := range lines {
		b.WriteString("  " + printable(line) + "\n")
	}
	for i, hint := range hints {
		if i == 2 {
			break
		}
		b.WriteString("  hint: " + printable(hint) + "\n")
	}
	_, _ = io.WriteString(w, b.String())
}

// printable replaces what a terminal would act on: control and format
// characters and bytes that are not UTF-8, shown as \xNN.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// errorEvent is the event of an error that ends the run.
func errorEvent(x *exitError) events.Error {
	e := events.Error{Code: codeWord(x.Code), Message: x.Msg, Fatal: true}
	if len(x.Hints) > 0 {
		e.Hint = x.Hints[0]
	}
	return e
}

// exitOf turns the end of a job into a code and a message.
func exitOf(err error, failed map[wire.Class]int64, r *mover.Report) (int, *exitError) {
	if err == nil {
		return exitOfFiles(failed, r)
	}
	var sig *signalError
	var f *wire.Fail
	var s *sshboot.Error
	x := &exitError{Code: exitInternal, Msg: err.Error(), Err: err}
	switch {
	case errors.As(err, &sig):
		x = &exitError{Code: sig.code}
	case errors.Is(err, mover.ErrInterrupted): // by a request to the running job
		x.Code = exitINT
	case errors.Is(err, mover.ErrReplicas):
		x.Code = exitReplicas
	case errors.Is(err, mover.ErrTooSlow), errors.Is(err, mover.ErrBelowRate), errors.Is(err, mover.ErrMinRate):
		x.Code = exitTooSlow
	case errors.As(err, &f):
		x = &exitError{Code: classCode(f.Class), Msg: f.Text, Hints: f.Hints, Err: err}
	case errors.As(err, &s):
		x = &exitError{Code: exitAgent, Msg: s.Line(), Hints: s.Hints, Err: err}
		if s.Kind.Login() {
			x.Code = exitSSH
		} else if s.Kind == sshboot.Config {
			x.Code = exitUsage
		}
		x.Lines = s.Said()
	}
	return x.Code, x
}

// exitOfFiles is the end of a job that ran through, with files that failed or
// none. The summary has said which.
func exitOfFiles(failed map[wire.Class]int64, r *mover.Report) (int, *exitError) {
	some := r.Totals.DoneFiles > 0
	var codes []int
	for class, n := range failed {
		if n == 0 {
			continue
		}
		code := classCode(class)
		if (code == exitSource || code == exitDestination) && some {
			code = exitPartFiles
		}
		codes = append(codes, code)
	}
	if len(codes) == 0 {
		return exitOK, nil
	}
	code := codes[0]
	for _, k := range codes[1:] {
		code = worstExit(code, k)
	}
	return code, &exitError{Code: code}
}

// classCode is the exit code of a class of errors.
func classCode(c wire.Class) int {
	switch c {
	case wire.ClassUsage:
		return exitUsage
	case wire.ClassSource:
		return exitSource
	case wire.ClassDest:
		return exitDestination
	case wire.ClassSpace:
		return exitSpace
	case wire.ClassIntegrity:
		return exitIntegrity
	case wire.ClassChanged:
		return exitChanged
	case wire.ClassBusy:
		return exitBusy
	case wire.ClassNoPath:
		return exitNoPath
	case wire.ClassLost, wire.ClassStopped:
		return exitLost
	case wire.ClassProtocol, wire.ClassVersion:
		return exitAgent
	case wire.ClassTime:
		return exitTimeLimit
	case wire.ClassReplica:
		return exitReplicas
	case wire.ClassSlow:
		return exitTooSlow
	}
	return exitInternal
}

// codeWord is the code of the error event of an exit code.
func codeWord(code int) string {
	words := map[int]string{exitUsage: "usage", exitSource: "source", exitChanged: "source.changed", exitDestination: "dest", exitSpace: "dest.space",
		exitSSH: "ssh", exitAgent: "agent", exitNoPath: "net.path", exitLost: "net.lost", exitIntegrity: "integrity", exitTimeLimit: "limit.time", exitTooSlow: "limit.rate", exitPartDests: "dest.some", exitBusy: "state.busy", exitReplicas: "replica", exitNothing: "limit.nothing"}
	if w, ok := words[code]; ok {
		return w
	}
	return "internal"
}

func reasonOf(code int, x *exitError) string {
	switch {
	case code == exitOK:
		return "done"
	case x != nil && x.Msg != "":
		return x.Msg
	case code == exitINT || code == exitTERM || code == exitHUP:
		return "stopped by a signal"
	}
	return "some files failed"
}
