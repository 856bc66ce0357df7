package sshboot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// magic starts every line that belongs to the boot protocol. It may follow a
// banner without a newline, so it is searched anywhere; nothing prints it by
// chance, and the scripts compose it from two parts so that a shell that echoes
// its command does not print it either.
const (
	magicHead = "GOMOVER-BOOT-"
	magicTail = "5e1d0c7b9a42"
	magic     = magicHead + magicTail + " "
)

const (
	// maxBanner is how much text may precede the greeting, in bytes.
	maxBanner = 64 << 10
	// maxLine is the longest line of the boot protocol behind the magic, in
	// bytes: a greeting with the longest token and room for its fields.
	maxLine = maxExtra + 1024
	// maxExtra is the longest token in a greeting, in bytes.
	maxExtra = 4096
)

// Greeting is what the agent says first.
//
//	MAGIC hello VERSION PROTOCOL OS ARCH [EXTRA] "\n"
type Greeting struct {
	Version  string // of the program, no blanks, at most 128 bytes
	Protocol int    // 0..65535
	OS, Arch string // as GOOS and GOARCH name them
	Extra    string // opaque token without blanks or control bytes, at most 4096 bytes
}

// errGreeting says that a line is no greeting.
var errGreeting = errors.New("malformed greeting")

// WriteGreeting prints the greeting in one write. The agent calls it before
// anything else on its standard output.
func WriteGreeting(w io.Writer, g Greeting) error {
	line := fmt.Sprintf("hello %s %d %s %s", g.Version, g.Protocol, g.OS, g.Arch)
	if g.Extra != "" {
		line += " " + g.Extra
	}
	if _, err := parseGreeting(line); err != nil {
		return fmt.Errorf("writing greeting of version %q: %w", g.Version, err)
	}
	if _, err := io.WriteString(w, magic+line+"\n"); err != nil {
		return fmt.Errorf("writing greeting: %w", err)
	}
	return nil
}

// parseGreeting reads what stands between the magic and the newline.
func parseGreeting(line string) (Greeting, error) {
	if len(line) > maxLine {
		return Greeting{}, errGreeting
	}
	f := strings.Split(line, " ")
	if len(f) < 5 || len(f) > 6 || f[0] != "hello" {
		return Greeting{}, errGreeting
	}
	for i, s := range f {
		if !isToken(s) || (i < 5 && len(s) > 128) || len(s) > maxExtra {
			return Greeting{}, errGreeting
		}
	}
	n, err := strconv.ParseUint(f[2], 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != f[2] {
		return Greeting{}, errGreeting
	}
	g := Greeting{Version: f[1], Protocol: int(n), OS: f[3], Arch: f[4]}
	if len(f) == 6 {
		g.Extra = f[5]
	}
	return g, nil
}

// isToken reports whether s is a non-empty word of printable ASCII.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// lineReader finds protocol lines in a stream that may begin with a banner, and
// keeps what follows them.
//
// Not for concurrent use. The banner and a line are bounded, so a hostile far
// side costs at most maxBanner+maxLine bytes.
type lineReader struct {
	r      io.Reader
	buf    []byte // read, not yet consumed
	banner []byte // text before protocol lines
	chunk  []byte
}

// errNoise says that maxBanner bytes came without the magic.
var errNoise = errors.New("too much text before the greeting")

// next returns the text of the next protocol line, without magic and newline.
// It returns errNoise, or the error of the reader; io.EOF means that no complete
// line came.
func (l *lineReader) next() (string, error) {
	for {
		if i := bytes.Index(l.buf, []byte(magic)); i >= 0 {
			line := l.buf[i+len(magic):]
			if j := bytes.IndexByte(line, '\n'); j >= 0 {
				text := strings.TrimRight(string(line[:j]), "\r")
				l.keepBanner(l.buf[:i])
				l.buf = append([]byte(nil), line[j+1:]...)
				if len(l.banner) > maxBanner || len(text) > maxLine {
					return "", errNoise
				}
				return text, nil
			}
			if len(line) > maxLine || i+len(l.banner) > maxBanner {
				return "", errNoise
			}
		} else if len(l.buf)+len(l.banner) > maxBanner+len(magic) {
			l.keepBanner(l.buf)
			return "", errNoise
		}
		if l.chunk == nil {
			l.chunk = make([]byte, 8<<10)
		}
		n, err := l.r.Read(l.chunk)
		l.buf = append(l.buf, l.chunk[:n]...)
		if n == 0 && err != nil {
			l.keepBanner(l.buf)
			l.buf = nil
			return "", err
		}
	}
}

func (l *lineReader) keepBanner(p []byte) {
	if room := maxBanner + 1 - len(l.banner); len(p) > room {
		p = p[:max(room, 0)]
	}
	l.banner = append(l.banner, p...)
}
