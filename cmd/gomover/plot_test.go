package main

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const recordedRun = "../../internal/runplot/testdata/lossy.jsonl"

// plot runs a whole command line with the real command.
func plot(t *testing.T, stdin string, args ...string) (code int, out, errOut string) {
	t.Helper()
	env, o, e := testEnv(nil, nil, append([]string{"plot"}, args...)...)
	env.Stdin = strings.NewReader(stdin)
	code = reportError(e, dispatch(context.Background(), env, handlers{own: map[string]func(context.Context, []string) error{
		"plot": func(_ context.Context, args []string) error { return runPlot(env, args) },
	}}))
	return code, o.String(), e.String()
}

func TestPlotDrawsARun(t *testing.T) {
	recorded, err := os.ReadFile(recordedRun)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	input := filepath.Join(dir, "run.jsonl")
	if err := os.WriteFile(input, recorded, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{input}, {input, "-o", dir + "/a.svg"}, {"-o" + dir + "/b.svg", input}, {"--output=" + dir + "/c.svg", "--", input}, {"--output", dir + "/d.png", input}} {
		if code, out, errOut := plot(t, "", args...); code != 0 || out+errOut != "" {
			t.Errorf("plot %q: [%d] %q %q", args, code, out, errOut)
		}
	}
	want, err := os.ReadFile(dir + "/run.svg")
	if err != nil || !bytes.Contains(want, []byte("h1:data/")) {
		t.Fatalf("the picture beside the events (%v) does not name the destination", err)
	}
	for _, name := range []string{"a.svg", "b.svg", "c.svg"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes (%v), want %d", name, len(got), err, len(want))
		}
	}
	f, err := os.Open(dir + "/d.png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err := png.DecodeConfig(f); err != nil || c.Width != 1280 {
		t.Errorf("the PNG is %d pixels wide (%v), want 1280", c.Width, err)
	}
	if code, out, errOut := plot(t, string(recorded), "-", "-o", "-"); code != 0 || out != string(want) || errOut != "" {
		t.Errorf("through pipes: [%d] %d bytes, %q; want %d bytes", code, len(out), errOut, len(want))
	}
}

func TestPlotWarnsOfWhatItLeavesOut(t *testing.T) {
	recorded, err := os.ReadFile(recordedRun)
	if err != nil {
		t.Fatal(err)
	}
	text := string(recorded[:len(recorded)-40])
	code, out, errOut := plot(t, text, "-", "-o", "-")
	if code != 0 || !strings.HasSuffix(out, "</svg>\n") || !strings.Contains(errOut, "gomover: warning: plot: the last line is cut off") || !strings.Contains(errOut, "no job.end") {
		t.Errorf("got [%d] %d bytes, %q", code, len(out), errOut)
	}
}

func TestPlotRefuses(t *testing.T) {
	dir := t.TempDir()
	input := filepath.Join(dir, "run.jsonl")
	if err := os.WriteFile(input, []byte("{\"v\":1,\"t\":\"2026-02-03T10:15:02.113Z\",\"ev\":\"job.start\"}\nwhat\n\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ok := "{\"v\":1,\"t\":\"2026-02-03T10:15:02.113Z\",\"ev\":\"job.start\"}\n"
	for _, c := range []struct {
		args  []string
		stdin string
		code  int
		want  string
	}{
		{nil, "", exitUsage, "plot: needs one file of events"},
		{[]string{"a", "b"}, "", exitUsage, "plot: needs one file of events"},
		{[]string{"-x", "a"}, "", exitUsage, "plot: unknown option -x"},
		{[]string{"a", "-o"}, "", exitUsage, "-o: needs a value"},
		{[]string{"a", "-o=x.svg"}, "", exitUsage, "plot: -o=x.svg: only long options take a value after ="},
		{[]string{"a", "-o="}, "", exitUsage, "plot: -o=: only long options"},
		{[]string{"a", "--output="}, "", exitUsage, "the name of the picture is empty"},
		{[]string{"a", "-o", "x.pdf"}, "", exitUsage, "x.pdf: the name of a picture ends in .svg or .png"},
		{[]string{"-"}, ok, exitUsage, "need a name for the picture"},
		{[]string{dir + "/none.jsonl"}, "", exitSource, "no such file"},
		{[]string{dir, "-o", dir + "/x.svg"}, "", exitSource, "is a directory"},
		{[]string{input}, "", exitSource, "run.jsonl: line 2: not a JSON object"},
		{[]string{"-", "-o", dir + "/x.svg"}, "", exitSource, "standard input: there are no events in it"},
		{[]string{"-", "-o", dir + "/none/x.svg"}, ok, exitDestination, "no such file"},
	} {
		code, out, errOut := plot(t, c.stdin, c.args...)
		if code != c.code || out != "" || !strings.Contains(errOut, c.want) {
			t.Errorf("plot %q: [%d] %q %q; want [%d] %q", c.args, code, out, errOut, c.code, c.want)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("%d files are there (%v), want the events only", len(left), err)
	}
	if r := run(nil, someFiles, "-v", "plot", "x"); r.code != exitUsage || !strings.Contains(r.errOut, "plot: -v does not belong to it") {
		t.Errorf("an option before the command: [%d] %q", r.code, r.errOut)
	}
}

func TestPlotHelp(t *testing.T) {
	if code, out, errOut := plot(t, "", "--help"); code != 0 || out != plotHelp || errOut != "" {
		t.Errorf("got [%d] %q %q", code, out, errOut)
	}
}
