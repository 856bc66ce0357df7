package topology

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	top, err := Parse([]byte(`{
		"mtu": 9000, "cc": "bbr", "seed": 18446744073709551615, "quantum": "50us", "min_ttl": 2,
		"hosts": [
			{"up": {"rate": 8000, "cut": true}, "name": "h0", "multicast": true, "link": {"rate": "1gbit", "delay": "25ms", "queue": "12.5MB"}},
			{"name": "h-1", "nic": "10gbit", "down": {"jitter": "1ms", "loss": 0.001, "burst": "1%,0.25", "corrupt": "2%",
				"mangle": 0.5, "reorder": "100%", "duplicate": 1e-3, "cross": "20mbit", "queue": 3000}}
		],
		"paths": [{"from": "h-1", "delay": "1.5s", "to": "h0", "queue": "20ms"}]
	}`))
	if err != nil {
		t.Fatal(err)
	}
	up := Link{Rate: 1000, Queue: Limit{Bytes: 12_500_000}, Delay: 25 * time.Millisecond, Cut: true}
	down := Link{Rate: 125_000_000, Queue: Limit{Bytes: 12_500_000}, Delay: 25 * time.Millisecond}
	want := &Topology{MTU: 9000, CC: "bbr", Seed: math.MaxUint64, Quantum: 50 * time.Microsecond, MinTTL: 2,
		Hosts: []Host{
			{Name: "h0", Multicast: true, Up: up, Down: down},
			{Name: "h-1", NIC: 1_250_000_000, Down: Link{Queue: Limit{Bytes: 3000}, Jitter: time.Millisecond,
				Loss: 0.001, Burst: GilbertElliott{0.01, 0.25, 1}, Corrupt: 0.02, Mangle: 0.5, Reorder: 1, Duplicate: 0.001, Cross: 2_500_000}},
		},
		Paths: []Path{{From: 1, To: 0, Link: Link{Delay: 1500 * time.Millisecond, Queue: Limit{Time: 20 * time.Millisecond}}}},
	}
	if !reflect.DeepEqual(top, want) {
		t.Errorf("got  %+v\nwant %+v", top, want)
	}
}

func TestDefaults(t *testing.T) {
	top, err := Parse([]byte(`{"hosts": [{"name": "a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := New()
	want.Hosts = []Host{{Name: "a"}}
	if !reflect.DeepEqual(top, want) {
		t.Errorf("got %+v, want %+v", top, want)
	}
	if top.MTU != 1500 || top.CC != "cubic" || top.Seed != 1 || top.Quantum != 200*time.Microsecond {
		t.Errorf("defaults are %+v", top)
	}
}

func TestRefused(t *testing.T) {
	host := func(members string) string { return `{"hosts": [{"name": "a"}, {"name": "b"` + members + `}]}` }
	many := `{"hosts": [` + strings.Repeat(`{"name": "a"},`, 250) + `{"name": "a"}]}`
	for text, want := range map[string]string{
		``:                             "byte 0: unexpected EOF",
		`[]`:                           "is not a JSON object",
		`{"hosts": [{"name": "a"}]} 1`: "something follows",
		`{"hosts": [{"name": "a"}`:     "unexpected EOF",
		`{"hosts": []}`:                "hosts: there are 0",
		many:                           "hosts: there are 251",
		`{"hosts": 1}`:                 "hosts: is not a list",
		`{"hosts": [1]}`:               "hosts[0]: is not an object",
		`{"hots": []}`:                 "hots: no such key of a topology",
		`{"mtu": 1, "mtu": 2}`:         `key "mtu" stands there twice`,
		`{"mtu": 1000, "hosts": [{"name": "a"}]}`: "mtu: 1000 is not within",
		`{"mtu": 1e9}`:  "mtu: 1e9 is not a whole number",
		`{"mtu": "x"}`:  "mtu: is not a number",
		`{"seed": -1}`:  "seed: -1 is not",
		`{"seed": "1"}`: "seed: is not a number",
		`{"cc": 1}`:     "cc: is not a string",
		`{"cc": "a b", "hosts": [{"name": "a"}]}`:     "cc: ",
		`{"min_ttl": 256, "hosts": [{"name": "a"}]}`:  "min_ttl: 256",
		`{"quantum": "1m", "hosts": [{"name": "a"}]}`: "quantum: 1m0s",
		`{"quantum": []}`:                                                 "quantum: is neither",
		`{"hosts": [{}]}`:                                                 "hosts[0].name: is missing",
		`{"hosts": [{"name": "all"}]}`:                                    "stands for every host",
		`{"hosts": [{"name": "1a"}]}`:                                     "hosts[0].name: ",
		`{"hosts": [{"name": "a.b"}]}`:                                    "hosts[0].name: ",
		`{"hosts": [{"name": "localhost"}]}`:                              "hosts[0].name: \"localhost\" is",
		`{"hosts": [{"name": "` + strings.Repeat("a", 64) + `"}]}`:        "hosts[0].name: 64 characters are more than",
		`{"hosts": [{"name": "a"}, {"name": "A"}]}`:                       `hosts[1].name: "A" is a name of host "a" already`,
		`{"hosts": [{"name": "a-V6"}, {"name": "a"}]}`:                    `hosts[1].name: "a-v6" is a name of host "a-V6" already`,
		`{"hosts": [{"name": "a"}, {"name": "a-v6"}]}`:                    `hosts[1].name: "a-v6" is a name of host "a" already`,
		`{"hosts": [{"name": "a"}, {"name": "a"}]}`:                       `hosts[1].name: there are two hosts "a"`,
		host(`, "a\nb": 1`):                                               `hosts[1]."a\nb": no such key of a host`,
		host(`, "speed": 1`):                                              "hosts[1].speed: no such key of a host",
		host(`, "multicast": 1`):                                          "hosts[1].multicast: ",
		host(`, "nic": "5foo"`):                                           "hosts[1].nic: ",
		host(`, "link": 5`):                                               "hosts[1].link: is not an object",
		host(`, "link": {"rat": 5}`):                                      "hosts[1].link.rat: no such setting of a link",
		host(`, "up": {"rate": "5foo"}`):                                  `hosts[1].up.rate: 5foo: unknown unit "foo"`,
		host(`, "up": {"rate": "8"}, "down": {"rate": "-5"}`):             "hosts[1].down.rate: ",
		host(`, "up": {"rate": "9tbit"}`):                                 "hosts[1].up.rate: 9tbit is more",
		host(`, "up": {"cross": "8tbit"}`):                                "hosts[1].up.cross: 8tbit is more than 10gbit",
		host(`, "up": {"rate": ""}`):                                      "hosts[1].up.rate: ",
		host(`, "up": {"rate": [1]}`):                                     "hosts[1].up.rate: is neither",
		host(`, "up": {"rate": null}`):                                    "hosts[1].up.rate: is neither",
		host(`, "up": {"queue": "much"}`):                                 "hosts[1].up.queue: ",
		host(`, "up": {"queue": "2TB"}`):                                  "hosts[1].up.queue: ",
		host(`, "up": {"queue": "2h"}`):                                   "hosts[1].up.queue: ",
		host(`, "up": {"delay": 25}`):                                     "hosts[1].up.delay: ",
		host(`, "up": {"delay": "2h"}`):                                   "hosts[1].up.delay: ",
		host(`, "up": {"jitter": "-1ms"}`):                                "hosts[1].up.jitter: ",
		host(`, "up": {"loss": 1.1}`):                                     "hosts[1].up.loss: ",
		host(`, "up": {"loss": "101%"}`):                                  "hosts[1].up.loss: ",
		host(`, "up": {"loss": "NaN"}`):                                   "hosts[1].up.loss: ",
		host(`, "up": {"burst": "0,0,0,0"}`):                              "hosts[1].up.burst: ",
		host(`, "up": {"burst": "0,,0"}`):                                 "hosts[1].up.burst: ",
		host(`, "up": {"cut": "maybe"}`):                                  "hosts[1].up.cut: ",
		`{"hosts": [{"name": "a"}], "paths": [{}]}`:                       "paths[0]: from or to is missing",
		`{"hosts": [{"name": "a"}], "paths": [1]}`:                        "paths[0]: is not an object",
		`{"hosts": [{"name": "a"}], "paths": [{"from": 1}]}`:              "paths[0].from: is not a string",
		`{"hosts": [{"name": "a"}], "paths": [{"from": "a", "to": "b"}]}`: `paths[0].to: there is no host "b"`,
		`{"hosts": [{"name": "a"}], "paths": [{"from": "a", "to": "a"}]}`: "paths[0]: leads from a to itself",
		`{"hosts": [{"name": "a"}, {"name": "b"}], "paths": [{"from": "a", "to": "b", "x": 1}]}`:                   "paths[0].x: no such setting",
		`{"hosts": [{"name": "a"}, {"name": "b"}], "paths": [{"from": "a", "to": "b"}, {"from": "a", "to": "b"}]}`: "paths[1]: is the second from a to b",
		strings.Repeat(`[`, 10): "nested deeper",
	} {
		top, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("%.100s was accepted: %+v", text, top)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.100s\ngot  %q\nwant %q", text, err, want)
		}
	}
}

func TestSelect(t *testing.T) {
	top := New()
	for _, n := range []string{"h0", "h1", "h2"} {
		top.Hosts = append(top.Hosts, Host{Name: n})
	}
	for word, want := range map[string]string{
		"h1.up": "h1.up", "h1.down": "h1.down", "h1": "h1.up h1.down", "all.down": "h0.down h1.down h2.down",
		"all": "h0.up h0.down h1.up h1.down h2.up h2.down", "h0:h2": "h0:h2",
		"h3": "", "h1.left": "", "h1.": "", "": "", "h0:h0": "", "h0:": "", ":": "", "all:h1": "", ".up": "",
	} {
		ids, err := top.Select(word)
		var names []string
		for _, id := range ids {
			names = append(names, top.Name(id))
		}
		if got := strings.Join(names, " "); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q, %v; want %q", word, got, err, want)
		}
	}
	if len(top.Links()) != 6 {
		t.Errorf("there are %d links, want 6", len(top.Links()))
	}
}

func TestSet(t *testing.T) {
	parse := func() *Topology {
		top, err := Parse([]byte(`{"hosts": [{"name": "h0"}, {"name": "h1", "link": {"loss": 0.5}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return top
	}
	top := parse()
	ids, err := top.Set([]string{"h1.down", "rate=50mbit", "h1", "h1:h0", "delay=40ms"})
	if err != nil || len(ids) != 3 {
		t.Fatalf("got %v, %v; want 3 links", ids, err)
	}
	want := map[string]string{
		"h0.up": "", "h0.down": "", "h1.up": "rate=50mbit delay=40ms loss=0.5", "h1.down": "rate=50mbit delay=40ms loss=0.5", "h1:h0": "rate=50mbit delay=40ms"}
	for _, id := range top.Links() {
		if got := top.Link(id).String(); got != want[top.Name(id)] {
			t.Errorf("%s: got %q, want %q", top.Name(id), got, want[top.Name(id)])
		}
		delete(want, top.Name(id))
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	for _, words := range []string{"", "h1", "rate=1mbit", "h1 rate=1mbit loss=2", "h2 loss=1%", "h1 h2 loss=1%", "h0:h1 speed=1", "h0:h1 =1"} {
		top := parse()
		if _, err := top.Set(strings.Fields(words)); err == nil {
			t.Errorf("%q was accepted", words)
		}
		if !reflect.DeepEqual(top, parse()) {
			t.Errorf("%q changed something: %+v", words, top)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, tt := range []struct {
		i    int
		v6   bool
		want string
	}{{0, false, "10.77.0.1"}, {249, false, "10.77.0.250"}, {0, true, "fd77::1"}, {15, true, "fd77::10"}} {
		if got := Address(tt.i, tt.v6).String(); got != tt.want {
			t.Errorf("host %d: got %s, want %s", tt.i, got, tt.want)
		}
	}
}

func TestScenarioFiles(t *testing.T) {
	files, err := filepath.Glob("../../testdata/topologies/*.json")
	if err != nil || len(files) < 11 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	readme, err := os.ReadFile("../../testdata/topologies/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		top, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		roundTrip(t, top)
		if !bytes.Contains(readme, []byte("`"+filepath.Base(file)+"`")) {
			t.Errorf("%s is not in the README beside it", file)
		}
	}
}

// roundTrip fails the test unless what is written is read as the same.
func roundTrip(t *testing.T, top *Topology) {
	t.Helper()
	text := top.JSON()
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("%v in what was written:\n%s", err, text)
	}
	if !reflect.DeepEqual(again, top) {
		t.Fatalf("written and read:\n%+v\nwant:\n%+v", again, top)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../testdata/topologies/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"mtu":9000,"cc":"bbr","seed":7,"quantum":"1ms","hosts":[{"name":"a","nic":1e3,"up":{"burst":"1e-3,1%","mangle":1,"cross":8,"cut":true}},{"name":"b"}],"paths":[{"from":"a","to":"b","queue":0}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		top, err := Parse(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
			return
		}
		roundTrip(t, top)
	})
}

func FuzzSet(f *testing.F) {
	f.Add("h1.up rate=50mbit loss=1%")
	f.Add("all h0:h1 burst=0.1,0.2,0.3 queue=12.5MB cut=true")
	f.Fuzz(func(t *testing.T, line string) {
		top := New()
		top.Hosts = []Host{{Name: "h0"}, {Name: "h1"}}
		ids, err := top.Set(strings.Fields(line))
		if (err == nil) != (len(ids) > 0) {
			t.Errorf("%q: %v, %v", line, ids, err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is not one line", err)
		}
		if err := top.Validate(); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		roundTrip(t, top)
	})
}
