package location

import "strings"

// reader is the state of one Classify: what was asked and what exists.
type reader struct {
	o      WordOptions
	raw    []string
	exists func(path string) Exist
	words  []Location
	state  []Exist // of each word, Missing unless local
}

// Classify decides what the words of one command mean together, or refuses.
//
// exists is asked at most once per path: for local words, and for the parents of
// a local destination, before anything is contacted. The decision is that of the tables
// in the manual, read from the top: two words, three or more words, or the forms
// without ambiguity (-t, --to, --hosts, pull). Checks that need no host are made
// too: a directory without -r, the same place twice, a missing parent.
// Errors: *Error.
func Classify(words []string, o WordOptions, exists func(path string) Exist) (Plan, error) {
	known := map[string]Exist{}
	r := &reader{o: o, raw: words, exists: func(path string) Exist {
		state, ok := known[path]
		if !ok {
			state = exists(path)
			known[path] = state
		}
		return state
	}}
	plan, err := r.run()
	if err != nil {
		return Plan{}, err
	}
	return plan, nil
}

// run is Classify with the error's type kept.
func (r *reader) run() (Plan, *Error) {
	for _, w := range r.raw {
		l, state, err := r.look(w)
		if err != nil {
			return Plan{}, err
		}
		r.words, r.state = append(r.words, l), append(r.state, state)
	}
	plan, err := r.choose()
	if err != nil {
		return Plan{}, err
	}
	return plan, r.check(&plan)
}

// look parses one word and asks whether it exists.
func (r *reader) look(word string) (Location, Exist, *Error) {
	l, err := parse(word, r.o.Windows)
	if err != nil {
		return Location{}, Missing, err
	}
	l.Raw, l.backslashes = word, r.o.Windows && l.Kind == Local
	if l.Kind != Local {
		return l, Missing, nil
	}
	state := r.exists(l.Path)
	if state != Missing && l.Class != ClassPath {
		l.Class = ClassExisting
	}
	return l, state, nil
}

// choose picks the table and the row.
func (r *reader) choose() (Plan, *Error) {
	forms := 0
	for _, given := range []bool{r.o.TargetDir != "", len(r.o.To) > 0, len(r.o.Hosts) > 0} {
		if given {
			forms++
		}
	}
	switch {
	case forms > 1:
		return Plan{}, refuse("-t, --to and --hosts exclude one another")
	case r.o.DestPath != "" && len(r.o.Hosts) == 0 && !r.allHosts():
		return Plan{}, refuse("--dest " + r.o.DestPath + ": says where on hosts, but no hosts are given without a path")
	case len(r.o.From) > 0 && !r.o.Pull:
		return Plan{}, refuse("--from is used with pull only")
	case r.o.Pull:
		return r.choosePull(forms > 0)
	case forms > 0:
		return r.chooseForm()
	}
	switch len(r.words) {
	case 0:
		return Plan{}, refuse("no source and no destination given", "gomover FILE HOST:")
	case 1:
		return Plan{}, r.oneWord()
	case 2:
		return r.chooseTwo()
	}
	return r.chooseMany()
}

// oneWord refuses a lone source.
func (r *reader) oneWord() *Error {
	l := r.words[0]
	if l.Kind == Remote || l.Kind == URL {
		return refuse(l.Shown()+": no destination given", command(l.Shown(), "."))
	}
	copyName := "./copy"
	if dot := strings.LastIndexByte(l.Base(), '.'); dot > 0 {
		copyName += l.Base()[dot:]
	}
	if l.Raw == "help" {
		return refuse(l.Raw+": no destination given", command("--help"), command(l.Raw, "host:"))
	}
	return refuse(l.Raw+": no destination given", command(l.Raw, "host:"), command(l.Raw, copyName))
}

// local reports whether word i is plainly a path or exists here.
func (r *reader) local(i int) bool {
	c := r.words[i].Class
	return c == ClassPath || c == ClassExisting
}

// class reports whether word i is of one of the classes.
func (r *reader) class(i int, classes ...Class) bool {
	for _, c := range classes {
		if r.words[i].Class == c {
			return true
		}
	}
	return false
}

// all reports whether f holds for the words from i up to but without j.
func all(i, j int, f func(i int) bool) bool {
	for ; i < j; i++ {
		if !f(i) {
			return false
		}
	}
	return true
}

// allHosts reports whether the words are one source and bare hosts (row 5).
func (r *reader) allHosts() bool {
	n := len(r.words)
	return n >= 3 && r.local(0) && all(1, n, func(i int) bool { return r.class(i, ClassHost) })
}

// chooseTwo reads the table for two words.
func (r *reader) chooseTwo() (Plan, *Error) {
	src, dst := r.words[0], r.words[1]
	if dst.Kind == URL {
		return Plan{}, refuse(dst.Shown() + ": a web address can be a source only")
	}
	if r.class(0, ClassHost, ClassOther) {
		return Plan{}, r.missingSource(src, dst)
	}
	p := Plan{Sources: []Location{src}, Dests: []Location{dst}}
	switch {
	case src.Kind == Stdio && dst.Kind == Stdio:
		return Plan{}, refuse("standard input is not copied to standard output", "gomover - host:FILE")
	case dst.Kind == Stdio:
		p.Mode = ToStdout
		return p, nil
	case r.local(0) && r.class(1, ClassHost, ClassOther), src.Kind == Stdio && r.class(1, ClassHost):
		return Plan{}, neither(dst)
	case src.Kind == Stdio:
		p.Mode = FromStdin
		return p, r.needName(dst, r.state[1])
	}
	p.Mode = modeOf(p.Sources, dst)
	return p, nil
}

// neither refuses a bare last word that could be a host or a new file.
func neither(dst Location) *Error {
	host := ""
	if dst.Class == ClassHost {
		host = "for the host, write " + quote(dst.Raw+":")
	}
	file := ""
	if !strings.HasPrefix(dst.Raw, "[") {
		file = "for a new local file, write " + quote("./"+dst.Raw)
	}
	return refuse(dst.Raw+": is neither an existing file nor written as a host", host, file)
}

// missingSource refuses a bare first word that does not exist.
func (r *reader) missingSource(src, dst Location) *Error {
	hint := ""
	if src.Class == ClassHost {
		hint = "for a file on the host " + src.Raw + ": " + command(src.Raw+":PATH", dst.Shown())
	}
	return refuse(src.Raw+": no such file or directory", hint).with(FaultSource)
}

// needName refuses a destination for standard input that is a directory.
func (r *reader) needName(dst Location, state Exist) *Error {
	if state == Directory || dst.NamesDir() {
		hint := dst.Raw
		if !strings.HasSuffix(hint, ":") && !strings.HasSuffix(hint, "/") {
			hint += "/"
		}
		return refuse(dst.Raw+": standard input needs a file name, not a directory", command("-", hint+"NAME"))
	}
	return nil
}

// modeOf gives the mode of one destination by the kinds of its sources.
func modeOf(sources []Location, dst Location) Mode {
	kind := sources[0].Kind
	for _, s := range sources {
		if s.Kind != kind {
			return Mixed
		}
	}
	switch {
	case kind == URL:
		return Fetch
	case kind == Remote && dst.Kind == Remote:
		return ThirdParty
	case kind == Remote:
		return Pull
	case dst.Kind == Remote:
		return Push
	}
	return LocalCopy
}
