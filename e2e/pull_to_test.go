package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/gomover/gomover/integrity"
)

// TestPullTo has another host pull.
func TestPullTo(t *testing.T) {
	t.Parallel()
	w, second := twoHosts(t)
	data := content(21, 12<<20+77)
	put(t, filepath.Join(w.far, "f"), data)
	m := newMirror(t, data, 64<<20)

	t.Log("# a host and a mirror, into another host")
	r := w.ok("pull", "--json", "--explain", "far:f", m.URL+"/f", "--to", "far2:got")
	holds(t, filepath.Join(second.far, "got"), data)
	second.clean(second.far)
	l := checkEvents(t, r.out, 0)
	neverBack(t, l)
	if f := fileEvent(l); f["verified"] != "blocks" || f["hash"] != "blake3:"+integrity.Whole(data).String() {
		t.Errorf("%v", f)
	}
	if sources := l[len(l)-1]["sources"].([]any); len(sources) != 2 {
		t.Errorf("the end is %v", l[len(l)-1])
	}

	t.Log("# again: it is there")
	w.fails(17, nil, "pull", "--error-on-no-transfer", "far:f", m.URL+"/f", "--to", "far2:got")

	t.Log("# a tree of a host and of this machine; a list")
	src := filepath.Join(w.far, "tree")
	for name, n := range map[string]int{"a": 10, "b/c": 3 << 20, "b/d": 70000} {
		put(t, filepath.Join(src, name), content(5, n))
	}
	copyTree(t, src, filepath.Join(w.near, "mounted"))
	w.ok("pull", "-r", "far:tree/", "./mounted/", "--to", "far2:tree")
	same(t, src, filepath.Join(second.far, "tree"))
	put(t, filepath.Join(w.near, "f.meta4"), []byte(metalinkOf(data, m)))
	w.ok("pull", "--metalink", "f.meta4", "--to", "far2:listed/")
	holds(t, filepath.Join(second.far, "listed", "f"), data)

	t.Log("# what nobody has, and a destination that refuses")
	w.fails(14, []string{"no replica can be used"}, "pull", "far:none", "--to", "far2:none")
	w.fails(5, []string{"far2:no/such/dir"}, "pull", "far:f", "--to", "far2:no/such/dir")
	if f := leftovers(t, w.near); len(f) > 0 {
		t.Errorf("left behind: %v", f)
	}
	w.noAgent(agentEnds)
	second.noAgent(agentEnds)
}

// TestPullToGoesOn: a run that is killed leaves no agent, and the next one goes on.
func TestPullToGoesOn(t *testing.T) {
	t.Parallel()
	w, second := twoHosts(t)
	data := content(22, 16<<20)
	put(t, filepath.Join(w.far, "f"), data)
	p := w.start("pull", "--json=events", "--bwlimit=6MB", "far:f", "--to", "far2:got")
	await(t, patience, "a third has come", func() bool {
		text, err := os.ReadFile(filepath.Join(w.near, "events"))
		if !p.running() || err != nil {
			return !p.running()
		}
		e, ok := lastEvent(string(text[:bytes.LastIndexByte(text, '\n')+1]), "progress")
		return ok && number(e, "done_bytes") > int64(len(data))/3
	})
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.wait()
	w.noAgent(agentEnds)
	second.noAgent(agentEnds)
	missing(t, filepath.Join(second.far, "got"))
	r := w.ok("pull", "--json", "far:f", "--to", "far2:got")
	holds(t, filepath.Join(second.far, "got"), data)
	if f := fileEvent(checkEvents(t, r.out, 0)); f["action"] != "resume" || number(f, "sent_bytes") > int64(len(data))*3/4 {
		t.Errorf("%v", f)
	}
	second.clean(second.far)
}
