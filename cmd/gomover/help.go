package main

import "strings"

// helpWidth is the column in which descriptions start, and lineWidth the longest
// line; ours, so that the help fits a terminal of 80 columns.
const (
	helpWidth = 30
	lineWidth = 100
)

// examples open the help: the usual commands.
const examples = `  gomover big.dat host:                    one file
  gomover -r data/ host:/scratch/data      the contents of a directory
  gomover -r host:/scratch/data/ ./data    the other way
  gomover big.dat h1: h2:/data h3:         one file to several hosts at once
`

// usageText is what is printed when nothing at all was asked for: ten lines.
func usageText() string {
	return `usage: gomover [options] SRC... DST

` + examples + `
A place on another host is written HOST:PATH or ssh://USER@HOST:PORT/PATH.
The same command given again continues an interrupted one.
gomover --help shows the usual options, gomover --help=all every option.
`
}

// helpText is the help: the usual options in at most 60 lines, or all of them.
func helpText(all bool) string {
	var b strings.Builder
	b.WriteString("gomover moves files and trees between machines that are reached through ssh.\n\n")
	b.WriteString("usage: gomover [options] SRC... DST\n\n" + examples + "\n")
	b.WriteString("A place on another host is written HOST:PATH or ssh://[USER@]HOST[:PORT]/PATH.\n")
	b.WriteString("The first word may be a command; a file of such a name is written ./NAME.\n\nCommands\n")
	for _, c := range commandTable {
		if c.later == "" {
			b.WriteString(helpLine(c.name, c.help))
		}
	}
	for _, group := range helpGroups {
		started := false
		for i := range optionTable {
			p := &optionTable[i]
			if p.group != group || !p.available() || !all && !p.brief {
				continue
			}
			if !started {
				b.WriteString("\n" + group + "\n")
				started = true
			}
			b.WriteString(helpLine(p.spelling(), p.helpWithDefault(all)))
		}
	}
	if !all {
		b.WriteString("\n--help=all shows every option.\n")
		return b.String()
	}
	b.WriteString(`
Sizes are 64K, 1.5G (powers of 1024) or 500MB (of 1000). Rates say bits or bytes: 800Mbit, 95MB.
Durations are 30s, 15m, 1h30m or 2d. On/off options are negated by --no-NAME.
Options may follow words; -- ends them. Each long option may also be set in the environment
as GOMOVER_NAME and in ~/.config/gomover/config.
`)
	return b.String()
}

// spelling is how an option is typed, for the help.
func (p *option) spelling() string {
	out := "    "
	if p.short != "" {
		out = "-" + p.short
		if p.name != "" {
			out += ", "
		}
	}
	switch {
	case p.kind == kindFlag && p.def == "on":
		out += "--[no-]" + p.name
	case p.name != "":
		out += "--" + p.name
	}
	switch {
	case p.kind == kindOptional:
		out += "[=" + p.arg + "]"
	case p.kind == kindValue && p.name != "":
		out += "=" + p.arg
	case p.kind == kindValue:
		out += " " + p.arg
	}
	return out
}

// helpWithDefault is the description, in the long help with the default.
func (p *option) helpWithDefault(all bool) string {
	if !all || p.def == noDefault || p.def == "off" && p.kind == kindFlag || p.kind == kindAlias {
		return p.help
	}
	return p.help + " [" + p.def + "]"
}

// helpLine sets one description beside its name.
func helpLine(name, text string) string {
	if len(name) > helpWidth-4 {
		return "  " + name + "\n" + strings.Repeat(" ", helpWidth) + text + "\n"
	}
	return "  " + name + strings.Repeat(" ", helpWidth-2-len(name)) + text + "\n"
}
