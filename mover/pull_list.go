package mover

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica/httpsource"
	"github.com/gomover/gomover/replica/metalink"
	"github.com/gomover/gomover/replica/pull"
	"github.com/gomover/gomover/wire"
)

// listTimeout is how long a list may take that is fetched. Ours.
const listTimeout = 2 * time.Minute

// pullFiles are the files to fetch: those of the lists, and the one of which the
// replicas were named.
func (d *director) pullFiles(ctx context.Context, hosts *pullHosts) (files []pullFile, err error) {
	spec := d.job.Pull
	for _, l := range spec.Lists {
		more, err := d.readList(ctx, hosts, l)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	switch {
	case len(files) == 0 && len(spec.Replicas) == 0:
		return nil, wire.Failf(wire.ClassSource, "the lists name no file that can be fetched")
	case len(spec.Replicas) > 0 && len(files) != 1:
		files = append(files, pullFile{})
	}
	root := d.job.Engine.Expect
	if root != "" && len(files) > 1 {
		return nil, wire.Failf(wire.ClassUsage, "--expect: needs a single file")
	}
	// With one list of one file the replicas are further places of that file.
	f := &files[len(files)-1]
	if spec.Prefer > 0 {
		f.prefer = spec.Prefer + len(f.places)
	}
	for _, r := range spec.Replicas {
		place, err := d.place(hosts, r, 0)
		if err != nil {
			return nil, err
		}
		f.places = append(f.places, place)
		if f.base == "" {
			f.base = r.Base
		}
	}
	if f.check.Root = root; f.check.ID == "" {
		f.check.ID = root
	}
	return files, nil
}

// place makes a source of a replica.
func (d *director) place(hosts *pullHosts, r Replica, cost int) (pull.Place, error) {
	p := pull.Place{Name: r.Shown, Cost: cost}
	switch {
	case r.Host != "" || r.URL == "" && d.far != nil:
		host, root := hosts.at(r)
		p.Source = &sshSource{h: host, root: root}
	case r.URL == "":
		p.Source, p.Cost = &localSource{path: r.Path}, 0
	default:
		s, err := d.web(r.URL)
		if err != nil {
			return pull.Place{}, wire.Failf(wire.ClassUsage, "%v", err)
		}
		p.Source = s
	}
	p.Past = d.pasts.of(&r, p.Source)
	return p, nil
}

// webSource is an HTTP source as a pull wants it.
type webSource struct{ *httpsource.Source }

var _ pull.Piper = webSource{}

// Pipe makes a connection, or none where a proxy has them.
func (w webSource) Pipe(ctx context.Context) pull.Pipe {
	if p := w.Source.Pipe(ctx); p != nil {
		return p
	}
	return nil
}

func (d *director) web(at string) (webSource, error) {
	spec := d.job.Pull
	streams := spec.Streams
	if streams <= 0 {
		streams = 4
	}
	s, err := httpsource.New(at, httpsource.Config{Streams: streams, Proxy: spec.Proxy, Agent: "gomover/" + d.job.Version})
	return webSource{s}, err
}

// Open asks the server for the facts.
func (w webSource) Open(ctx context.Context) (pull.Facts, error) {
	f, err := w.Source.Open(ctx)
	facts := pull.Facts{Size: f.Size, Ranges: f.Ranges, Version: f.Validator, Latency: f.Latency}
	if y := f.Modified.Year(); y >= 1970 && y < 2262 {
		facts.ModTime = f.Modified.UnixNano()
	}
	return facts, err
}

// readList reads a metalink from a file or a server.
func (d *director) readList(ctx context.Context, hosts *pullHosts, l Replica) ([]pullFile, error) {
	text, err := d.listText(ctx, l)
	if err != nil {
		return nil, wire.Failf(wire.ClassSource, "%s: %s", l.Shown, plainError(err))
	}
	m, err := metalink.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, wire.Failf(wire.ClassUsage, "%s: %v", l.Shown, err)
	}
	for _, r := range m.Refused {
		if len(m.Files) == 0 {
			return nil, wire.Failf(wire.ClassUsage, "%s: file name %s: %s; refused", l.Shown, r.Name, r.Why)
		}
		record(d.rec, events.Warn{Code: "metalink.refused", Message: fmt.Sprintf("%s: %s: %s; refused", l.Shown, r.Name, r.Why)})
	}
	var files []pullFile
	torrents := 0
	for i := range m.Files {
		f := &m.Files[i]
		if want := d.job.Pull.ListFile; want != "" && f.Name != want {
			continue
		}
		if err := d.signature(l, f); err != nil {
			return nil, err
		}
		torrents += f.Metaurls
		files = append(files, d.listed(hosts, l, f))
	}
	if torrents > 0 {
		record(d.rec, events.Warn{Code: "metalink.metaurl", Message: l.Shown + ": torrents are not used"})
	}
	if len(files) == 0 && d.job.Pull.ListFile != "" {
		return nil, wire.Failf(wire.ClassUsage, "%s: has no file %s", l.Shown, d.job.Pull.ListFile)
	}
	return files, nil
}

// signature says what is done about the signature of a file: nothing.
func (d *director) signature(l Replica, f *metalink.File) error {
	switch {
	case d.job.Pull.RequireSignature && f.Signed:
		return wire.Failf(wire.ClassUsage, "%s: the signature of %s cannot be checked", l.Shown, f.Name)
	case d.job.Pull.RequireSignature:
		return wire.Failf(wire.ClassUsage, "%s: %s is not signed", l.Shown, f.Name)
	case f.Signed:
		record(d.rec, events.Warn{Code: "metalink.signature", Message: l.Shown + ": the signature of " + f.Name + " is not checked"})
	}
	return nil
}

// listed makes a pull's file of a list's.
func (d *director) listed(hosts *pullHosts, l Replica, f *metalink.File) pullFile {
	f.Near(d.job.Pull.Location)
	out := pullFile{base: f.Name, check: listCheck(f)}
	for _, u := range f.URLs {
		r := Replica{URL: u.URL, Shown: shownURL(u.URL)}
		switch u.Scheme {
		case "http", "https":
		case "ssh":
			var ok bool
			if r, ok = sshReplica(u.URL); !ok {
				record(d.rec, events.Warn{Code: "metalink.url", Message: fmt.Sprintf("%s: %s: names no file on a host", l.Shown, shownURL(u.URL))})
				continue
			}
		default:
			record(d.rec, events.Warn{Code: "metalink.scheme", Message: fmt.Sprintf("%s: %s: only http, https and ssh are used", l.Shown, shownURL(u.URL))})
			continue
		}
		place, err := d.place(hosts, r, u.Priority)
		if err != nil {
			record(d.rec, events.Warn{Code: "metalink.url", Message: fmt.Sprintf("%s: %v", l.Shown, err)})
			continue
		}
		out.places = append(out.places, place)
	}
	return out
}

// sshReplica reads a URL of scheme ssh. A path that begins with /~ is one below the
// home directory of there.
func sshReplica(text string) (Replica, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") == "" {
		return Replica{}, false
	}
	r := Replica{Host: u.Hostname(), Path: u.Path, Base: path.Base(u.Path), Shown: shownURL(text)}
	if u.User != nil {
		r.User = u.User.Username()
	}
	if u.Port() != "" {
		if r.Port, err = strconv.Atoi(u.Port()); err != nil || r.Port < 1 || r.Port > 65535 {
			return Replica{}, false
		}
	}
	if strings.HasPrefix(r.Path, "/~") {
		r.Path = r.Path[1:]
	}
	return r, true
}

// shownURL is a URL without name and password.
func shownURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "a URL"
	}
	u.User = nil
	return u.String()
}

// listCheck is how the content of a list's file is verified.
func listCheck(f *metalink.File) pull.Check {
	c := pull.Check{Known: f.Size >= 0, Size: max(0, f.Size)}
	p := f.Pieces
	if p.Len() > 0 && p.Length <= pull.MaxPiece {
		c.PieceLen = p.Length
		c.Piece = func(i int64, data []byte) bool {
			if i >= int64(p.Len()) {
				return false
			}
			h := p.Type.New()
			h.Write(data)
			return bytes.Equal(h.Sum(nil), p.Sum(int(i)))
		}
		all := make([]byte, 0, p.Len()*p.Type.Size())
		for i := range p.Len() {
			all = append(all, p.Sum(i)...)
		}
		c.ID = string(p.Type) + integrity.Whole(all).String()
	}
	h, ok := f.Strongest()
	if !ok {
		return c
	}
	if c.ID == "" {
		c.ID = fmt.Sprintf("%s:%x", h.Type, h.Sum)
	}
	// Pieces of a good hash verify the whole, too.
	if c.PieceLen == 0 || p.Type.Weak() && !h.Type.Weak() {
		c.Whole = func() (io.Writer, func() bool) {
			sum := h.Type.New()
			return sum, func() bool { return bytes.Equal(sum.Sum(nil), h.Sum) }
		}
	}
	return c
}

// listText is the text of a list.
func (d *director) listText(ctx context.Context, l Replica) ([]byte, error) {
	if l.text != nil {
		return l.text, nil
	}
	if l.URL == "" {
		f, err := os.Open(filepath.FromSlash(l.Path))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readBounded(f)
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	s, err := d.web(l.URL)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	facts, err := s.Open(ctx)
	if err != nil || facts.Size == 0 {
		return nil, err
	}
	if facts.Size > metalink.MaxBytes || facts.Size > math.MaxInt32 {
		return nil, metalink.ErrTooLarge
	}
	r, err := s.Range(ctx, 0, facts.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readBounded(r)
}

// readBounded reads what is no longer than a list may be.
func readBounded(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, metalink.MaxBytes+1))
	if err == nil && len(text) > metalink.MaxBytes {
		return nil, metalink.ErrTooLarge
	}
	return text, err
}
