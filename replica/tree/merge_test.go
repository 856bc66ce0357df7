package tree

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gomover/gomover/internal/leak"
	"github.com/gomover/gomover/store"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// wide is room enough.
var wide = budget{maxEntries, maxNames}

// listOf makes a sorted list of words: "d/" is a directory, "l>t" a link to t, "u?" not
// readable, "f:n" a file of n bytes.
func listOf(t testing.TB, words string) *list {
	t.Helper()
	l := &list{}
	if words == "-" {
		return nil
	}
	for _, w := range append([]string{"/"}, strings.Fields(words)...) {
		e := store.Entry{Kind: store.File, Name: w}
		if name, to, ok := strings.Cut(w, ">"); ok {
			e.Kind, e.Name, e.Target = store.Symlink, name, to
		} else if name, ok := strings.CutSuffix(w, "/"); ok {
			e.Kind, e.Name = store.Dir, name
		} else if name, ok := strings.CutSuffix(w, "?"); ok {
			e.Kind, e.Name = 0, name
		} else if name, size, ok := strings.Cut(w, ":"); ok {
			e.Name = name
			fmt.Sscan(size, &e.Size)
		}
		if err := l.add(e, wide, nil); err != nil {
			t.Fatalf("%q: %v", w, err)
		}
	}
	l.sort()
	return l
}

// text is what a merged tree has, with the places of each file.
func (m *merged) text() string {
	var words []string
	for _, n := range m.nodes {
		if n.e.Name == "" {
			continue
		}
		w := n.e.Name
		for _, h := range n.at {
			w += fmt.Sprint(" ", h.place)
		}
		words = append(words, w)
	}
	for _, f := range m.failed {
		words = append(words, "! "+f.name+" "+f.why)
	}
	return strings.Join(words, "; ")
}

func TestMerge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lists  []string
		prefer int
		want   string
	}{
		{"one", []string{"d/ d/f:1 l>x"}, 0, "d; d/f 0; l"},
		{"two alike, listed in another order", []string{"a:1 d/ d/f:1", "d/ d/f:1 a:1"}, 0, "a 0 1; d; d/f 0 1"},
		{"a file and a directory that one lacks", []string{"a:1 b:2", "d/ a:1"}, 0, "a 0 1; b 0; d"},
		{"a place without a list", []string{"a:1", "-", "a:1"}, 0, "a 0 2"},
		{"two sizes of two", []string{"a:1", "a:2"}, 0, "! a the replicas differ: 1 bytes, 2 bytes"},
		{"two sizes of three", []string{"a:1", "a:2", "a:2"}, 0, "a 1 2"},
		{"three sizes of three", []string{"a:1", "a:2", "a:3"}, 0, "! a the replicas differ: 1 bytes, 2 bytes, 3 bytes"},
		{"two against two", []string{"a:1", "a:2", "a:1", "a:2"}, 0, "! a the replicas differ: 1 bytes, 2 bytes"},
		{"the one that is preferred", []string{"a:1", "a:2", "a:2"}, 1, "a 0"},
		{"a preferred one that lacks it", []string{"b:1", "a:2", "a:2"}, 1, "a 1 2; b 0"},
		{"a file and a directory", []string{"a:1", "a/ a/f:1"}, 0, "! a the replicas differ: 1 bytes, a directory"},
		{"a directory of most", []string{"a:1", "a/ a/f:1", "a/ a/f:1"}, 0, "a; a/f 1 2"},
		{"links that differ", []string{"l>a", "l>b"}, 0, `! l the replicas differ: a link to "a", a link to "b"`},
		{"what one cannot read", []string{"a? b?", "a:1"}, 0, "a 1; ! b it cannot be read there"},
		{"a directory that can be read in part", []string{"d/ d? d/f:1", "d/ d/f:1 d/g:2"}, 0, "d; d/f 0 1; d/g 1"},
		{"a directory that nobody can read to its end", []string{"d/ d? d/f:1", "d/ d? d/f:1"}, 0, "d; d/f 0 1; ! d it cannot be read to its end there"},
		{"a file without its directory", []string{"d/e/f:1 a:1"}, 0, "a 0"},
		{"below a link", []string{"l>x l/f:1"}, 0, "l"},
		{"twice", []string{"a:1 a:2", "a:1"}, 0, "a 0 1"},
		{"names that sort about a slash", []string{"a/ a-b:1 a/x:1"}, 0, "a; a-b 0; a/x 0"},
	} {
		var lists []*list
		for _, l := range tt.lists {
			lists = append(lists, listOf(t, l))
		}
		if got := merge(lists, tt.prefer).text(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestMergeCounts(t *testing.T) {
	lists := []*list{listOf(t, "a:1 b:1 c:1 d/"), listOf(t, "a:1 b:2"), listOf(t, "a:1 b:1 c:1 e:5")}
	m := merge(lists, 0)
	if want := []int{1, 2, 0}; !slices.Equal(m.lacking, want) {
		t.Errorf("lacking %v, want %v", m.lacking, want)
	}
	if want := []string{"b"}; !slices.Equal(m.differ[1], want) || m.differ[0] != nil || m.files != 4 {
		t.Errorf("differ %v, %d files", m.differ, m.files)
	}
	if l := listOf(t, "d/ d?"); len(l.partly) != 1 {
		t.Errorf("%d directories that could be read in part", len(l.partly))
	}
}

func TestArrange(t *testing.T) {
	big := fmt.Sprint(largeFile)
	bigger := fmt.Sprint(largeFile * 3 / 2)
	m := merge([]*list{listOf(t, "a:1 b:"+big+" c/ c/d:"+bigger+" e:"+big), listOf(t, "c/ c/d:"+bigger+" z:2")}, 0)
	m.arrange()
	if got, want := m.text(), "c; b 0; e 0; c/d 0 1; a 0; z 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestBadLists(t *testing.T) {
	for _, e := range []store.Entry{
		{Name: "../x", Kind: store.File}, {Name: "/etc/x", Kind: store.File}, {Name: "a//b", Kind: store.Dir}, {Name: "a/./b", Kind: store.File}, {Name: "a\x00", Kind: store.File},
		{Name: strings.Repeat("x", store.MaxName+1), Kind: store.File}, {Name: "a", Kind: 9}, {Name: "a", Kind: store.Dir, Size: 1}, {Name: "a", Kind: store.File, Target: "x"},
		{Name: "a", Kind: store.Symlink, Target: "x\x00"}, {Name: "a", Kind: store.File, Size: -1},
	} {
		if new(list).add(e, wide, nil) == nil {
			t.Errorf("%+v was taken", e)
		}
	}
}

// When all lists together are too long the longest one is given up, whoever adds to his.
func TestFit(t *testing.T) {
	for _, tt := range []struct {
		name string
		most budget
		size [3]int // of the names of four, two and one files
		over int
	}{
		{"all fit", budget{8, 100}, [3]int{1, 1, 1}, -1},
		{"too many", budget{7, 100}, [3]int{1, 1, 9}, 0},
		{"long names", budget{8, 10}, [3]int{1, 1, 9}, 2},
	} {
		all := []*list{{}, {}, {}}
		for i, n := range []int{4, 2, 1, 1} {
			for k := range n {
				e := store.Entry{Name: strings.Repeat(string(rune('a'+k)), tt.size[i%3]), Kind: store.File}
				if err := all[i%3].add(e, tt.most, all); err != nil && !all[i%3].over {
					t.Errorf("%s: %v", tt.name, err)
				}
			}
		}
		for i, l := range all {
			if l.over != (i == tt.over) || l.over && len(l.entries) > 0 {
				t.Errorf("%s: list %d is given up: %v", tt.name, i, l.over)
			}
		}
	}
}

// FuzzMerge: whatever two places list, an entry of the tree is below a directory that
// comes before it, comes once, and is what a place that has it says.
func FuzzMerge(f *testing.F) {
	f.Add("d/ d/f:1 a:1", "d/ d/f:2 l>x", byte(0))
	f.Add("a/ a/b/ a/b/c:1", "a:1 a/b:2", byte(1))
	f.Add("a? a:1 a/ a/x:1", "a/ a/x? x:1", byte(2))
	f.Fuzz(func(t *testing.T, one, two string, prefer byte) {
		var lists []*list
		for _, words := range []string{one, two} {
			l := &list{}
			if l.add(store.Entry{Kind: store.Dir}, wide, nil) != nil {
				t.Fatal("the root was refused")
			}
			for _, w := range strings.Fields(words) {
				e := store.Entry{Kind: store.Kind(len(w) % 6), Name: w}
				if name, ok := strings.CutSuffix(w, "/"); ok {
					e.Kind, e.Name = store.Dir, name
				}
				_ = l.add(e, wide, nil) // what is bad is left out
			}
			l.sort()
			lists = append(lists, l)
		}
		m := merge(lists, int(prefer%3))
		m.arrange()
		kinds := make(map[string]store.Kind)
		for _, n := range m.nodes {
			if _, twice := kinds[n.e.Name]; twice {
				t.Fatalf("%q comes twice", n.e.Name)
			}
			kinds[n.e.Name] = n.e.Kind
			if parent, _ := cutName(n.e.Name); n.e.Name != "" && kinds[parent] != store.Dir {
				t.Fatalf("%q is in %q, which is no directory", n.e.Name, parent)
			}
			if store.CheckName(n.e.Name) != nil || n.e.Kind == 0 {
				t.Fatalf("%+v", n.e)
			}
			for _, h := range n.at {
				if !slices.ContainsFunc(lists[h.place].entries, func(e store.Entry) bool {
					return e.Name == n.e.Name && e.Kind == n.e.Kind && e.Size == n.e.Size
				}) {
					t.Fatalf("%q is said to be at %d", n.e.Name, h.place)
				}
			}
		}
	})
}
