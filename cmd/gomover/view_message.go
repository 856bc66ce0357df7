package main

import (
	"strconv"
	"strings"

	"github.com/gomover/gomover/events"
)

// prefix gives a message with the host and the path it is about in front, unless
// the message names them already. A path is made safe first: a newline in a name
// must not begin a line.
func (s viewStyle) prefix(message, host, path string) string {
	if path != "" {
		safe := s.name(path)
		if strings.Contains(message, path) {
			message = strings.ReplaceAll(message, path, safe)
		} else {
			message = safe + ": " + message
		}
	}
	if host != "" && !strings.Contains(message, host) {
		message = s.name(host) + ": " + message
	}
	return message
}

// warnLines gives a warning as the lines of a message, without "gomover: ".
func (s viewStyle) warnLines(e events.Warn) []string {
	return s.messageLines("warning: "+s.prefix(e.Message, e.Host, e.Path), "")
}

// errorLines gives an error as the lines of a message, without "gomover: ".
func (s viewStyle) errorLines(e events.Error) []string {
	return s.messageLines(s.prefix(e.Message, e.Host, e.Path), e.Hint)
}

// messageLines makes a message and its hints, one a line and at most two, safe
// to print. Further lines of the message are indented, so that none can be taken for a
// message of its own.
func (s viewStyle) messageLines(message, hint string) []string {
	var lines []string
	for i, line := range strings.Split(strings.TrimRight(message, "\n"), "\n") {
		if i > 0 && !strings.HasPrefix(line, " ") {
			line = "  " + line
		}
		lines = append(lines, s.name(line))
	}
	hints := 0
	for _, line := range strings.Split(hint, "\n") {
		if line = strings.TrimSpace(line); line != "" && hints < 2 {
			lines = append(lines, "  hint: "+s.name(line))
			hints++
		}
	}
	return lines
}

// Limits for messages of one kind. Source: ours; the first ones tell what is
// wrong, ten thousand more hide everything else.
const (
	viewRepeatShown = 5
	viewRepeatKinds = 200
)

// viewRepeats counts messages of the same kind, so that the same failure on ten
// thousand files becomes a few messages and a count. Not safe for concurrent use.
type viewRepeats struct {
	kinds map[string]*viewRepeat
	order []*viewRepeat
}

// viewRepeat is one kind of message.
type viewRepeat struct {
	first string
	hid   int64
	shown int
}

// show tells whether a message is to be printed, and counts it if not. code and
// host make the kind; first is the text that stands for the rest.
func (v *viewRepeats) show(code, host, first string) bool {
	key := code + "\x00" + host
	if code == "" {
		key = first
	}
	r := v.kinds[key]
	if r == nil {
		if len(v.kinds) >= viewRepeatKinds {
			return true
		}
		if v.kinds == nil {
			v.kinds = make(map[string]*viewRepeat)
		}
		r = &viewRepeat{first: first}
		v.kinds[key] = r
		v.order = append(v.order, r)
	}
	if r.shown < viewRepeatShown {
		r.shown++
		return true
	}
	r.hid++
	return false
}

// rest gives one line for each kind of which messages were not shown, and
// forgets the counts.
func (v *viewRepeats) rest() []string {
	var lines []string
	for _, r := range v.order {
		if r.hid > 0 {
			lines = append(lines, strconv.FormatInt(r.hid, 10)+" more like this: "+r.first)
			r.hid = 0
		}
	}
	return lines
}
