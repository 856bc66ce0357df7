package arch

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/gomover/gomover"

// source is one parsed file, of whatever system.
type source struct {
	path string // slash-separated, below the module's root
	room string // its folder
	test bool   // a _test.go file
	file *ast.File
	fset *token.FileSet
	text []byte
}

func (s *source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// imports lists the paths which the file imports.
func (s *source) imports() (l []string) {
	for _, i := range s.file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err == nil {
			l = append(l, p)
		}
	}
	return l
}

// tree gives every Go file of the module. Tests share them, and change nothing.
func tree(t *testing.T) []*source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d files found", len(all))
	}
	return all
}

// parsed parses the files when it is first called.
var parsed = sync.OnceValues(func() (all []*source, err error) {
	root := filepath.Join("..", "..")
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != root && (strings.HasPrefix(n, ".") || n == "testdata" || n == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		s := &source{path: filepath.ToSlash(rel), text: text, fset: token.NewFileSet(), test: strings.HasSuffix(p, "_test.go")}
		s.room = path.Dir(s.path)
		if s.file, err = parser.ParseFile(s.fset, p, text, parser.ParseComments); err != nil {
			return err
		}
		all = append(all, s)
		return nil
	})
	return all, err
})

// room is a line of rooms.txt.
type room struct {
	level      int
	pure, test bool
	imports    []string
}

// rules reads rooms.txt.
func rules(t *testing.T) (rooms map[string]*room, libs map[string][]string) {
	t.Helper()
	f, err := os.Open("rooms.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rooms, libs = make(map[string]*room), make(map[string][]string)
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		line, _, _ := strings.Cut(sc.Text(), "#")
		head, rest, ok := strings.Cut(line, ": ")
		if !ok {
			head, ok = strings.CutSuffix(strings.TrimSpace(line), ":")
		}
		words := strings.Fields(head)
		if len(words) == 0 {
			continue
		}
		if !ok || len(words) != 2 {
			t.Fatalf("rooms.txt: %q is no rule", sc.Text())
		}
		if words[0] == "lib" {
			libs[words[1]] = strings.Fields(rest)
			continue
		}
		r := &room{}
		if r.level, err = strconv.Atoi(words[0]); err != nil {
			t.Fatalf("rooms.txt: %q: %v", sc.Text(), err)
		}
		if rooms[words[1]] != nil {
			t.Fatalf("rooms.txt: two lines for %s", words[1])
		}
		for _, w := range strings.Fields(rest) {
			switch w {
			case "pure":
				r.pure = true
			case "test":
				r.test = true
			default:
				r.imports = append(r.imports, w)
			}
		}
		slices.Sort(r.imports)
		rooms[words[1]] = r
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return rooms, libs
}
