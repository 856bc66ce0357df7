package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gomover/gomover/internal/lab/labtest"
)

// eventsOf reads the events of a command about hosts.
func eventsOf(t *testing.T, out string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if got, want := e["seq"], float64(len(list)+1); got != want {
			t.Errorf("event %v has the number %v", want, got)
		}
		list = append(list, e)
	}
	if len(list) == 0 || list[len(list)-1]["ev"] != "job.end" {
		t.Fatalf("the events do not end with job.end:\n%s", out)
	}
	return list
}

// paths gives the events of the way there and of that back.
func paths(t *testing.T, out string) (there, back map[string]any) {
	t.Helper()
	for _, e := range eventsOf(t, out) {
		switch {
		case e["ev"] == "probe" && e["from"] == "local":
			there = e
		case e["ev"] == "probe" && e["to"] == "local":
			back = e
		}
	}
	if there == nil || back == nil {
		t.Fatalf("no events of both ways:\n%s", out)
	}
	return there, back
}

// TestProbe measures a cable between two namespaces.
func TestProbe(t *testing.T) {
	t.Parallel()
	w, _, _ := newCable(t)
	var r *result
	wrong := []string{"nothing yet"}
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for i := 0; i < tries && len(wrong) > 0; i++ { // on a busy machine packets may be late
		r, wrong = w.ok("probe", "far"), nil
		for _, want := range []string{"far at 10.77.0.2, measured in", "round trip", "up to 1500 bytes whole", "to far", "from far",
			"TCP both ways, UDP both ways", "10 of 10 packets to a group arrived", "this end", "far end", "begins with"} {
			if !strings.Contains(r.out, want) {
				say("%q is not said", want)
			}
		}
		if r.err != "" {
			say("warnings")
		}
	}
	if len(wrong) > 0 {
		t.Errorf("%q:\n%v", wrong, r)
	}
	wrong = []string{"nothing yet"}
	for i := 0; i < tries && len(wrong) > 0; i++ {
		r, wrong = w.ok("probe", "--json", "far"), nil
		there, back := paths(t, r.out)
		for _, e := range []map[string]any{there, back} {
			if e["multicast"] != (e["from"] == "local") {
				say("multicast: got %v", e)
			}
			if e["mtu"] != 1500.0 || e["tcp_in"] != true || e["tcp_out"] != true || e["udp"] != true || e["loss"] != 0.0 || e["rtt_min_ms"].(float64) <= 0 {
				say("got %v", e)
			}
		}
	}
	if len(wrong) > 0 {
		t.Errorf("%q", wrong)
	}
	kinds := ""
	for _, e := range eventsOf(t, r.out) {
		kinds += e["ev"].(string) + " "
		if e["ev"] == "facts" && e["host"] == "far" && (e["interface"] != "v1" || e["disk_bytes"].(float64) <= 0) {
			t.Errorf("got %v", e)
		}
	}
	if kinds != "probe probe facts facts plan job.end " {
		t.Errorf("events: %s", kinds)
	}
	w.noAgent(agentEnds)

	w.fails(1, []string{"probe: needs a host"}, "probe")
	w.fails(1, []string{"takes a host without a path"}, "probe", "far:path")
	if r := w.fails(7, []string{"nosuchhost.invalid"}, "probe", "--json", "nosuchhost.invalid"); eventsOf(t, r.out)[0]["ev"] != "error" {
		t.Errorf("no event of the error:\n%v", r)
	}
}

// TestDoctor arranges faults and demands that each is named, with what mends it.
func TestDoctor(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		arrange func(w *world, near, far *space)
		args    []string
		code    int
		check   string // that has the problem
		mend    string // part of what mends it
	}{
		{"nothing", nil, []string{"far"}, 0, "", ""},
		{"name", nil, []string{"nosuchhost.invalid"}, 7, "name", "/etc/hosts"},
		{"server", func(w *world, _, _ *space) { w.stop() }, []string{"far"}, 7, "ssh", "systemctl enable --now ssh"},
		{"unknown key", func(w *world, _, _ *space) { write(w.t, filepath.Join(w.near, ".ssh", "known_hosts"), "") }, []string{"far"}, 7, "host key", "ssh far true"},
		{"changed key", func(w *world, _, _ *space) { w.known(newKey(w.t, filepath.Join(w.dir, "other")).PublicKey()) }, []string{"far"}, 7, "host key", "if the new key is right: ssh-keygen"},
		{"no login", func(w *world, _, _ *space) { write(w.t, filepath.Join(w.dir, "authorized_keys"), "") }, []string{"far"}, 7, "login", "ssh-copy-id far"},
		{"agent", nil, []string{"--agent=/nonexistent/gomover", "far"}, 8, "agent", "remove --agent"},
		{"TCP there", func(w *world, _, far *space) { far.filter(w.stranger("drop")) }, []string{"far"}, 0, "TCP there", "--dport 50000:50019 -j ACCEPT"},
		{"TCP back", func(w *world, near, _ *space) { near.filter("tcp dport 50000-50019 ct state new drop") }, []string{"far"}, 0, "TCP back", "here: sudo iptables -I INPUT -p tcp"},
		{"UDP there", func(w *world, _, far *space) { far.filter("udp dport 50000-50019 drop") }, []string{"far"}, 0, "UDP there", "-p udp --dport 50000:50019"},
		{"UDP back", func(w *world, near, _ *space) { near.filter("ct state new meta l4proto udp drop") }, []string{"far"}, 0, "UDP back", "here: sudo iptables -I INPUT -p udp"},
		{"all but ssh", func(w *world, near, far *space) {
			far.filter(w.stranger("drop"), "udp dport 50000-50019 drop")
			near.filter("tcp dport 50000-50019 ct state new drop", "ct state new meta l4proto udp drop")
		}, []string{"far"}, 9, "TCP there, TCP back, UDP there, UDP back", ""},
		{"multicast", func(w *world, _, far *space) { far.filter("ip daddr 224.0.0.0/4 drop") }, []string{"far"}, 0, "multicast", "sudo iptables -I INPUT -p udp -d 224.0.0.0/4 -j ACCEPT"},
		{"no multicast on the interface", func(w *world, _, far *space) {
			far.run("ip link set v1 multicast off")
			far.filter("ip daddr 224.0.0.0/4 drop")
		}, []string{"far"}, 0, "multicast", "sudo ip link set dev v1 multicast on"},
		{"MTU", func(w *world, _, far *space) { far.run("ip link set v1 mtu 1400") }, []string{"far"}, 0, "MTU", "ip link set dev v0 mtu 1400"},
		{"MTU, and no word of it", func(w *world, _, far *space) { far.filter("meta l4proto udp ip length > 1300 drop") }, []string{"far"}, 0, "MTU", "ip link set dev v0 mtu 1300"},
		{"buffers", func(w *world, _, far *space) { far.run("sysctl -w net.ipv4.tcp_moderate_rcvbuf=0") }, []string{"far"}, 0, "buffers there", "sysctl -w net.ipv4.tcp_moderate_rcvbuf"},
	}
	var named atomic.Int32
	t.Cleanup(func() {
		t.Logf("# %d of %d arranged faults are named, with what mends them", named.Load(), len(tests)-1)
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, near, far := newCable(t)
			if tt.arrange != nil {
				tt.arrange(w, near, far)
			}
			var r *result
			got := "nothing yet"
			// A machine that is very busy may seem to have other faults for a moment.
			for i := 0; i < tries && got != tt.check; i++ {
				r = w.run(append([]string{"doctor", "--json"}, tt.args...)...)
				var problems []string
				for _, e := range eventsOf(t, r.out) {
					if e["ev"] != "check" || e["state"] != "problem" || strings.HasPrefix(e["check"].(string), "load ") {
						continue // other tests load the machine
					}
					problems = append(problems, e["check"].(string))
					if mend := e["mend"].(string); e["check"] == tt.check && !strings.Contains(mend, tt.mend) {
						t.Errorf("%s is mended by %q, want %q", tt.check, mend, tt.mend)
					}
				}
				got = strings.Join(problems, ", ")
			}
			if got != tt.check || r.code != tt.code {
				t.Errorf("problems: %q, want %q; exit %d, want %d\n%v", got, tt.check, r.code, tt.code, r)
			}
			if tt.check != "" && !t.Failed() {
				named.Add(1)
			}
		})
	}
}

// TestDoctorText: people read the same, and what to type.
func TestDoctorText(t *testing.T) {
	t.Parallel()
	w, near, _ := newCable(t)
	near.filter("tcp dport 50000-50019 ct state new drop")
	r := w.ok("doctor", "far")
	for _, want := range []string{"far\n", "  ok       host key ", "  problem  TCP back ", "-> here: sudo iptables -I INPUT -p tcp", " problem"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not said:\n%v", want, r)
		}
	}
}

// TestProbeLongPath measures an emulated wide-area path.
func TestProbeLongPath(t *testing.T) {
	t.Parallel()
	l := labtest.Start(t, `{"seed": 7, "hosts": [{"name": "h0", "up": {"rate": "100mbit", "delay": "20ms"}, "down": {"rate": "200mbit", "delay": "20ms"}}, {"name": "h1", "link": {"delay": "10ms"}}]}`)
	config := l.SSH()
	home := filepath.Join(t.TempDir(), "home")
	var wrong []string
	for range tries { // what is measured beside much else may be wrong
		cmd := l.Command("h0", program, "-F", config, "probe", "--json", "h1")
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
		}
		there, back := paths(t, out.String())
		t.Logf("# %v\n# %v", there, back)
		list := eventsOf(t, out.String())
		if whole, took := list[len(list)-1]["ms"].(float64), there["ms"].(float64); whole < took {
			t.Errorf("the whole command is said to have taken %v ms, of which the probe %v", whole, took)
		}
		if wrong = offLongPath(there, back); len(wrong) == 0 {
			return
		}
	}
	t.Errorf("%q", wrong)
}

// offLongPath tells what of the directions of TestProbeLongPath is not as it is.
func offLongPath(there, back map[string]any) (wrong []string) {
	for _, c := range []struct {
		what      string
		got       any
		want, off float64
	}{
		{"round trip", there["rtt_min_ms"], 60, 0.05},
		{"capacity there", there["capacity_bps"], 100e6 / 8, 0.1},
		{"capacity back", back["capacity_bps"], 200e6 / 8, 0.1},
		{"available there", there["available_bps"], 100e6 / 8, 0.2},
		{"MTU", there["mtu"], 1500, 0},
	} {
		if got, _ := c.got.(float64); math.Abs(got-c.want) > c.off*c.want {
			wrong = append(wrong, fmt.Sprintf("%s: got %v, want %v", c.what, c.got, c.want))
		}
	}
	if there["capacity_is"] != "measured" || back["capacity_is"] != "measured" {
		wrong = append(wrong, fmt.Sprintf("got %v and %v", there["capacity_is"], back["capacity_is"]))
	}
	if took := there["ms"].(float64); took > 5000 {
		wrong = append(wrong, fmt.Sprintf("took %v ms", took))
	}
	return wrong
}

// TestProbeBeside: with --probe=full the path is measured while data flows.
func TestProbeBeside(t *testing.T) {
	t.Parallel()
	w, _, _ := newCable(t)
	data := content(85, 40<<20)
	put(t, filepath.Join(w.near, "big"), data)
	r := w.ok("--json", "--probe=full", "--bwlimit=16MB", "big", "far:g")
	holds(t, filepath.Join(w.far, "g"), data)
	n := 0
	for _, e := range checkEvents(t, r.out, 0) {
		if e["ev"] == "probe" {
			if n++; e["udp"] != true || e["tcp_out"] != true || number(e, "sent_bytes") > 40<<20/100+40<<10 {
				t.Errorf("%v", e)
			}
		}
	}
	if n != 2 {
		t.Errorf("%d directions were measured\n%v", n, r)
	}

	t.Log("# the next one remembers, and says so")
	r = w.ok("--json", "big", "far:h")
	var known []event
	for _, e := range checkEvents(t, r.out, 0) {
		if e["ev"] == "probe" {
			known = append(known, e)
		}
	}
	if len(known) != 1 || known[0]["cached"] != true || known[0]["udp"] != true || known[0]["mtu"] != 1500.0 || known[0]["confidence"].(float64) < 0.99 {
		t.Errorf("known is %v", known)
	}
	w.clean(w.near, w.far)
}
