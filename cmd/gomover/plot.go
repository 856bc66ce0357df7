package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gomover/gomover/internal/chart"
	"github.com/gomover/gomover/internal/runplot"
)

// plotHelp explains the command.
const plotHelp = `gomover plot draws a picture of a run from the events that --json wrote.

usage: gomover plot RUN.jsonl [-o PICTURE]

  RUN.jsonl            events of one run, or of several in turn; - is standard input
  -o, --output=FILE    picture, .svg or .png; - is SVG on standard output
                       (default: RUN.svg, beside RUN.jsonl)

  gomover --json=run.jsonl --show=streams big.dat host:
  gomover plot run.jsonl -o run.png

With --show=streams the picture shows each stream's rate, round trip and window, too.
`

// plotArgs are what follows the word plot.
type plotArgs struct {
	input, output string
	help          bool
}

// readPlotArgs reads the arguments of plot. Errors: *exitError with exitUsage.
func readPlotArgs(args []string) (plotArgs, error) {
	var a plotArgs
	var words []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, value, hasValue := strings.Cut(arg, "=")
		switch {
		case arg == "--help" || arg == "-h" || arg == "--help=all":
			a.help = true
			return a, nil
		case arg == "--":
			words, args = append(words, args...), nil
		case arg == "-o" || name == "--output":
			if !hasValue {
				if len(args) == 0 {
					return a, usageError(arg+": needs a value", "gomover plot RUN.jsonl -o RUN.svg")
				}
				value, args = args[0], args[1:]
			}
			if value == "" {
				return a, usageError(arg + ": the name of the picture is empty")
			}
			a.output = value
		case name == "-o":
			return a, usageError("plot: "+arg+": only long options take a value after =", "-o "+value)
		case strings.HasPrefix(arg, "-o"):
			a.output = arg[2:]
		case strings.HasPrefix(arg, "-") && arg != "-":
			return a, usageError("plot: unknown option "+arg, "gomover plot --help")
		default:
			words = append(words, arg)
		}
	}
	if len(words) != 1 || words[0] == "" {
		return a, usageError("plot: needs one file of events", "gomover plot RUN.jsonl", "gomover plot --help")
	}
	a.input = words[0]
	return a, a.finish()
}

// finish chooses the name of the picture and refuses one that cannot be written.
func (a *plotArgs) finish() error {
	switch {
	case a.output == "-":
		return nil
	case a.output == "" && a.input == "-":
		return usageError("plot: events from standard input need a name for the picture", "gomover plot - -o run.svg")
	case a.output == "":
		a.output = strings.TrimSuffix(a.input, filepath.Ext(a.input)) + ".svg"
		if ext := filepath.Ext(a.input); ext != ".jsonl" && ext != ".json" {
			a.output = a.input + ".svg"
		}
	}
	if err := chart.CheckName(a.output); err != nil {
		return usageError("plot: "+err.Error(), "-o "+strings.TrimSuffix(a.output, filepath.Ext(a.output))+".svg")
	}
	return nil
}

// runPlot is the command plot: it reads events and writes a picture.
//
// What is odd about the events without spoiling the picture goes to env.Stderr as
// a warning. Errors: *exitError with exitUsage, with exitSource when the events
// cannot be read, and with exitDestination or exitSpace when the picture cannot be
// written.
func runPlot(env Env, args []string) error {
	a, err := readPlotArgs(args)
	if err != nil {
		return err
	}
	if a.help {
		_, err := io.WriteString(env.Stdout, plotHelp)
		return err
	}
	run, err := readRun(env, a)
	if err != nil {
		return &exitError{Code: exitSource, Msg: "plot: " + err.Error(), Err: err}
	}
	for _, note := range run.Notes() {
		writeWarning(env.Stderr, "plot: "+note)
	}
	if a.output == "-" {
		err = run.Chart().WriteSVG(env.Stdout)
	} else {
		err = run.Chart().WriteFile(a.output)
	}
	if err != nil {
		code := exitDestination
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			code = exitSpace
		}
		return &exitError{Code: code, Msg: "plot: " + err.Error(), Err: err}
	}
	return nil
}

// readRun reads the events that were asked for.
func readRun(env Env, a plotArgs) (*runplot.Run, error) {
	in, name := env.Stdin, "standard input"
	if a.input != "-" {
		f, err := os.Open(a.input)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			if out, err := os.Stat(a.output); err == nil && os.SameFile(info, out) {
				return nil, errors.New(a.output + " is the file of events itself")
			}
		}
		in, name = f, a.input
	}
	run, err := runplot.Read(in)
	var bad *fs.PathError
	if err != nil && !errors.As(err, &bad) { // those of files name them already
		err = fmt.Errorf("%s: %w", name, err)
	}
	return run, err
}
