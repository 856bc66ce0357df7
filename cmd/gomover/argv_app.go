package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

// handlers do what a command line asks for.
//
// copy gets the resolved options and the words of a copy; version the options of
// a version request. hosts holds the commands whose words are hosts or replicas. own holds the commands that read their arguments themselves.
// hidden holds commands for the program's own use, taken only as the very first
// argument. Both are handed the rest untouched. refused, which may be nil, hears of
// a command line that cannot be read and returns its error. All return errors
// for reportError and print nothing themselves on failure.
type handlers struct {
	copy    func(ctx context.Context, o *Options, words []string) error
	version func(ctx context.Context, o *Options) error
	hosts   map[string]func(ctx context.Context, o *Options, words []string) error
	own     map[string]func(ctx context.Context, args []string) error
	hidden  map[string]func(ctx context.Context, args []string) error
	refused func(err error) error
}

// refuse is the end of a command line that cannot be read.
func (h handlers) refuse(err error) error {
	if h.refused == nil {
		return err
	}
	return h.refused(err)
}

// dispatch reads the arguments of env and runs the command they name.
//
// Help goes to env.Stdout and is no error; without any argument the usage goes to
// env.Stderr and the error has a code and no message. Nothing is contacted before
// all arguments, variables and configuration files have been read and found good.
// Errors: *exitError, or what a handler returned.
func dispatch(ctx context.Context, env Env, h handlers) error {
	if len(env.Args) == 0 {
		_, _ = io.WriteString(env.Stderr, usageText())
		return &exitError{Code: exitUsage}
	}
	if _, ok := h.hidden[env.Args[0]]; ok {
		return newApp(env, h, commandLine{}).RunContext(ctx, append([]string{"gomover"}, env.Args...))
	}
	line, err := readArgs(env.Args)
	if err != nil {
		return h.refuse(err)
	}
	for _, g := range line.given {
		switch {
		case g.id == "help" && g.value != "short" && g.value != "all":
			return usageError(g.typed + ": must be --help or --help=all")
		case g.id == "help":
			return newApp(env, h, line).RunContext(ctx, []string{"gomover", "--help"})
		case g.id == "version" && g.value == "yes":
			line.command = "version"
		}
	}
	return newApp(env, h, line).RunContext(ctx, line.argv())
}

// newApp builds the dispatcher for one command line in canonical form. It never
// prints or ends the program by itself except for the help, which is ours.
func newApp(env Env, h handlers, line commandLine) *cli.App {
	app := &cli.App{
		Name:                  "gomover",
		HideVersion:           true,
		HideHelpCommand:       true,
		Description:           helpText(line.wantsAll()),
		CustomAppHelpTemplate: "{{.Description}}",
		Reader:                env.Stdin,
		Writer:                env.Stdout,
		ErrWriter:             env.Stderr,
		ExitErrHandler:        func(*cli.Context, error) {},
		OnUsageError:          passUsageError,
	}
	for i := range commandTable {
		app.Commands = append(app.Commands, newCommand(&commandTable[i], env, h, line))
	}
	for name, run := range h.hidden {
		app.Commands = append(app.Commands, &cli.Command{
			Name: name, Hidden: true, HideHelp: true, SkipFlagParsing: true, OnUsageError: passUsageError,
			Action: func(c *cli.Context) error { return run(c.Context, c.Args().Slice()) },
		})
	}
	return app
}

// newCommand builds one command with the flags of the table.
func newCommand(c *command, env Env, h handlers, line commandLine) *cli.Command {
	out := &cli.Command{Name: c.name, Usage: c.help, HideHelp: true, OnUsageError: passUsageError}
	if c.later != "" {
		out.Hidden, out.SkipFlagParsing = true, true
		out.Action = func(*cli.Context) error {
			return h.refuse(laterUsage(c.name, c.later))
		}
		return out
	}
	if c.own {
		out.SkipFlagParsing = true
		out.Action = func(ctx *cli.Context) error {
			if len(line.given) > 0 {
				return usageError(c.name+": "+line.given[0].typed+" does not belong to it", "gomover "+c.name+" --help")
			}
			return h.own[c.name](ctx.Context, line.words)
		}
		return out
	}
	got := &collector{line: line.given}
	out.Flags = newFlags(got)
	out.Action = func(ctx *cli.Context) error {
		o, err := resolve(env, got.given)
		if err != nil {
			return h.refuse(err)
		}
		if run := h.hosts[c.name]; run != nil {
			return run(ctx.Context, o, ctx.Args().Slice())
		}
		if c.name != "version" {
			return h.copy(ctx.Context, o, ctx.Args().Slice())
		}
		if ctx.Args().Len() > 0 {
			return usageError("version takes no words")
		}
		return h.version(ctx.Context, o)
	}
	return out
}

// passUsageError hands on what the dispatcher could not read. Its input is our
// own canonical form, so this is a fault in the program.
func passUsageError(_ *cli.Context, err error, _ bool) error {
	return fmt.Errorf("reading the canonical command line: %w", err)
}

// wantsAll reports whether the whole help is asked for.
func (c commandLine) wantsAll() bool {
	for _, g := range c.given {
		if g.id == "help" && g.value == "all" {
			return true
		}
	}
	return false
}

// collector gathers what the dispatcher read, in order and with the words that
// the user typed for each.
type collector struct {
	line  []given
	given []given
}

// add notes the next option. The canonical form has the same order as line, so
// the typed text is found by position.
func (c *collector) add(id, value string) {
	g := given{id: id, value: value, typed: "--" + id + " " + value}
	if i := len(c.given); i < len(c.line) && c.line[i].id == id && c.line[i].value == value {
		g = c.line[i]
	}
	c.given = append(c.given, g)
}

// flagValue is one option as the dispatcher sees it.
type flagValue struct {
	id   string
	into *collector
}

var _ cli.Generic = (*flagValue)(nil)

// Set notes a value; it is checked later, when it is known what it overrides.
func (v *flagValue) Set(value string) error {
	v.into.add(v.id, value)
	return nil
}

// String is the value shown by the dispatcher's own help, which is not used.
func (v *flagValue) String() string { return "" }

// newFlags gives a flag for every option that can be in the canonical form.
func newFlags(into *collector) []cli.Flag {
	var flags []cli.Flag
	for i := range optionTable {
		p := &optionTable[i]
		if !p.available() || p.kind == kindAlias || p.name == "help" {
			continue
		}
		flags = append(flags, &cli.GenericFlag{Name: p.id(), Usage: p.help, Category: p.group, DefaultText: p.def, Value: &flagValue{id: p.id(), into: into}})
	}
	return flags
}
