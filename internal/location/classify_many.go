package location

import (
	"strconv"
	"strings"
)

// chooseMany reads the table for three words or more: the first row that fits
// decides. The numbers are those of the rows.
func (r *reader) chooseMany() (Plan, *Error) {
	n := len(r.words)
	last := r.words[n-1]
	isR := func(i int) bool { return r.class(i, ClassRemote) }
	isH := func(i int) bool { return r.class(i, ClassHost) }
	rest := func(classes ...Class) int {
		count := 0
		for i := 1; i < n; i++ {
			if r.class(i, classes...) {
				count++
			}
		}
		return count
	}
	several := Plan{Sources: r.words[:n-1], Dests: r.words[n-1:], IntoDir: true}
	localSources := all(0, n-1, r.local)
	switch {
	case localSources && isR(n-1): // 1
		several.Mode = Push
		return several, nil
	case localSources && r.local(n-1) && (r.state[n-1] == Directory || last.NamesDir()): // 2
		several.Mode = LocalCopy
		return several, nil
	case all(0, n-1, func(i int) bool { return r.class(i, ClassRemote, ClassURL) }) && last.Kind == Local: // 3
		several.Mode = modeOf(several.Sources, last)
		if r.state[n-1] != Directory && !last.NamesDir() {
			return Plan{}, refuse(last.Raw+": several sources need a directory", "for a new directory, write "+quote(last.Raw+"/"))
		}
		return several, nil
	case r.local(0) && all(1, n, isR): // 4
		return Plan{Mode: FanOut, Sources: r.words[:1], Dests: r.words[1:]}, nil
	case r.local(0) && all(1, n, isH): // 5
		return r.fanOutByName()
	case r.local(0) && rest(ClassHost, ClassRemote) == n-1: // 6
		return Plan{}, r.someColons()
	case r.local(0) && rest(ClassExisting) > 0 && rest(ClassHost) > 0: // 7
		return Plan{}, r.filesOrHosts()
	case localSources && r.local(n-1): // 8
		host := ""
		if HostLike(last.Raw) {
			host = "for the host " + last.Raw + ", write " + quote(last.Raw+":")
		} else if r.state[n-1] == Missing {
			host = "for a new directory, write " + quote(last.Raw+"/")
		}
		return Plan{}, refuse(last.Raw+": is not a directory", host)
	case all(0, n, isR): // 9
		return Plan{}, r.allRemote()
	}
	if k := r.leading(r.local); k >= 2 && n-k >= 2 && all(k, n, isR) { // 10
		return Plan{}, r.sourcesAndDests(k)
	}
	if r.anyMissing() { // 11
		return Plan{}, r.missingWords()
	}
	if r.local(0) && rest(ClassRemote, ClassURL) > 0 && rest(ClassPath, ClassExisting) > 0 { // 12
		return Plan{}, r.mixedRest()
	}
	return Plan{}, r.noReading() // 13
}

// leading counts the words from the first for which f holds.
func (r *reader) leading(f func(i int) bool) int {
	k := 0
	for k < len(r.words) && f(k) {
		k++
	}
	return k
}

// fanOutByName makes destinations of bare hosts.
func (r *reader) fanOutByName() (Plan, *Error) {
	p := Plan{Mode: FanOut, Sources: r.words[:1], ByName: true}
	for _, w := range r.words[1:] {
		l, err := hostDest(w.Raw, r.o.DestPath)
		if err != nil {
			return Plan{}, err
		}
		p.Dests = append(p.Dests, l)
	}
	return p, nil
}

// hostDest is the destination that a bare host and --dest mean.
func hostDest(word, path string) (Location, *Error) {
	user, host, err := splitHost(word)
	if err != nil {
		return Location{}, refuse(word + ": " + err.Msg)
	}
	return Location{Kind: Remote, Class: ClassRemote, User: user, Host: host, Path: path, Raw: word + ":" + path}, nil
}

// someColons refuses hosts of which some have a colon (row 6).
func (r *reader) someColons() *Error {
	var without, with []string
	fixed := []string{r.raw[0]}
	for _, w := range r.words[1:] {
		if w.Class == ClassHost {
			without = append(without, w.Raw)
			fixed = append(fixed, w.Raw+":")
		} else {
			with = append(with, w.Raw)
			fixed = append(fixed, w.Raw)
		}
	}
	return refuse("some destinations have a colon and some do not ("+list(without)+"; "+list(with)+")",
		"write every host with a colon: "+command(fixed...))
}

// filesOrHosts refuses words of which some exist here and some could be hosts
// (row 7).
func (r *reader) filesOrHosts() *Error {
	var here, gone []string
	hosts := []string{r.raw[0]}
	for i, w := range r.words {
		switch {
		case w.Class == ClassHost:
			gone = append(gone, w.Raw)
		case w.Kind == Local && w.Class != ClassOther:
			here = append(here, w.Raw)
		}
		if i > 0 && w.Kind == Local && HostLike(w.Raw) {
			hosts = append(hosts, w.Raw+":")
		} else if i > 0 {
			hosts = append(hosts, w.Raw)
		}
	}
	n := len(r.words)
	files := ""
	if last := r.words[n-1]; last.Class == ClassHost && all(0, n-1, r.local) {
		files = "files into directory " + last.Raw + ": " + command(append(append([]string{}, r.raw[:n-1]...), last.Raw+"/")...)
	}
	return refuse("cannot tell files from hosts: "+list(here)+exist(here)+" here; "+list(gone)+doNot(gone),
		"hosts: "+command(hosts...), files)
}

// exist is " exists" or " exist" by number.
func exist(words []string) string {
	if len(words) == 1 {
		return " exists"
	}
	return " exist"
}

// doNot is " does not" or " do not" by number.
func doNot(words []string) string {
	if len(words) == 1 {
		return " does not"
	}
	return " do not"
}

// allRemote refuses remote words that have two readings (row 9).
func (r *reader) allRemote() *Error {
	n := len(r.raw)
	into := append([]string{"-t", r.raw[n-1]}, r.raw[:n-1]...)
	return refuse(number(n)+" remote places: several sources into "+r.raw[n-1]+", or "+r.raw[0]+" to several hosts?",
		command(into...), command(withTo(r.raw[:1], r.raw[1:])...))
}

// sourcesAndDests refuses several sources followed by several hosts (row 10).
func (r *reader) sourcesAndDests(k int) *Error {
	return refuse(number(k)+" sources ("+list(r.raw[:k])+") and "+number(len(r.raw)-k)+" destinations ("+list(r.raw[k:])+") are written with --to",
		command(withTo(r.raw[:k], r.raw[k:])...))
}

// withTo gives the words with every destination after --to.
func withTo(sources, dests []string) []string {
	out := append([]string{}, sources...)
	for _, d := range dests {
		out = append(out, "--to", d)
	}
	return out
}

// anyMissing reports whether some word was taken for a file and does not exist.
func (r *reader) anyMissing() bool {
	return !all(0, len(r.words), func(i int) bool { return !r.class(i, ClassHost, ClassOther) })
}

// missingWords names the words that do not exist (row 11).
func (r *reader) missingWords() *Error {
	var gone, hosts []string
	for _, w := range r.words {
		if w.Class != ClassHost && w.Class != ClassOther {
			continue
		}
		gone = append(gone, w.Raw)
		if w.Class == ClassHost {
			hosts = append(hosts, quote(w.Raw+":"))
		}
	}
	hint := ""
	if len(hosts) == 1 {
		hint = "for the host, write " + hosts[0]
	} else if len(hosts) > 1 {
		hint = "for the hosts, write " + strings.Join(hosts, " ")
	}
	e := refuse(list(gone)+": no such file or directory", hint)
	if r.class(0, ClassHost, ClassOther) && r.class(len(r.words)-1, ClassRemote) {
		return e.with(FaultSource) // it is no destination, so a source, as before one destination
	}
	return e
}

// mixedRest refuses local and remote words after a local one (row 12). Both
// readings are shown: the last word as the directory, or all as destinations.
func (r *reader) mixedRest() *Error {
	n := len(r.raw)
	into := append([]string{"-t", r.raw[n-1]}, r.raw[:n-1]...)
	return refuse("local and remote words are mixed: "+list(r.shown(1)),
		"several sources into "+r.raw[n-1]+": "+command(into...),
		"one source to several places: "+command(withTo(r.raw[:1], r.raw[1:])...))
}

// noReading refuses what no row fits (row 13).
func (r *reader) noReading() *Error {
	n := len(r.raw)
	shown := r.shown(0)
	if r.words[0].Kind != Stdio && all(1, n, func(i int) bool { return r.words[i].Kind == Remote || r.local(i) }) {
		return refuse(list(shown)+": cannot tell sources from destinations",
			command(withTo(shown[:1], shown[1:])...), "gomover [options] SRC... DST")
	}
	return refuse(list(shown)+": cannot tell sources from destinations", "gomover [options] SRC... DST")
}

// shown gives the words from i on as they may be printed.
func (r *reader) shown(i int) []string {
	var out []string
	for _, w := range r.words[i:] {
		out = append(out, w.Shown())
	}
	return out
}

// number gives small numbers as words.
func number(n int) string {
	words := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	if n < len(words) {
		return words[n]
	}
	return strconv.Itoa(n)
}
