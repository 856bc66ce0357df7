package arch

import (
	"bytes"
	"go/ast"
	"go/token"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// maxLines is where a file must be cut; 600 is where it should be.
const maxLines = 800

func TestFilesAreShort(t *testing.T) {
	for _, s := range tree(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > maxLines && !s.test && !ast.IsGenerated(s.file) {
			t.Errorf("%s has %d lines, more than %d", s.path, n, maxLines)
		}
	}
}

func TestOnePackageCommentEach(t *testing.T) {
	comments := make(map[string][]string)
	for _, s := range tree(t) {
		if s.test {
			continue
		}
		if s.file.Doc != nil && strings.TrimSpace(s.file.Doc.Text()) != "" {
			comments[s.room] = append(comments[s.room], s.path)
		} else if comments[s.room] == nil {
			comments[s.room] = []string{}
		}
	}
	for room, files := range comments {
		if len(files) != 1 {
			t.Errorf("%s has %d package comments instead of one: %v", room, len(files), files)
		}
	}
}

func TestNoInit(t *testing.T) {
	for _, s := range tree(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && len(f.Body.List) > 0 {
				t.Errorf("%s: init has effects", s.at(f))
			}
		}
	}
}

// TestNoTestIsSkipped: a test that cannot run here says nothing about here. The
// one exception is what asked for short runs.
func TestNoTestIsSkipped(t *testing.T) {
	for _, s := range tree(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := c.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) {
				t.Errorf("%s: a test is skipped", s.at(n))
			}
			return true
		})
	}
}

// TestFuzzTargetsAreRun: the script behind make fuzz finds every fuzz target.
func TestFuzzTargetsAreRun(t *testing.T) {
	cmd := exec.Command("scripts/fuzz", "list")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("scripts/fuzz list: %v", err)
	}
	found := strings.Split(strings.TrimSpace(string(out)), "\n")
	n := 0
	for _, s := range tree(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Fuzz") || !s.test {
				continue
			}
			n++
			if want := s.room + " " + f.Name.Name; !slices.Contains(found, want) {
				t.Errorf("%s: scripts/fuzz does not find %q", s.at(f), want)
			}
		}
	}
	if n == 0 || n != len(found) {
		t.Errorf("%d fuzz targets, scripts/fuzz finds %d", n, len(found))
	}
}

func TestExportedNamesAreExplained(t *testing.T) {
	for _, s := range tree(t) {
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !obvious(d) {
					t.Errorf("%s: %s has no comment", s.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					explainSpec(t, s, d, spec)
				}
			}
		}
	}
}

func explainSpec(t *testing.T, s *source, d *ast.GenDecl, spec ast.Spec) {
	t.Helper()
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && spec.Doc == nil && d.Doc == nil {
			t.Errorf("%s: %s has no comment", s.at(spec), spec.Name.Name)
		}
	case *ast.ValueSpec:
		for _, n := range spec.Names {
			if n.IsExported() && spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
				t.Errorf("%s: %s has no comment", s.at(spec), n.Name)
			}
		}
	}
}

// exportedReceiver tells whether a method's type is visible outside.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	x := d.Recv.List[0].Type
	if p, ok := x.(*ast.StarExpr); ok {
		x = p.X
	}
	switch g := x.(type) {
	case *ast.IndexExpr:
		x = g.X
	case *ast.IndexListExpr:
		x = g.X
	}
	id, ok := x.(*ast.Ident)
	return ok && id.IsExported()
}

// obvious are methods whose meaning a well-known interface fixes.
func obvious(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"Unwrap", "Len", "Less", "Swap"}, d.Name.Name)
}

func TestPackageVariablesDoNotChange(t *testing.T) {
	for _, s := range tree(t) {
		if s.test {
			continue
		}
		vars := make(map[string]bool)
		for _, d := range s.file.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				for _, spec := range g.Specs {
					for _, n := range spec.(*ast.ValueSpec).Names {
						vars[n.Name] = true
					}
				}
			}
		}
		// Assignments to a package's variable; shadowed names resolve to an
		// object of their own.
		ast.Inspect(s.file, func(n ast.Node) bool {
			var to []ast.Expr
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					to = n.Lhs
				}
			case *ast.IncDecStmt:
				to = []ast.Expr{n.X}
			}
			for _, x := range to {
				if id, ok := x.(*ast.Ident); ok && vars[id.Name] && id.Obj != nil && s.file.Scope.Lookup(id.Name) == id.Obj {
					t.Errorf("%s: the package's variable %s is changed", s.at(n), id.Name)
				}
			}
			return true
		})
	}
}
