package main

// laterTable holds options that are understood and do not do anything yet. Using
// one is refused with what works instead; the help does not show them.
var laterTable = []option{
	{name: "files-from", kind: kindValue, private: true, later: "give the names as words with -t"},
	{name: "from0", short: "0", kind: kindFlag, later: "give the names as words with -t"},
	{name: "include", kind: kindValue, repeat: true, later: "copy the wanted directories as separate sources"},
	{name: "exclude", kind: kindValue, repeat: true, later: "copy the wanted directories as separate sources"},
	{name: "exclude-from", kind: kindValue, repeat: true, later: "copy the wanted directories as separate sources"},
	{name: "min-size", kind: kindValue, later: "give the wanted files as words with -t"},
	{name: "max-size", kind: kindValue, later: "give the wanted files as words with -t"},
	{name: "newer", kind: kindValue, later: "repeat the same command: files that are the same are skipped"},
	{name: "older", kind: kindValue, later: "give the wanted files as words with -t"},
	{name: "one-file-system", short: "x", kind: kindFlag, later: "copy each file system as a separate source"},
	{name: "relative", short: "R", kind: kindFlag, later: "write the path at the destination and use --mkpath"},
	{name: "tail", kind: kindValue, later: "copy when the writer has closed the file"},
	{name: "atimes", kind: kindFlag, later: "modification times are kept"},
	{name: "chmod", kind: kindValue, later: "run chmod at the destination afterwards"},
	{name: "chown", kind: kindValue, later: "run chown at the destination afterwards, or keep owners with --owner --group"},
	{name: "hard-links", short: "H", kind: kindFlag, later: "without it each name is copied as a file of its own"},
	{name: "acls", short: "A", kind: kindFlag, later: "without it permission bits are kept"},
	{name: "xattrs", short: "X", kind: kindFlag, later: "without it permission bits and times are kept"},
	{name: "sparse", short: "S", kind: kindOptional, bare: "auto", later: "without it holes are sent and written as zeros"},
	{name: "compress", short: "C", kind: kindOptional, bare: "auto", later: "compress the file first; without it data is sent as it is"},
	{name: "partial-dir", kind: kindValue, later: "unfinished files stay beside the file, with names that start with .gomover-"},
	{name: "inplace", kind: kindFlag, private: true, later: "without it the old file stays until the new one is complete"},
	{name: "append", kind: kindFlag, later: "without it the whole file is sent, and an interrupted run continues"},
	{name: "hash-out", kind: kindValue, later: "run b3sum at the destination; every block was checked against the source"},
	{name: "readers", kind: kindValue, later: "use --jobs to set the files in flight"},
	{name: "writers", kind: kindValue, later: "use --jobs to set the files in flight"},
	{name: "direct-io", kind: kindValue, later: "without it files are read and written through the system's cache"},
	{name: "log", kind: kindValue, later: "use --progress=plain 2>>FILE, or --json=FILE"},
	{name: "log-level", kind: kindValue, later: "use -v or -vv"},
	{name: "dry-run", short: "n", kind: kindFlag, private: true, later: "use --explain to see the plan of a real run"},
	{name: "relay", short: "3", kind: kindFlag, later: "copy to this machine first, then on to the other host"},
	{name: "detach", kind: kindFlag, later: "start gomover with nohup; an interrupted run continues with the same command"},
}

// foreignTable holds options that people know from other programs and that would
// be dangerous to read in another sense, and those that are always on.
var foreignTable = []option{
	{short: "l", kind: kindForeign, arg: "N", answer: "scp's -l is in Kbit/s; use --bwlimit with a unit, e.g. --bwlimit 80Mbit"},
	{short: "z", kind: kindForeign, answer: "for the old reverse connection use --dial=target; data is not compressed"},
	{short: "Z", kind: kindForeign, arg: "A:B", answer: "use --ports A-B"},
	{short: "e", kind: kindForeign, arg: "CMD", answer: "use --ssh CMD"},
	{short: "O", kind: kindForeign, answer: "use --ignore-existing"},
	{short: "u", kind: kindForeign, answer: "use --existing=update (the default compares size and time)"},
	{name: "partial", kind: kindIgnored},
	{name: "append-verify", kind: kindIgnored},
}

// command is a word that, coming first, says what to do.
type command struct {
	name  string
	help  string // one line; empty for those that are not shown
	later string // what works instead
	own   bool   // reads what follows it by itself
}

// commandTable holds every command. The first is meant when none is written.
var commandTable = []command{
	{name: "copy", help: "copy (the word may be left out)"},
	{name: "version", help: "print program, protocol and event versions (--json)"},
	{name: "plot", help: "draw a picture of a run: plot RUN.jsonl [-o PICTURE.svg|.png]", own: true},
	{name: "probe", help: "measure the path to hosts: probe HOST..."},
	{name: "doctor", help: "check every step of the way to hosts: doctor HOST..."},
	{name: "pull", help: "fetch from several copies at once: pull [-r] HOST:FILE URL... FILE"},
	{name: "resume", later: "give the same command again; it continues"},
	{name: "jobs", help: "list the jobs that run on this machine (--json)"},
	{name: "forget", later: "remove the files whose names start with .gomover- at the destination"},
	{name: "ctl", help: "change a running job: ctl ID bwlimit=200Mbit, pause, continue, stop"},
	{name: "attach", help: "the events of a running job, as --json writes them: attach ID"},
	{name: "verify", later: "copy again with --checksum: what differs is found and replaced"},
	{name: "completion", later: "use --help=all for a list of options"},
	{name: "man", later: "use --help=all for a list of options"},
}

// findCommand gives the command of a name, or nil.
func findCommand(name string) *command {
	for i := range commandTable {
		if commandTable[i].name == name {
			return &commandTable[i]
		}
	}
	return nil
}
