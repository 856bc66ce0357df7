package main

import (
	"slices"
	"time"

	"github.com/gomover/gomover/engine"
)

// The headings of the help, in its order.
const (
	groupCopy    = "What to copy"
	groupAttr    = "File attributes"
	groupNet     = "Network"
	groupSSH     = "SSH and the remote agent"
	groupSafety  = "Reliability"
	groupStorage = "Storage"
	groupPull    = "Several replicas of a file"
	groupOutput  = "Output"
)

// helpGroups is the order of the headings.
var helpGroups = []string{groupCopy, groupAttr, groupNet, groupSSH, groupSafety, groupStorage, groupPull, groupOutput}

// optionTable holds every option that is understood, also those that are only
// refused with an answer.
var optionTable = slices.Concat(copyTable, fanTable, attrTable, netTable, sshTable, safetyTable, storageTable, pullTable, outputTable, laterTable, foreignTable)

var copyTable = []option{
	{name: "recursive", short: "r", kind: kindFlag, def: "off", group: groupCopy, brief: true,
		help: "descend into directories", store: flagAt(func(o *Options) *bool { return &o.Copy.Recursive })},
	{name: "archive", short: "a", kind: kindFlag, def: "off", group: groupCopy, brief: true,
		help:  "-r --links=copy --perms --times --owner --group --specials",
		store: flagAt(func(o *Options) *bool { return &o.Copy.Archive })},
	{name: "target-directory", short: "t", kind: kindValue, arg: "LOC", def: noDefault, group: groupCopy, brief: true, private: true,
		help: "all words are sources, LOC is the directory they go into", store: nameAt(func(o *Options) *string { return &o.Copy.TargetDir })},
	{name: "no-target-directory", short: "T", kind: kindFlag, def: "off", group: groupCopy, brief: true,
		help: "the destination is the exact name", store: flagAt(func(o *Options) *bool { return &o.Copy.Exact })},
	{name: "mkpath", kind: kindFlag, def: "off", group: groupCopy,
		help: "create all missing parents of the destination", store: flagAt(func(o *Options) *bool { return &o.Copy.MakePath })},
	{name: "glob", kind: kindFlag, def: "on", group: groupCopy,
		help: "expand patterns in remote source paths", store: flagAt(func(o *Options) *bool { return &o.Copy.Glob })},
}

var attrTable = []option{
	{name: "perms", kind: kindFlag, def: "on", group: groupAttr,
		help: "keep permission bits", store: flagAt(func(o *Options) *bool { return &o.Attr.Perms })},
	{name: "times", kind: kindFlag, def: "on", group: groupAttr,
		help: "keep modification times", store: flagAt(func(o *Options) *bool { return &o.Attr.Times })},
	{short: "p", kind: kindAlias, def: noDefault, group: groupAttr, alias: []given{{id: "perms", value: "yes"}, {id: "times", value: "yes"}},
		help: "--perms --times, as in scp"},
	{name: "owner", kind: kindFlag, def: "off", group: groupAttr,
		help: "keep the owner (by name; needs privilege)", store: flagAt(func(o *Options) *bool { return &o.Attr.Owner })},
	{name: "group", kind: kindFlag, def: "off", group: groupAttr,
		help: "keep the group (by name)", store: flagAt(func(o *Options) *bool { return &o.Attr.Group })},
	{name: "numeric-ids", kind: kindFlag, def: "off", group: groupAttr,
		help: "keep owner and group by number", store: flagAt(func(o *Options) *bool { return &o.Attr.NumericIDs })},
	{name: "specials", kind: kindFlag, def: "off", group: groupAttr,
		help: "devices, pipes and sockets; they are counted as skipped", store: flagAt(func(o *Options) *bool { return &o.Attr.Specials })},
	{name: "links", kind: kindValue, arg: "HOW", def: "copy", group: groupAttr, values: linkModes,
		help: "symbolic links in a tree: copy, follow, safe or skip", store: choiceAt(func(o *Options) *LinkMode { return &o.Attr.Links }, linkModes...)},
	{short: "L", kind: kindAlias, def: noDefault, group: groupAttr, alias: []given{{id: "links", value: "follow"}},
		help: "--links=follow"},
	{name: "fsync", kind: kindValue, arg: "HOW", def: "batch", group: groupAttr, values: syncModes,
		help: "before a file counts as done: none, batch, file or dir", store: choiceAt(func(o *Options) *SyncMode { return &o.Attr.Sync }, syncModes...)},
}

var (
	linkModes = []string{string(LinksCopy), string(LinksFollow), string(LinksSafe), string(LinksSkip)}
	syncModes = []string{string(SyncNone), string(SyncBatch), string(SyncFile), string(SyncDir)}
)

var netTable = []option{
	{name: "transport", kind: kindValue, arg: "LIST", def: "auto", group: groupNet, brief: true, values: []string{"auto", "tcp", "udt", "ssh", "xm"},
		help: "auto (udt where tcp is held back), or of tcp, udt, ssh, xm", store: storeTransport},
	{name: "streams", short: "s", kind: kindValue, arg: "N", def: "auto", group: groupNet, brief: true,
		help: "data connections: auto, N or MIN-MAX", store: storeStreams},
	{name: "window", short: "w", kind: kindValue, arg: "SIZE", def: "auto", group: groupNet, brief: true,
		help: "socket buffer per stream: auto or a size", store: sizeAt(func(o *Options) *int64 { return &o.Net.Window }, "auto", minWindow, maxWindow)},
	{name: "bwlimit", kind: kindValue, arg: "RATE", def: "off", group: groupNet, brief: true,
		help: "limit: 95MB, 800Mbit, or \"Mon-Fri-08:00,10MB 18:00,off\"", store: storeLimit},
	{name: "priority", kind: kindValue, arg: "HOW", def: "fair", group: groupNet, values: priorities,
		help:  "fair, background (gives way), bold (needs --bwlimit)",
		store: choiceAt(func(o *Options) *string { return &o.Net.Priority }, priorities...)},
	{name: "finish-by", kind: kindValue, arg: "TIME|DUR", def: "off", group: groupNet, private: true,
		help: "as gently as still ends by 06:00, or within 2h", store: storeFinishBy},
	{name: "cc", kind: kindValue, arg: "NAME", def: "system", group: groupNet,
		help: "congestion control: of the kernel, or of UDT", store: storeCongestion},
	{name: "retune", kind: kindValue, arg: "HOW", def: "auto", group: groupNet, values: []string{"auto", "on", "off", "observe"},
		help:  "retune a running copy: auto (when held back), on, off, observe",
		store: choiceAt(func(o *Options) *string { return &o.Net.Retune }, "auto", "on", "off", "observe")},
	{name: "probe", kind: kindValue, arg: "HOW", def: "auto", group: groupNet, values: []string{"auto", "full", "off"},
		help:  "the path beside a copy: what is new (auto), all (full), or off",
		store: choiceAt(func(o *Options) *string { return &o.Net.Probe }, "auto", "full", "off")},
	{name: "tune-interval", kind: kindValue, arg: "DUR", def: "auto", group: groupNet,
		help: "least time between two looks of --retune", store: storeInterval},
	{name: "dscp", kind: kindValue, arg: "CLASS", def: "0", group: groupNet,
		help: "traffic class: a number or a name", store: storeDSCP},
	{name: "dial", kind: kindValue, arg: "SIDE", def: "auto", group: groupNet, values: []string{"auto", "source", "target"},
		help:  "side that opens data connections: auto, source or target",
		store: choiceAt(func(o *Options) *string { return &o.Net.Dial }, "auto", "source", "target")},
	{name: "ports", kind: kindValue, arg: "A-B", def: "auto", group: groupNet, brief: true,
		help: "ports of the listening side (auto: 50000-50019, then any)", store: storePorts},
	{name: "data-addr", kind: kindValue, arg: "[HOST=]ADDR", def: noDefault, group: groupNet, repeat: true,
		help: "address to dial for data", store: storeDataAddr},
	{name: "bind", kind: kindValue, arg: "ADDR|IFACE", def: noDefault, group: groupNet,
		help: "local address or interface for data", store: storeBind},
	{short: "4", kind: kindFlag, def: noDefault, group: groupNet, help: "IPv4 only", store: storeFamily(4)},
	{short: "6", kind: kindFlag, def: noDefault, group: groupNet, help: "IPv6 only", store: storeFamily(6)},
	{name: "encrypt", kind: kindValue, arg: "HOW", def: "on", group: groupNet, brief: true, values: []string{"on", "auth", "off"},
		help:  "data is sealed (on), protected against change (auth), or neither",
		store: choiceAt(func(o *Options) *string { return &o.Net.Encrypt }, "on", "auth", "off")},
}

var priorities = []string{engine.Fair, engine.Background, engine.Bold}

var sshTable = []option{
	{short: "P", kind: kindValue, arg: "PORT", def: noDefault, group: groupSSH, brief: true,
		help: "ssh port (else that of ssh_config)", store: numberAt(func(o *Options) *int { return &o.SSH.Port }, "", 1, maxPort)},
	{short: "i", kind: kindValue, arg: "FILE", def: noDefault, group: groupSSH, brief: true, repeat: true,
		help: "ssh key", store: listAt(func(o *Options) *[]string { return &o.SSH.Identities })},
	{short: "F", kind: kindValue, arg: "FILE", def: noDefault, group: groupSSH,
		help: "ssh configuration instead of the user's", store: nameAt(func(o *Options) *string { return &o.SSH.ConfigFile })},
	{short: "J", kind: kindValue, arg: "HOST", def: noDefault, group: groupSSH, brief: true,
		help: "host to jump through", store: nameAt(func(o *Options) *string { return &o.SSH.Jump })},
	{short: "o", kind: kindValue, arg: "OPT", def: noDefault, group: groupSSH, repeat: true,
		help: "option for ssh, as in ssh_config", store: listAt(func(o *Options) *[]string { return &o.SSH.Raw })},
	{name: "ssh", kind: kindValue, arg: "CMD", def: "builtin", group: groupSSH,
		help: "builtin, or a program such as ssh to connect with", store: storeProgram(func(o *Options) *string { return &o.SSH.Program })},
	{name: "agent", kind: kindValue, arg: "CMD", def: "auto", group: groupSSH,
		help: "auto, or the command to run on the host", store: storeProgram(func(o *Options) *string { return &o.SSH.Agent })},
	{name: "agent-dir", kind: kindValue, arg: "DIR", def: "auto", group: groupSSH,
		help: "where an uploaded agent lives on the host", store: autoTextAt(func(o *Options) *string { return &o.SSH.AgentDir }, "auto")},
	{name: "agent-keep", kind: kindFlag, def: "on", group: groupSSH,
		help: "leave the uploaded agent for next time", store: flagAt(func(o *Options) *bool { return &o.SSH.AgentKeep })},
	{name: "connect-timeout", kind: kindValue, arg: "DUR", def: "20s", group: groupSSH,
		help: "for each attempt to reach a host; ssh_config may set it too", store: durationAbove(func(o *Options) *time.Duration { return &o.SSH.ConnectTimeout })},
}

var safetyTable = []option{
	{name: "resume", kind: kindValue, arg: "HOW", def: "auto", group: groupSafety, values: []string{"auto", "never", "require"},
		help:  "continue unfinished files: auto, never or require",
		store: choiceAt(func(o *Options) *string { return &o.Safety.Resume }, "auto", "never", "require")},
	{name: "state-dir", kind: kindValue, arg: "DIR", def: "auto", group: groupSafety,
		help: "where kept state of runs lives", store: autoTextAt(func(o *Options) *string { return &o.Safety.StateDir }, "auto")},
	{name: "discard-partial", kind: kindFlag, def: "off", group: groupSafety,
		help: "remove unfinished files on failure", store: flagAt(func(o *Options) *bool { return &o.Safety.DiscardPartial })},
	{name: "stall-timeout", kind: kindValue, arg: "DUR", def: "30s", group: groupSafety,
		help: "replace a stream that confirms nothing for this long", store: durationAbove(func(o *Options) *time.Duration { return &o.Safety.StallTimeout })},
	{name: "give-up", kind: kindValue, arg: "DUR", def: "15m", group: groupSafety, brief: true,
		help: "end after no progress for this long; 0 never", store: durationAt(func(o *Options) *time.Duration { return &o.Safety.GiveUp }, "never")},
	{name: "retry-wait", kind: kindValue, arg: "DUR", def: "1s", group: groupSafety,
		help: "first wait before reconnecting; doubles up to 60s", store: durationAbove(func(o *Options) *time.Duration { return &o.Safety.RetryWait })},
	{name: "time-limit", kind: kindValue, arg: "DUR", def: "off", group: groupSafety,
		help: "end after this long, keeping what is there", store: durationAt(func(o *Options) *time.Duration { return &o.Safety.TimeLimit }, "off")},
	{name: "existing", kind: kindValue, arg: "HOW", def: "update", group: groupSafety, brief: true, values: existingModes,
		help:  "files already there: update, skip, replace or fail",
		store: choiceAt(func(o *Options) *string { return &o.Safety.Existing }, existingModes...)},
	{name: "ignore-existing", kind: kindAlias, def: noDefault, group: groupSafety, alias: []given{{id: "existing", value: "skip"}},
		help: "--existing=skip"},
	{name: "checksum", short: "c", kind: kindFlag, def: "off", group: groupSafety, brief: true,
		help: "decide \"same\" by content instead of size and time", store: flagAt(func(o *Options) *bool { return &o.Safety.Checksum })},
	{name: "size-only", kind: kindFlag, def: "off", group: groupSafety,
		help: "decide \"same\" by size", store: flagAt(func(o *Options) *bool { return &o.Safety.SizeOnly })},
	{name: "verify", kind: kindValue, arg: "HOW", def: "wire", group: groupSafety, brief: true, values: []string{"wire", "readback", "none"},
		help:  "wire (on arrival), readback (files are read again too), none",
		store: choiceAt(func(o *Options) *string { return &o.Safety.Verify }, "wire", "readback", "none")},
	{name: "hash", kind: kindValue, arg: "NAME", def: "auto", group: groupSafety, values: []string{"auto", "blake3"},
		help: "block hash: auto or blake3", store: storeHash},
	{name: "expect", kind: kindValue, arg: "NAME:HEX", def: noDefault, group: groupSafety, private: true,
		help: "the single file must have this hash, as blake3:HEX", store: storeExpect},
	{name: "no-space-check", kind: kindFlag, def: "off", group: groupSafety,
		help: "do not compare sizes with the free space first", store: flagAt(func(o *Options) *bool { return &o.Safety.NoSpaceCheck })},
	{name: "on-change", kind: kindValue, arg: "HOW", def: "retry", group: groupSafety, values: []string{"retry", "fail", "ignore"},
		help:  "a source changed while it was read: retry, fail or ignore",
		store: choiceAt(func(o *Options) *string { return &o.Safety.OnChange }, "retry", "fail", "ignore")},
	{name: "error-on-no-transfer", kind: kindFlag, def: "off", group: groupSafety,
		help: "exit 17 when everything was already there", store: flagAt(func(o *Options) *bool { return &o.Safety.ErrorOnNoTransfer })},
}

var existingModes = []string{"update", "skip", "replace", "fail"}

var storageTable = []option{
	{name: "jobs", short: "j", kind: kindValue, arg: "N", def: "auto", group: groupStorage,
		help: "files in flight: auto or N", store: numberAt(func(o *Options) *int { return &o.Storage.Jobs }, "auto", 1, maxJobs)},
	{name: "block-size", kind: kindValue, arg: "SIZE", def: "auto", group: groupStorage,
		help: "unit of hashing and resuming", store: sizeAt(func(o *Options) *int64 { return &o.Storage.BlockSize }, "auto", minBlock, maxBlock)},
	{name: "memory", kind: kindValue, arg: "SIZE", def: "128M", group: groupStorage,
		help: "bound for buffers on each side", store: sizeAt(func(o *Options) *int64 { return &o.Storage.Memory }, "", minMemory, maxMemory)},
}

var outputTable = []option{
	{name: "verbose", short: "v", kind: kindCount, arg: "N", def: "0", group: groupOutput, brief: true,
		help: "show decisions; -vv shows details and ssh's own output", store: storeVerbose},
	{name: "quiet", short: "q", kind: kindFlag, def: "off", group: groupOutput, brief: true,
		help: "errors only", store: flagAt(func(o *Options) *bool { return &o.Output.Quiet })},
	{name: "progress", kind: kindValue, arg: "HOW", def: "auto", group: groupOutput, brief: true, values: []string{"auto", "tty", "plain", "none"},
		help:  "auto, tty, plain or none",
		store: choiceAt(func(o *Options) *string { return &o.Output.Progress }, "auto", "tty", "plain", "none")},
	{name: "progress-interval", kind: kindValue, arg: "DUR", def: "auto", group: groupOutput,
		help:  "time between two lines or redraws (auto: 30s plain, 0.25s tty)",
		store: durationAt(func(o *Options) *time.Duration { return &o.Output.ProgressInterval }, "auto")},
	{name: "show", kind: kindValue, arg: "LIST", def: "auto", group: groupOutput, values: []string{"streams", "dests", "files", "sources"},
		help: "detail lines: streams, dests, sources, files (auto: as fits)", store: storeShow},
	{name: "units", kind: kindValue, arg: "HOW", def: "bytes", group: groupOutput, values: []string{"bytes", "bits"},
		help: "show rates in bytes or bits", store: storeUnits},
	{name: "json", kind: kindOptional, arg: "FILE|fd:N", def: "off", bare: "-", group: groupOutput, brief: true,
		help: "events as JSON lines on standard output, or to a file", store: storeJSON},
	{name: "summary", kind: kindValue, arg: "HOW", def: "short", group: groupOutput, values: []string{"short", "full", "none"},
		help:  "at the end: short, full or none",
		store: choiceAt(func(o *Options) *string { return &o.Output.Summary }, "short", "full", "none")},
	{name: "explain", kind: kindFlag, def: "off", group: groupOutput, brief: true,
		help: "print the plan with its reasons, then go on", store: flagAt(func(o *Options) *bool { return &o.Output.Explain })},
	{name: "history", kind: kindFlag, def: "off", group: groupOutput, private: true,
		help: "probe: what earlier jobs reached, without asking the hosts", store: flagAt(func(o *Options) *bool { return &o.Output.History })},
	{name: "plot", kind: kindValue, arg: "FILE", def: noDefault, group: groupOutput, private: true,
		help: "probe --history: draw it, too, as .svg or .png", store: textAt(func(o *Options) *string { return &o.Output.Plot })},
	{name: "color", kind: kindValue, arg: "WHEN", def: "auto", group: groupOutput, values: []string{"auto", "always", "never"},
		help:  "auto, always or never",
		store: choiceAt(func(o *Options) *string { return &o.Output.Color }, "auto", "always", "never")},
	{name: "config", kind: kindValue, arg: "FILE", def: noDefault, group: groupOutput, private: true,
		help: "one more configuration file, read last", store: textAt(func(o *Options) *string { return &o.Output.ConfigFile })},
	{name: "no-config", kind: kindFlag, def: "off", group: groupOutput, private: true,
		help: "read no configuration file", store: flagAt(func(o *Options) *bool { return &o.Output.NoConfig })},
	{name: "help", short: "h", kind: kindOptional, arg: "all", def: noDefault, bare: "short", group: groupOutput, brief: true, private: true,
		help: "this help; --help=all shows every option", store: choiceAt(func(o *Options) *string { return &o.Output.Help }, "short", "all")},
	{name: "version", kind: kindFlag, def: noDefault, group: groupOutput, brief: true, private: true,
		help: "print versions", store: flagAt(func(o *Options) *bool { return &o.Output.Version })},
}
