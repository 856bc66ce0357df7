package arch

import (
	"go/ast"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// document is a file of the documentation.
func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestArchitectureDocumentHasAllRooms(t *testing.T) {
	rooms, _ := rules(t)
	doc := document(t, "architecture.md")
	for name := range rooms {
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/architecture.md does not speak of `%s`", name)
		}
	}
}

// eventCode is the code of a warning or an error, for programs.
var eventCode = regexp.MustCompile(`^(dest|limit|metalink|net|replica|source|state)\.[a-z-]+$`)

// TestEventsDocumentHasAllCodes: programs go by these words.
func TestEventsDocumentHasAllCodes(t *testing.T) {
	doc := document(t, "events.md")
	found := 0
	for _, s := range tree(t) {
		if room, _, _ := strings.Cut(s.room, "/"); s.test || room != "cmd" && room != "engine" && room != "mover" && room != "replica" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			code, err := strconv.Unquote(lit.Value)
			if err != nil || !eventCode.MatchString(code) {
				return true
			}
			found++
			if !strings.Contains(doc, "`"+code+"`") {
				t.Errorf("%s: docs/events.md does not speak of `%s`", s.at(n), code)
			}
			return true
		})
	}
	if found < 30 {
		t.Errorf("only %d codes found", found)
	}
}
