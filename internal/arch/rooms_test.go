package arch

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

func TestImportsAreAsListed(t *testing.T) {
	rooms, _ := rules(t)
	real := make(map[string]map[string]bool)
	for _, s := range tree(t) {
		if s.test {
			continue
		}
		if real[s.room] == nil {
			real[s.room] = make(map[string]bool)
		}
		for _, p := range s.imports() {
			if to, ok := strings.CutPrefix(p, module+"/"); ok {
				real[s.room][to] = true
			}
		}
	}
	for name, imports := range real {
		r := rooms[name]
		if r == nil {
			t.Errorf("room %s has no line in rooms.txt", name)
			continue
		}
		for to := range imports {
			o := rooms[to]
			switch {
			case !slices.Contains(r.imports, to):
				t.Errorf("%s imports %s, which rooms.txt does not list", name, to)
			case o != nil && o.level >= r.level:
				t.Errorf("%s (level %d) imports %s (level %d)", name, r.level, to, o.level)
			case o != nil && o.test && !r.test:
				t.Errorf("%s imports %s, which serves tests only", name, to)
			}
		}
		for _, to := range r.imports {
			if !imports[to] {
				t.Errorf("rooms.txt lets %s import %s, which it does not", name, to)
			}
		}
	}
	for name := range rooms {
		if real[name] == nil {
			t.Errorf("rooms.txt has a line for %s, which does not exist", name)
		}
	}
}

func TestLibrariesHaveOneRoom(t *testing.T) {
	_, libs := rules(t)
	users := make(map[string]map[string]bool)
	for _, s := range tree(t) {
		if s.test {
			continue
		}
		for _, p := range s.imports() {
			host, _, _ := strings.Cut(p, "/")
			if !strings.Contains(host, ".") || strings.HasPrefix(p, module) {
				continue
			}
			lib := ""
			for l := range libs {
				if p == l || strings.HasPrefix(p, l+"/") {
					lib = l
				}
			}
			if lib == "" {
				t.Errorf("%s imports %s, which rooms.txt does not know", s.path, p)
				continue
			}
			if users[lib] == nil {
				users[lib] = make(map[string]bool)
			}
			users[lib][s.room] = true
		}
	}
	for lib, owners := range libs {
		if users[lib] == nil {
			t.Errorf("rooms.txt lists %s, which nobody uses", lib)
		}
		if slices.Contains(owners, "any") {
			continue
		}
		for user := range users[lib] {
			if !slices.Contains(owners, user) {
				t.Errorf("%s uses %s, which belongs to %v", user, lib, owners)
			}
		}
	}
}

// impure are packages that act; the names behind a dot are single functions of
// packages that are otherwise harmless.
var impure = []string{"net", "net/http", "os", "os/exec", "os/signal", "os/user", "io/ioutil", "log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand",
	"path/filepath", "runtime", "sync", "sync/atomic", "syscall", "unsafe", "context"}

var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

func TestPureRoomsOnlyCompute(t *testing.T) {
	rooms, _ := rules(t)
	for _, s := range tree(t) {
		if r := rooms[s.room]; s.test || r == nil || !r.pure {
			continue
		}
		for _, p := range s.imports() {
			if slices.Contains(impure, p) || strings.HasPrefix(p, "golang.org/x/sys") {
				t.Errorf("%s: a pure room imports %s", s.path, p)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			what := ""
			switch n := n.(type) {
			case *ast.GoStmt:
				what = "starts a goroutine"
			case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
				what = "uses a channel"
			case *ast.UnaryExpr:
				if n.Op == token.ARROW {
					what = "uses a channel"
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					what = "looks at the clock"
				}
			}
			if what != "" {
				t.Errorf("%s: a pure room %s", s.at(n), what)
			}
			return true
		})
	}
}

func TestOnlyTheProgramSeesItsSurroundings(t *testing.T) {
	rooms, _ := rules(t)
	forbidden := map[string][]string{
		"os":  {"Getenv", "LookupEnv", "Environ", "Exit"},
		"log": {"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"},
	}
	for _, s := range tree(t) {
		if r := rooms[s.room]; s.test || s.room == "cmd/gomover" || r == nil || r.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(forbidden[x.Name], sel.Sel.Name) {
					t.Errorf("%s: %s.%s below the program", s.at(n), x.Name, sel.Sel.Name)
				}
			}
			return true
		})
	}
}
