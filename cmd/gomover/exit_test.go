package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestWorstExit(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  int
	}{
		{nil, 0}, {[]int{0, 0}, 0}, {[]int{0, 2}, 2}, {[]int{2, 3}, 3}, {[]int{3, 4, 12}, 12}, {[]int{12, 13}, 13},
		{[]int{15, 13}, 15}, {[]int{10, 15}, 10}, {[]int{9, 10}, 9}, {[]int{8, 9}, 8}, {[]int{7, 8}, 7}, {[]int{5, 7}, 5},
		{[]int{5, 6}, 6}, {[]int{6, 14}, 14}, {[]int{14, 11}, 11}, {[]int{11, 20}, 20}, {[]int{20, 130}, 130},
	} {
		if got := worstExit(c.codes...); got != c.want {
			t.Errorf("worstExit(%v) = %d; want %d", c.codes, got, c.want)
		}
	}
}

func TestResumableExit(t *testing.T) {
	want := map[int]bool{2: true, 3: true, 6: true, 10: true, 11: true, 12: true, 13: true, 15: true, 129: true, 130: true, 143: true}
	for code := range 256 {
		if got := resumableExit(code); got != want[code] {
			t.Errorf("resumableExit(%d) = %v", code, got)
		}
	}
}

func TestReportError(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{&exitError{Code: 7, Msg: "dtn2: ssh could not log in", Lines: []string{"ssh: Permission denied."}, Hints: []string{"a", "b", "c"}}, 7,
			"gomover: dtn2: ssh could not log in\n  ssh: Permission denied.\n  hint: a\n  hint: b\n"},
		{fmt.Errorf("outer: %w", usageError("inner")), 1, "gomover: inner\n"},
		{&exitError{Code: 130}, 130, ""},
		{&exitError{Code: 4, Msg: "a\x1b[2J\nb\xff\u202e\u00e9: gone"}, 4, "gomover: a\\x1b[2J\\x0ab\\xff\\xe2\\x80\\xae\u00e9: gone\n"},
		{errors.New("odd"), 20, "gomover: odd\n  hint: this is a fault in gomover; please report it with the command that was typed\n"},
		{errors.Join(&exitError{Code: 2, Msg: "x"}, &exitError{Code: 6, Msg: "y"}), 6, "gomover: x\ngomover: y\n"},
	} {
		var out bytes.Buffer
		if code := reportError(&out, c.err); code != c.code || out.String() != c.want {
			t.Errorf("%v: got [%d] %q; want [%d] %q", c.err, code, out.String(), c.code, c.want)
		}
	}
}

func TestWarning(t *testing.T) {
	var out bytes.Buffer
	writeWarning(&out, "n04 gets no data", "try x")
	if want := "gomover: warning: n04 gets no data\n  hint: try x\n"; out.String() != want {
		t.Errorf("got %q; want %q", out.String(), want)
	}
}

// TestVersionUnwritten blames the output that takes no more, not the program.
func TestVersionUnwritten(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		r, w := io.Pipe()
		r.Close()
		err := printVersion(w, asJSON)
		var e *exitError
		if !errors.As(err, &e) || e.Code != exitDestination || !strings.HasPrefix(e.Msg, "standard output: ") {
			t.Errorf("json %v: %v, want exit %d", asJSON, err, exitDestination)
		}
	}
}
