package arch

import (
	"os"
	"strings"
	"testing"
)

func TestArchitectureDocumentHasAllRooms(t *testing.T) {
	rooms, _ := rules(t)
	doc, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range rooms {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/architecture.md does not speak of `%s`", name)
		}
	}
}
