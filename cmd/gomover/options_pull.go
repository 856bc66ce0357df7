package main

import "github.com/gomover/gomover/internal/units"

// PullOptions say how a file is fetched from several replicas.
type PullOptions struct {
	Words            bool     // the words are those of pull
	From             []string // replicas, beside those that are words
	Lists            []string // --metalink
	ListFile         string   // the one file of the lists that is meant
	Location         string   // country whose mirrors come first
	RequireSignature bool
	Prefer           string // "first", a replica as written, or ""
	MaxSources       int    // at once; 0: the default
	MirrorStreams    int    // connections to each mirror; 0: the default
	TrustMirrors     bool
	MinRate          units.Rate // bytes per second; 0: none
}

var pullTable = []option{
	{name: "from", kind: kindValue, arg: "LOC", def: noDefault, group: groupPull, repeat: true, private: true,
		help: "a replica; then the words hold the destination", store: listAt(func(o *Options) *[]string { return &o.Pull.From })},
	{name: "metalink", kind: kindValue, arg: "FILE|URL", def: noDefault, group: groupPull, repeat: true, private: true,
		help: "pull what a list names (Metalink 4), verified by its hashes", store: listAt(func(o *Options) *[]string { return &o.Pull.Lists })},
	{name: "metalink-file", kind: kindValue, arg: "NAME", def: noDefault, group: groupPull, private: true,
		help: "of the lists, pull this file only", store: nameAt(func(o *Options) *string { return &o.Pull.ListFile })},
	{name: "location", kind: kindValue, arg: "CC", def: noDefault, group: groupPull,
		help: "country code: mirrors there come first", store: storeLocation},
	{name: "require-signature", kind: kindFlag, def: "off", group: groupPull,
		help: "refuse lists whose signature is not checked", store: flagAt(func(o *Options) *bool { return &o.Pull.RequireSignature })},
	{name: "prefer", kind: kindValue, arg: "first|LOC", def: noDefault, group: groupPull, private: true,
		help: "the replica to believe when they differ", store: nameAt(func(o *Options) *string { return &o.Pull.Prefer })},
	{name: "max-sources", kind: kindValue, arg: "N", def: "8", group: groupPull,
		help: "replicas used at once; the others stand by", store: numberAt(func(o *Options) *int { return &o.Pull.MaxSources }, "", 1, 256)},
	{name: "mirror-streams", kind: kindValue, arg: "N", def: "4", group: groupPull,
		help: "connections to each mirror", store: numberAt(func(o *Options) *int { return &o.Pull.MirrorStreams }, "", 1, 64)},
	{name: "min-rate", kind: kindValue, arg: "RATE", def: "off", group: groupNet,
		help: "end when slower for 60s; a pull leaves a slow replica first", store: storeMinRate},
	{name: "trust-mirrors", kind: kindFlag, def: "off", group: groupPull, private: true,
		help: "mix mirrors of which only samples were compared", store: flagAt(func(o *Options) *bool { return &o.Pull.TrustMirrors })},
}

// storeLocation takes a country as ISO 3166-1 writes it.
func storeLocation(o *Options, value string) error {
	if len(value) != 2 {
		return badValue(value, "must be two letters, such as de")
	}
	o.Pull.Location = value
	return nil
}

// storeMinRate reads a rate, or off.
func storeMinRate(o *Options, value string) error {
	if value == "off" {
		o.Pull.MinRate = 0
		return nil
	}
	r, err := units.ParseRate(value)
	if err == nil {
		o.Pull.MinRate = r
	}
	return err
}
