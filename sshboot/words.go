package sshboot

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// splitWords cuts a line at blanks; the first word also ends at "=". Double
// quotes hold a word together; a word that begins with "#" ends the line. A line
// of blanks gives one empty word, so that the first always exists.
func splitWords(line string) []string {
	var words []string
	var b strings.Builder
	quoted, open := false, false
	flush := func() {
		if open {
			words = append(words, b.String())
			b.Reset()
			open = false
		}
	}
	for i := range len(line) {
		c := line[i]
		switch {
		case c == '"':
			quoted, open = !quoted, true
		case !quoted && (c == ' ' || c == '\t' || c == '\r' || c == '=' && (len(words) == 0 || len(words) == 1 && !open)):
			flush()
		case !quoted && c == '#' && !open:
			if len(words) == 0 {
				return []string{""}
			}
			return words
		default:
			b.WriteByte(c)
			open = true
		}
	}
	flush()
	if len(words) == 0 {
		return []string{""}
	}
	return words
}

// commandWords cuts an external command line as a shell would: blanks separate,
// single and double quotes and a backslash protect. Nothing is expanded.
func commandWords(line string) ([]string, error) {
	var words []string
	var b strings.Builder
	var quote byte
	open := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, open = c, true
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
			open = true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if open {
				words = append(words, b.String())
				b.Reset()
				open = false
			}
		default:
			b.WriteByte(c)
			open = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if open {
		words = append(words, b.String())
	}
	if len(words) == 0 {
		return nil, errors.New("empty command")
	}
	return words, nil
}

// expandWith replaces %-tokens. Source: ssh_config(5), TOKENS.
func expandWith(text string, tokens map[byte]string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i++; i >= len(text) {
			return "", errors.New("% at the end")
		}
		v, ok := tokens[text[i]]
		if !ok {
			return "", fmt.Errorf("unknown token %%%c", text[i])
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// tokens are the values of the %-tokens once host, user and port are settled.
func (s *settings) tokens() map[byte]string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	short, _, _ := strings.Cut(name, ".")
	port := strconv.Itoa(s.port)
	jump := s.first("proxyjump", "")
	if isNone(jump) {
		jump = ""
	}
	sum := sha1.Sum([]byte(name + s.host + port + s.user + jump))
	return map[byte]string{
		'%': "%", 'C': hex.EncodeToString(sum[:]), 'd': s.home, 'h': s.host,
		'i': strconv.Itoa(os.Getuid()), 'j': jump, 'k': s.keyName(), 'L': short, 'l': name,
		'n': s.alias, 'p': port, 'r': s.user, 'u': s.local,
	}
}

// keyName is the name under which the host key is looked up, without port.
func (s *settings) keyName() string { return s.first("hostkeyalias", s.host) }

// path expands tokens, ${NAME} and "~" in a path of ssh_config.
func (s *settings) path(text string) (string, error) {
	full, err := expandWith(text, s.tokens())
	if err != nil {
		return "", configError(s.typed, cleanLine(text, 200)+": "+err.Error(), err)
	}
	for {
		i := strings.Index(full, "${")
		if i < 0 {
			return s.localPath(full), nil
		}
		j := strings.IndexByte(full[i:], '}')
		if j < 0 {
			return "", configError(s.typed, cleanLine(text, 200)+": ${ without }", nil)
		}
		name := full[i+2 : i+j]
		var value string
		ok := false
		if s.env != nil {
			value, ok = s.env(name)
		}
		if !ok || strings.Contains(value, "${") {
			return "", configError(s.typed, cleanLine(text, 200)+": no value for "+cleanLine(name, 80), nil)
		}
		full = full[:i] + value + full[i+j+1:]
	}
}

// paths expands every blank-separated path of the first value of a keyword.
func (s *settings) paths(key, fallback string) ([]string, error) {
	var out []string
	for _, w := range splitWords("x " + s.first(key, fallback))[1:] {
		if isNone(w) {
			continue
		}
		p, err := s.path(w)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// localPath replaces a leading "~".
func (s *settings) localPath(p string) string {
	if p == "~" {
		return s.home
	}
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		return filepath.Join(s.home, rest)
	}
	return p
}
