package metalink

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Namespace is the XML namespace of version 4. Source: RFC 5854, section 1.1.
const Namespace = "urn:ietf:params:xml:ns:metalink"

// version3 is the namespace of the form before the RFC, which has other elements.
const version3 = "http://www.metalinker.org/"

// What a list may hold. Ours: far above what lists have, far below what hurts.
// Memory is in any case of the order of the input.
const (
	MaxBytes  = 256 << 20 // of the document
	MaxFiles  = 10_000
	MaxURLs   = 1_000 // of one file
	MaxName   = 4096  // bytes
	maxPieces = 1 << 24
	maxText   = 64 << 10 // bytes of one element's text
	maxHashes = 64       // of one file
	maxToken  = 1 << 20  // bytes of a tag, a comment or a text
	maxDepth  = 64       // of elements in elements
)

// Errors that a caller may want to tell apart.
var (
	ErrNotMetalink = errors.New("this is no metalink")
	ErrVersion3    = errors.New("this is a metalink of version 3; only version 4 (RFC 5854) is read")
	ErrTooLarge    = errors.New("the metalink is too large")
)

// Metalink is a list.
type Metalink struct {
	Files   []File    // in the order of the document
	Refused []Refusal // files that are not in Files
}

// Refusal is a file that is not used, and why.
type Refusal struct {
	Name string // as written: for people only, quoted
	Why  string
}

// File is one file of a list.
type File struct {
	Name   string // relative, with slashes, without "..": safe below any directory
	Size   int64  // bytes; -1 if not given
	Hashes []Hash // of the whole file, of known types, the strongest first
	Pieces Pieces // the strongest; Length is 0 if none of a known type is given
	URLs   []URL  // the preferred ones first
	// Metaurls counts other descriptions of the file, torrents for instance.
	Metaurls int
	// Signed tells that there is a signature. It is not checked.
	Signed bool
}

// Hash is the hash of a whole file.
type Hash struct {
	Type HashType
	Sum  []byte // as long as the type says
}

// Pieces are the hashes of the parts of a file. The last part may be shorter.
type Pieces struct {
	Type   HashType
	Length int64 // bytes of a part
	sums   []byte
}

// Len is how many parts there are.
func (p Pieces) Len() int {
	if p.Length == 0 {
		return 0
	}
	return len(p.sums) / p.Type.Size()
}

// Sum is the hash of part i, from 0 to Len()-1. The slice must not be changed.
func (p Pieces) Sum(i int) []byte {
	n := p.Type.Size()
	return p.sums[i*n : (i+1)*n : (i+1)*n]
}

// URL is a place that has the file.
type URL struct {
	URL      string // absolute
	Scheme   string // in lower case
	Priority int    // 1 is tried first; lowest if not given. Source: RFC 5854, section 4.2.17
	Location string // country as ISO 3166-1 in lower case; "" if not given
}

// lowest is the priority of what has none. Source: RFC 5854, section 4.1.2.4.
const lowest = 999_999

// Near puts the places of a country before the others and otherwise keeps their
// order. location is two letters in any case; "" changes nothing.
func (f *File) Near(location string) {
	if location = strings.ToLower(location); location == "" {
		return
	}
	slices.SortStableFunc(f.URLs, func(a, b URL) int {
		return cmp.Compare(away(a, location), away(b, location))
	})
}

func away(u URL, location string) int {
	if u.Location == location {
		return 0
	}
	return 1
}

// Strongest is the hash to check; ok is false if there is none.
func (f *File) Strongest() (h Hash, ok bool) {
	if len(f.Hashes) == 0 {
		return Hash{}, false
	}
	return f.Hashes[0], true
}

// newURL takes an absolute URL apart.
func newURL(text string) (URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return URL{}, errors.New("a URL cannot be read") // the error would show a password
	case !u.IsAbs() || u.Opaque != "" || u.Host == "":
		return URL{}, errors.New("a URL is not absolute")
	}
	return URL{URL: text, Scheme: strings.ToLower(u.Scheme), Priority: lowest}, nil
}
