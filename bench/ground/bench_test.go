package ground

import (
	"context"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestMeasure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ran []string
	run := func(name string, err error) Row[*Bench] {
		return Row[*Bench]{Name: name, What: "a row", Run: func(context.Context, *Bench) error {
			ran = append(ran, name)
			return err
		}}
	}
	rows := []Row[*Bench]{run("a", nil), run("b", errors.New("broken")), run("c", nil), run("d", nil)}
	stops := Row[*Bench]{Name: "stops", What: "the user does", Run: func(context.Context, *Bench) error {
		cancel()
		return errors.New("killed")
	}}
	var b Bench
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	if err := b.Parse(flags, []string{"-rows", "d,b,a", "-json", "file"}, Names(rows)); err != nil || b.JSON != "file" {
		t.Fatalf("%+v, %v", b, err)
	}
	if !b.Chosen("d") || b.Chosen("c") {
		t.Errorf("chosen are %v", b.Rows)
	}
	var report Report
	if err := Measure(ctx, &b, rows, b.Rows, &report); err != nil {
		t.Errorf("%v", err)
	}
	if want := []string{"a", "b", "d"}; !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
	if l := report.Results; len(l) != 1 || l[0].Row != "b" || l[0].Pass {
		t.Errorf("results %+v", l)
	}
	if err := Measure(ctx, &b, []Row[*Bench]{stops, rows[2]}, []string{"stops", "c"}, &report); !errors.Is(err, ErrInterrupted) {
		t.Errorf("a run that is stopped ends with %v", err)
	}
	if len(report.Results) != 1 || ran[len(ran)-1] == "c" {
		t.Errorf("stopped, it ran %v, with %+v", ran, report.Results)
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		lab      string
		rows     []string
		programs []string
		want     string // in the error; "": none
	}{
		"all there":                {"sh", []string{"a"}, []string{"ip"}, ""},
		"no emulator, none needed": {"", []string{"alone"}, []string{"ip"}, ""},
		"no emulator":              {"", []string{"alone", "a"}, []string{"ip"}, "the row a needs -lab PROGRAM, a WAN emulator (docs/bench.md); without one: -rows alone"},
		"another emulator":         {"/no/such/lab", []string{"a"}, nil, "-lab: "},
		"programs are missing":     {"sh", []string{"a"}, []string{"no-such-1", "ip", "no-such-2"}, "programs are missing: no-such-1, no-such-2; make bench-deps"},
	} {
		b := Bench{Options: Options{Lab: c.lab, Rows: c.rows}}
		err := b.Check(c.programs, "alone")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// What Open makes is gone after Close, also when it got only halfway.
func TestOpen(t *testing.T) {
	memory := t.TempDir()
	b := Bench{Options: Options{Memory: memory}}
	if err := b.Open("bench-test-"); err != nil {
		t.Fatal(err)
	}
	g, err := b.Groups.Group("g")
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := os.Stat(g.dir); !os.IsNotExist(err) {
		t.Errorf("the group is still there: %v", err)
	}
	if l, err := os.ReadDir(memory); err != nil || len(l) != 0 {
		t.Errorf("left behind: %v, %v", l, err)
	}
	half := Bench{Options: Options{Memory: memory + "/none"}}
	if err := half.Open("bench-test-"); err == nil {
		t.Error("a directory was made where there is none")
	}
	half.Close()
}
