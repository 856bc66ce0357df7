package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/gomover/gomover/integrity"
)

// twoHosts is a world with a second host, called far2.
func twoHosts(t *testing.T) (w, second *world) {
	t.Helper()
	w, second = newWorld(t), newWorld(t)
	known := filepath.Join(second.near, ".ssh", "known_hosts")
	if err := os.WriteFile(filepath.Join(second.dir, "authorized_keys"), ssh.MarshalAuthorizedKey(w.client.PublicKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.config(fmt.Sprintf("Host far2\n  HostName %s\n  Port %d\n  User root\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  UserKnownHostsFile %s\n  IdentityFile %s/.ssh/id_ed25519\n",
		second.addr, second.port, known, w.near))
	return w, second
}

func TestPullFromHosts(t *testing.T) {
	t.Parallel()
	w, second := twoHosts(t)
	data := content(11, 20<<20+77)
	put(t, filepath.Join(w.far, "f"), data)
	put(t, filepath.Join(second.far, "f"), data)

	t.Log("# one host alone")
	r := w.ok("pull", "--json", "far:f", "./one")
	holds(t, filepath.Join(w.near, "one"), data)
	if f := fileEvent(checkEvents(t, r.out, 0)); f["verified"] != "wire" || f["hash"] != "blake3:"+integrity.Whole(data).String() {
		t.Errorf("%v", f)
	}

	t.Log("# two hosts and a mirror share the work; what the hosts say verifies the mirror")
	m := newMirror(t, data, 64<<20)
	r = w.ok("pull", "--json", "--explain", "far:f", "far2:f", m.URL+"/f", "./three")
	holds(t, filepath.Join(w.near, "three"), data)
	w.clean(w.near)
	l := checkEvents(t, r.out, 0)
	if f := fileEvent(l); f["verified"] != "blocks" {
		t.Errorf("%v", f)
	}
	t.Log("sources ", l[len(l)-1]["sources"])

	t.Log("# inside ssh, and with UDT")
	w.ok("pull", "--transport=ssh", "far:f", "far2:f", "./inside")
	holds(t, filepath.Join(w.near, "inside"), data)
	w.ok("pull", "--transport=udt", "far:f", "far2:f", "./udt")
	holds(t, filepath.Join(w.near, "udt"), data)

	t.Log("# a file that one of them does not have, and one that nobody has")
	put(t, filepath.Join(w.far, "only"), data[:1<<20])
	r = w.ok("pull", "far:only", "far2:only", "./only")
	r.want(t, 0, "far2:only left out: no such file or directory")
	holds(t, filepath.Join(w.near, "only"), data[:1<<20])
	w.fails(14, []string{"no replica can be used", "no such file"}, "pull", "far:none", "far2:none", "./none")
	missing(t, filepath.Join(w.near, "none"))
	w.noAgent(agentEnds)
	second.noAgent(agentEnds)
}

func TestPullFromHostsThatDiffer(t *testing.T) {
	t.Parallel()
	w, second := twoHosts(t)
	data := content(12, 24<<20)
	flipped := bytes.Clone(data)
	flipped[15<<20] ^= 1
	put(t, filepath.Join(w.far, "f"), data)
	put(t, filepath.Join(second.far, "f"), flipped)

	t.Log("# nothing tells which is right")
	w.fails(14, []string{"the replicas differ"}, "pull", "far:f", "far2:f", "./f")
	missing(t, filepath.Join(w.near, "f"))

	t.Log("# a mirror does")
	m := newMirror(t, data, 32<<20)
	r := w.ok("pull", "far2:f", "far:f", m.URL+"/f", "./f")
	r.want(t, 0, "far2:f left out: same size")
	holds(t, filepath.Join(w.near, "f"), data)

	t.Log("# so does a hash, and so does the user")
	// With a hash nobody is asked to vouch for what another one gives: a wrong block is
	// noticed if it is taken. Here all are wrong.
	spoilt := bytes.Clone(data)
	for i := 0; i < len(spoilt); i += 256 << 10 {
		spoilt[i] ^= 1
	}
	put(t, filepath.Join(w.far, "g"), data)
	put(t, filepath.Join(second.far, "g"), spoilt)
	r = w.ok("pull", "--expect", "blake3:"+integrity.Whole(data).String(), "far2:g", "far:g", "./g")
	r.want(t, 0, "far2:g left out: ")
	holds(t, filepath.Join(w.near, "g"), data)
	w.ok("pull", "--prefer", "first", "far2:f", "far:f", "./h")
	holds(t, filepath.Join(w.near, "h"), flipped)

	t.Log("# both are wrong")
	w.fails(14, []string{"far:f left out", "far2:f left out"}, "pull", "--expect", "blake3:"+integrity.Whole([]byte("x")).String(), "far2:f", "far:f", "./none")
	missing(t, filepath.Join(w.near, "none"))
}

func TestPullHostDies(t *testing.T) {
	t.Parallel()
	w, second := twoHosts(t)
	data := content(13, 48<<20)
	put(t, filepath.Join(w.far, "f"), data)
	put(t, filepath.Join(second.far, "f"), data)
	m := newMirror(t, data, 8<<20)
	p := w.start("pull", "--json=events", "far:f", "far2:f", m.URL+"/f", "./f")
	await(t, patience, "the second host has begun to give", func() bool {
		text, err := os.ReadFile(filepath.Join(w.near, "events"))
		return !p.running() || err == nil && strings.Contains(string(text), `"ev":"progress.source","source":"far2:f","done_bytes":1`)
	})
	second.stop()
	for _, pid := range second.agents() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	p.wait().want(t, 0)
	holds(t, filepath.Join(w.near, "f"), data)
	w.clean(w.near)
}

// fileEvent is the event of the only file.
func fileEvent(l []event) event {
	for _, e := range l {
		if e["ev"] == "file" {
			return e
		}
	}
	return nil
}
