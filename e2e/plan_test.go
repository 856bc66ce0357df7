package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestPullTellsItsPlan: what the far end plans and warns of is shown here.
func TestPullTellsItsPlan(t *testing.T) {
	t.Parallel()
	w, near, far := newCable(t)
	put(t, filepath.Join(w.far, "f"), content(80, 6<<20))
	near.filter(w.stranger("reject with tcp reset"))
	far.filter(w.stranger("reject with tcp reset"))
	r := w.ok("--json", "--bwlimit=600KB", "far:f", "./g")
	if l := plans(t, r); len(l) == 0 || l[len(l)-1] != "ssh" {
		t.Errorf("the transports were %v, want ssh in the end", l)
	}
	if !strings.Contains(r.err, "sending inside ssh, which is slow: at most about ") {
		t.Errorf("no warning that data goes through ssh:\n%v", r)
	}
	scans := 0
	for _, e := range checkEvents(t, r.out, 0) {
		if e["ev"] == "scan" && e["done"] == true {
			if scans++; number(e, "files") != 1 || number(e, "bytes") != 6<<20 {
				t.Errorf("the finished scan has %v files, %v bytes", e["files"], e["bytes"])
			}
		}
	}
	if scans != 1 {
		t.Errorf("%d finished scans", scans)
	}
}

// TestNoWarningAtTheEnd: streams that end with the job are no trouble.
func TestNoWarningAtTheEnd(t *testing.T) {
	t.Parallel()
	w, near, _ := newCable(t)
	near.filter(w.stranger("drop"))
	for range 10 {
		r := w.ok("--existing=replace", "f", "far:g")
		if strings.Contains(r.err, "are sent again") {
			t.Fatalf("a warning at the end of a good run:\n%v", r)
		}
	}
}
