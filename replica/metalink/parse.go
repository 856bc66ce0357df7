package metalink

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse reads a list.
//
// Errors: ErrNotMetalink, ErrVersion3, ErrTooLarge, or what is wrong with the
// document. A file that is wrong in itself goes to Refused.
func Parse(r io.Reader) (*Metalink, error) {
	in := &input{r: r, left: MaxBytes}
	p := &parser{in: in, xml: xml.NewDecoder(in), names: make(map[string]bool)}
	m, err := p.document()
	if in.over {
		err = ErrTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("reading a metalink: %w", err)
	}
	return m, nil
}

// input bounds what is read in all and for one token: the decoder keeps a token
// and all its attributes in memory, which take more there than in the document.
type input struct {
	r     io.Reader
	left  int64
	token int
	over  bool // more was wanted
}

// Read reads no more than the bounds allow.
func (in *input) Read(p []byte) (int, error) {
	most := min(in.left, int64(in.token), int64(len(p)))
	if most == 0 && len(p) > 0 {
		in.over = true
		return 0, ErrTooLarge
	}
	n, err := in.r.Read(p[:most])
	in.left -= int64(n)
	in.token -= n
	return n, err
}

// parser goes through a document once.
type parser struct {
	in    *input
	xml   *xml.Decoder
	depth int
	names map[string]bool // of the files
}

// next is the next token.
func (p *parser) next() (xml.Token, error) {
	p.in.token = maxToken
	tok, err := p.xml.Token()
	switch tok.(type) {
	case xml.StartElement:
		if p.depth++; p.depth > maxDepth {
			return nil, fmt.Errorf("elements are nested more than %d deep", maxDepth)
		}
	case xml.EndElement:
		p.depth--
	}
	return tok, err
}

// skip passes over the present element.
func (p *parser) skip() error {
	for until := p.depth - 1; p.depth > until; {
		if _, err := p.next(); err != nil {
			return err
		}
	}
	return nil
}

// document finds the root and reads it.
func (p *parser) document() (*Metalink, error) {
	for {
		tok, err := p.next()
		if err != nil {
			return nil, ErrNotMetalink
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		switch {
		case start.Name.Space == version3:
			return nil, ErrVersion3
		case start.Name != xml.Name{Space: Namespace, Local: "metalink"}:
			return nil, ErrNotMetalink
		}
		m := &Metalink{}
		return m, p.children(func(e xml.StartElement) error {
			if e.Name.Local != "file" {
				return p.skip()
			}
			if len(m.Files)+len(m.Refused) >= MaxFiles {
				return fmt.Errorf("more than %d files: %w", MaxFiles, ErrTooLarge)
			}
			return p.file(m, e)
		})
	}
}

// children calls f for every element of the namespace up to the end of the
// present one; f reads its element to the end. Others are skipped.
func (p *parser) children(f func(xml.StartElement) error) error {
	for {
		tok, err := p.next()
		if err != nil {
			return err
		}
		switch e := tok.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if e.Name.Space != Namespace {
				err = p.skip()
			} else {
				err = f(e)
			}
			if err != nil {
				return err
			}
		}
	}
}

// text is the text of the present element, without the space around it.
func (p *parser) text() (string, error) {
	var b bytes.Buffer
	for {
		tok, err := p.next()
		if err != nil {
			return "", err
		}
		switch e := tok.(type) {
		case xml.CharData:
			if b.Len()+len(e) > maxText {
				return "", fmt.Errorf("an element holds more than %d bytes of text", maxText)
			}
			b.Write(e)
		case xml.StartElement:
			if err := p.skip(); err != nil {
				return "", err
			}
		case xml.EndElement:
			return strings.TrimSpace(b.String()), nil
		}
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

// draft is a file that is being read. The first thing that is wrong with it is
// kept; the rest is read all the same, for the sake of the files behind it.
type draft struct {
	File
	why   string
	sized bool
	parts []Pieces
}

func (d *draft) refuse(format string, args ...any) {
	if d.why == "" {
		d.why = fmt.Sprintf(format, args...)
	}
}

func (p *parser) file(m *Metalink, start xml.StartElement) error {
	name := attr(start, "name")
	d := &draft{File: File{Name: name, Size: -1}}
	if why := checkName(name); why != "" {
		d.refuse("%s", why)
	}
	if p.names[name] {
		d.refuse("the name stands there twice")
	}
	p.names[name] = true
	if err := p.children(func(e xml.StartElement) error { return p.element(d, e) }); err != nil {
		return err
	}
	d.finish()
	if d.why != "" {
		m.Refused = append(m.Refused, Refusal{clean(name), d.why})
		return nil
	}
	m.Files = append(m.Files, d.File)
	return nil
}

// element reads what a file says of itself.
func (p *parser) element(d *draft, e xml.StartElement) error {
	switch e.Name.Local {
	case "size":
		return p.textTo(func(s string) { d.size(s) })
	case "hash":
		kind := attr(e, "type")
		return p.textTo(func(s string) { d.hash(HashType(strings.ToLower(kind)), strings.ToLower(s)) })
	case "pieces":
		return p.pieces(d, e)
	case "url":
		return p.textTo(func(s string) { d.url(s, attr(e, "priority"), attr(e, "location")) })
	case "metaurl":
		d.Metaurls++
	case "signature":
		d.Signed = true
	}
	return p.skip()
}

func (p *parser) textTo(f func(string)) error {
	s, err := p.text()
	if err == nil {
		f(s)
	}
	return err
}

func (d *draft) size(s string) {
	n, err := strconv.ParseUint(s, 10, 63)
	switch {
	case err != nil:
		d.refuse("its size is not a number of bytes")
	case d.sized && d.Size != int64(n):
		d.refuse("it has two sizes, %d and %d", d.Size, n)
	}
	d.sized, d.Size = true, int64(n)
}

func (d *draft) hash(t HashType, s string) {
	if _, known := t.strength(); !known {
		return
	}
	sum, err := t.sum(s)
	if err != nil {
		d.refuse("%v", err)
		return
	}
	for _, h := range d.Hashes {
		if h.Type == t && !bytes.Equal(h.Sum, sum) {
			d.refuse("it has two different %s hashes", t)
		}
		if h.Type == t {
			return
		}
	}
	if len(d.Hashes) < maxHashes {
		d.Hashes = append(d.Hashes, Hash{t, sum})
	}
}

// pieces reads the hashes of parts. Those of unknown types are passed over.
func (p *parser) pieces(d *draft, start xml.StartElement) error {
	t := HashType(strings.ToLower(attr(start, "type")))
	if _, known := t.strength(); !known {
		return p.skip()
	}
	n, err := strconv.ParseUint(strings.TrimSpace(attr(start, "length")), 10, 63)
	if err != nil || n == 0 {
		d.refuse("the length of its pieces is not a number of bytes")
	}
	part := Pieces{Type: t, Length: int64(n)}
	count := 0
	err = p.children(func(e xml.StartElement) error {
		if e.Name.Local != "hash" {
			return p.skip()
		}
		if count++; count > maxPieces {
			return fmt.Errorf("more than %d pieces: %w", maxPieces, ErrTooLarge)
		}
		return p.textTo(func(s string) {
			sum, err := t.sum(strings.ToLower(s))
			if err != nil {
				d.refuse("of its pieces, %v", err)
				return
			}
			part.sums = append(part.sums, sum...)
		})
	})
	if len(d.parts) < maxHashes {
		d.parts = append(d.parts, part)
	}
	return err
}

func (d *draft) url(text, priority, location string) {
	u, err := newURL(text)
	if err != nil {
		d.refuse("%v", err)
		return
	}
	if priority != "" {
		n, err := strconv.ParseUint(strings.TrimSpace(priority), 10, 31)
		if err != nil || n < 1 || n > lowest {
			d.refuse("a priority is not a number from 1 to %d", lowest)
			return
		}
		u.Priority = int(n)
	}
	if len(location) == 2 {
		u.Location = strings.ToLower(location)
	}
	if len(d.URLs) < MaxURLs {
		d.URLs = append(d.URLs, u)
	}
}

// finish looks whether all that was read fits together.
func (d *draft) finish() {
	slices.SortStableFunc(d.URLs, func(a, b URL) int { return cmp.Compare(a.Priority, b.Priority) })
	slices.SortStableFunc(d.Hashes, func(a, b Hash) int { return cmp.Compare(rank(a.Type), rank(b.Type)) })
	slices.SortStableFunc(d.parts, func(a, b Pieces) int { return cmp.Compare(rank(a.Type), rank(b.Type)) })
	if d.why != "" || len(d.parts) == 0 {
		return
	}
	d.Pieces = d.parts[0]
	if d.Size < 0 {
		d.refuse("it has pieces but no size")
		return
	}
	want := d.Size / d.Pieces.Length
	if d.Size%d.Pieces.Length > 0 {
		want++
	}
	if int64(d.Pieces.Len()) != want {
		d.refuse("it has %d pieces of %d bytes, which do not make %d bytes", d.Pieces.Len(), d.Pieces.Length, d.Size)
	}
}

func rank(t HashType) int {
	n, _ := t.strength()
	return n
}

// checkName says what is wrong with a name. Source: RFC 5854, section 4.1.2.1: a
// name must not lead out of the directory.
func checkName(name string) string {
	switch {
	case name == "":
		return "it has no name"
	case len(name) > MaxName:
		return "its name is too long"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }):
		return "its name has control characters"
	case strings.HasPrefix(name, "/") || strings.ContainsAny(name, `\:`) && drive(name):
		return "its name leaves the destination"
	case strings.Contains(name, `\`):
		return "its name has a backslash"
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "its name leaves the destination"
		}
	}
	if path.Clean(name) != name || name == "." {
		return "its name is not in its shortest form"
	}
	return ""
}

// drive tells whether a name begins as other systems' absolute ones do.
func drive(name string) bool {
	return strings.HasPrefix(name, `\`) || len(name) >= 2 && name[1] == ':'
}

// clean makes a name fit to be shown.
func clean(name string) string {
	if len(name) > 100 {
		name = name[:100] + "..."
	}
	return strings.Trim(strconv.QuoteToASCII(name), `"`)
}
