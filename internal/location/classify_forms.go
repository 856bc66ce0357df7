package location

import "strings"

// chooseForm reads -t, --to and --hosts: all words are sources.
func (r *reader) chooseForm() (Plan, *Error) {
	p := Plan{Sources: r.words}
	if len(r.words) == 0 {
		return Plan{}, refuse("no source given", "gomover FILE "+r.formText())
	}
	if err := r.sourcesOnly(); err != nil {
		return Plan{}, err
	}
	var err *Error
	if p.Dests, err = r.formDests(); err != nil {
		return Plan{}, err
	}
	p.IntoDir = r.o.TargetDir != "" || len(p.Sources) > 1
	p.ByName = len(r.o.Hosts) > 0
	p.Mode = FanOut
	if len(p.Dests) == 1 {
		p.Mode = modeOf(p.Sources, p.Dests[0])
	}
	if r.words[0].Kind == Stdio {
		if len(p.Dests) > 1 || p.IntoDir {
			return Plan{}, refuse("standard input goes to one file only", "gomover - host:FILE")
		}
		p.Mode = FromStdin
		return p, r.needName(p.Dests[0], r.exists(p.Dests[0].Path))
	}
	return p, nil
}

// formText gives the destination options as typed.
func (r *reader) formText() string {
	switch {
	case r.o.TargetDir != "":
		return "-t " + quote(r.o.TargetDir)
	case len(r.o.To) > 0:
		return "--to " + quote(r.o.To[0])
	}
	return "--hosts " + quote(strings.Join(r.o.Hosts, ","))
}

// sourcesOnly refuses words that cannot be sources.
func (r *reader) sourcesOnly() *Error {
	for i, w := range r.words {
		if r.class(i, ClassHost, ClassOther) {
			hint := ""
			if w.Class == ClassHost {
				hint = "for a file on the host " + w.Raw + ", write " + quote(w.Raw+":PATH")
			}
			return refuse(w.Raw+": no such file or directory", hint).with(FaultSource)
		}
		if w.Kind == Stdio && len(r.words) > 1 {
			return refuse("standard input is not mixed with other sources")
		}
	}
	return nil
}

// formDests gives the destinations of -t, --to or --hosts.
func (r *reader) formDests() ([]Location, *Error) {
	var dests []Location
	for _, h := range r.o.Hosts {
		l, err := hostDest(h, r.o.DestPath)
		if err != nil {
			return nil, err
		}
		dests = append(dests, l)
	}
	words := r.o.To
	if r.o.TargetDir != "" {
		words = []string{r.o.TargetDir}
	}
	for _, w := range words {
		l, _, err := r.look(w)
		if err != nil {
			return nil, err
		}
		switch {
		case l.Kind == URL:
			return nil, refuse(l.Shown() + ": a web address can be a source only")
		case l.Kind == Stdio:
			return nil, refuse("standard output is written as the last word", "gomover SRC -")
		}
		dests = append(dests, l)
	}
	return dests, nil
}

// choosePull reads the words of a replica pull.
func (r *reader) choosePull(form bool) (Plan, *Error) {
	p := Plan{Mode: ReplicaPull}
	for _, w := range r.o.From {
		l, _, err := r.look(w)
		if err != nil {
			return Plan{}, err
		}
		p.Sources = append(p.Sources, l)
	}
	replicas := r.words
	if form {
		var err *Error
		if p.Dests, err = r.formDests(); err != nil {
			return Plan{}, err
		}
	} else {
		n := len(r.words)
		if n == 0 || n == 1 && len(p.Sources) == 0 {
			return Plan{}, refuse("pull needs at least one copy and a local destination", "gomover pull h1:/f h2:/f ./f")
		}
		last := r.words[n-1]
		if last.Kind != Local {
			return Plan{}, r.pullRemoteLast(last)
		}
		p.Dests, replicas = r.words[n-1:], r.words[:n-1]
	}
	p.Sources = append(p.Sources, replicas...)
	if len(p.Sources) == 0 {
		return Plan{}, refuse("pull needs at least one copy", "gomover pull h1:/f h2:/f ./f")
	}
	for _, s := range p.Sources {
		if s.Kind == Stdio {
			return Plan{}, refuse("standard input cannot be one of several copies")
		}
		if s.Class == ClassHost || s.Class == ClassOther {
			return Plan{}, refuse(s.Raw + ": no such file or directory").with(FaultSource)
		}
	}
	return p, nil
}

// pullRemoteLast refuses a pull whose last word is not local: whoever forgot the
// destination would otherwise overwrite a copy.
func (r *reader) pullRemoteLast(last Location) *Error {
	shown := r.shown(0)
	local := "./" + last.Base()
	words := append(append([]string{"pull"}, shown...), local)
	return refuse("pull needs a local destination, but the last word is "+last.Shown(),
		command(words...),
		"into another host: "+command(append([]string{"pull"}, shown...)...)+" --to HOST:PATH")
}
