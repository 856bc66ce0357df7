package main

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/mover"
)

func TestOptionTable(t *testing.T) {
	seen := map[string]bool{}
	name := regexp.MustCompile(`^[a-z][a-z0-9-]*[a-z0-9]$`)
	for i := range optionTable {
		p := &optionTable[i]
		for _, key := range []string{"--" + p.name, "-" + p.short} {
			if len(key) > 2 || key[1:] == p.short && p.short != "" {
				if seen[key] {
					t.Errorf("%s stands twice in the table", key)
				}
				seen[key] = true
			}
		}
		if p.name == "" && p.short == "" || p.name != "" && !name.MatchString(p.name) || len(p.short) > 1 {
			t.Errorf("row %d: bad spelling %q %q", i, p.name, p.short)
		}
		if findID(p.id()) != p {
			t.Errorf("%s is not found by its id", p.title())
		}
		switch {
		case p.kind == kindForeign:
			if p.answer == "" {
				t.Errorf("%s has no answer", p.title())
			}
			continue
		case p.kind == kindIgnored:
			continue
		case p.later != "":
			if p.store != nil || p.help != "" {
				t.Errorf("%s is not available and yet does something", p.title())
			}
			continue
		}
		if p.help == "" || p.def == "" || p.group == "" {
			t.Errorf("%s lacks a description, a default or a group", p.title())
		}
		if (p.kind == kindValue || p.kind == kindOptional) && p.arg == "" {
			t.Errorf("%s does not say what its value is", p.title())
		}
		if p.kind == kindOptional && p.bare == "" {
			t.Errorf("%s has no value to stand for itself", p.title())
		}
		if p.kind == kindAlias {
			for _, a := range p.alias {
				if target := findID(a.id); target == nil || target.store(newOptions(), a.value) != nil {
					t.Errorf("%s stands for %s=%s, which is not possible", p.title(), a.id, a.value)
				}
			}
			continue
		}
		if p.store == nil {
			t.Errorf("%s stores nothing", p.title())
			continue
		}
		if p.def != noDefault {
			if err := p.store(newOptions(), p.def); err != nil {
				t.Errorf("%s: its default %q is refused: %v", p.title(), p.def, err)
			}
		}
		for _, v := range p.values {
			if err := p.store(newOptions(), v); err != nil {
				t.Errorf("%s: %q is refused: %v", p.title(), v, err)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	got := newOptions()
	want := &Options{
		Copy: CopyOptions{Glob: true},
		Attr: AttrOptions{Perms: true, Times: true, Links: LinksCopy, Sync: SyncBatch},
		Net:  NetOptions{Streams: Streams{Auto: true, Min: 1, Max: 256}, Priority: "fair", Retune: "auto", Probe: "auto", Dial: "auto", Ports: PortRange{Auto: true}, Encrypt: "on"},
		SSH:  SSHOptions{Program: "builtin", Agent: "auto", AgentKeep: true, ConnectTimeout: 20 * time.Second},
		Safety: SafetyOptions{Resume: "auto", StallTimeout: 30 * time.Second, GiveUp: 15 * time.Minute, RetryWait: time.Second,
			Existing: "update", Verify: "wire", Hash: "auto", OnChange: "retry"},
		Storage: StorageOptions{Memory: 128 << 20},
		Pull:    PullOptions{MaxSources: 8, MirrorStreams: 4},
		Fan:     FanOptions{How: "auto", Slow: "detach", Group: mover.GroupOptions{TTL: 32}},
		Output:  OutputOptions{Progress: "auto", Summary: "short", Color: "auto"},
		Set:     map[string]Source{},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestOptionValues(t *testing.T) {
	sum := strings.Repeat("0f", 32)
	raw, _ := hex.DecodeString(sum)
	for _, c := range []struct {
		args string
		at   func(o *Options) any
		want any // nil: refused
	}{
		{"-r", func(o *Options) any { return o.Copy.Recursive }, true},
		{"-r --no-recursive", func(o *Options) any { return o.Copy.Recursive }, false},
		{"--no-recursive -r", func(o *Options) any { return o.Copy.Recursive }, true},
		{"-T", func(o *Options) any { return o.Copy.Exact }, true},
		{"--streams 4 --streams 8", func(o *Options) any { return o.Net.Streams }, Streams{Min: 8, Max: 8}},
		{"-s 2-16", func(o *Options) any { return o.Net.Streams }, Streams{Min: 2, Max: 16}},
		{"-s auto", func(o *Options) any { return o.Net.Streams }, Streams{Auto: true, Min: 1, Max: 256}},
		{"-s 16-2", nil, nil}, {"-s 257", nil, nil}, {"-s -1", nil, nil}, {"-s 1-", nil, nil}, {"-s x", nil, nil},
		{"-w 4M", func(o *Options) any { return o.Net.Window }, int64(4 << 20)},
		{"-w auto", func(o *Options) any { return o.Net.Window }, int64(0)},
		{"-w 1", nil, nil}, {"-w 2G", nil, nil}, {"-w x", nil, nil},
		{"--bwlimit 80Mbit", func(o *Options) any { return o.Net.Limit.String() }, "10MB"},
		{"--bwlimit 80Mbit --bwlimit off", func(o *Options) any { return o.Net.Limit.String() }, "off"},
		{"--bwlimit 0MB", nil, nil}, {"--bwlimit 7kbit", nil, nil}, {"--bwlimit 08:00", nil, nil}, {"--bwlimit 08:00,10", nil, nil},
		{"--bwlimit Mon-Fri-08:00,80Mbit --priority bold", func(o *Options) any { return o.Net.Limit.String() + o.Net.Priority }, "Mon-Fri-08:00,80Mbitbold"},
		{"--priority background", func(o *Options) any { return o.Net.Priority }, "background"},
		{"--priority low", nil, nil},
		{"--finish-by 2040-03-01T06:00:00Z", func(o *Options) any { return o.Net.FinishBy.Unix() }, int64(2214194400)},
		{"--finish-by off", func(o *Options) any { return o.Net.FinishBy.IsZero() }, true},
		{"--finish-by 2h", func(o *Options) any { return time.Until(o.Net.FinishBy).Round(time.Minute) }, 2 * time.Hour},
		{"--finish-by 2020-03-01T06:00:00Z", nil, nil}, {"--finish-by 0s", nil, nil}, {"--finish-by soon", nil, nil},
		{"--tune-interval 5s", func(o *Options) any { return o.Net.Interval }, 5 * time.Second},
		{"--tune-interval auto", func(o *Options) any { return o.Net.Interval }, time.Duration(0)},
		{"--tune-interval 10ms", nil, nil},
		{"--bwlimit-each 8Mbit", func(o *Options) any { return int64(o.Fan.LimitEach) }, int64(1e6)},
		{"--bwlimit-each 0", nil, nil},
		{"--fanout star", func(o *Options) any { return o.Fan.How }, "unicast"},
		{"--fanout any", func(o *Options) any { return o.Fan.How }, "any"},
		{"--fanout ring", nil, nil},
		{"--min-dests 3", func(o *Options) any { return o.Fan.MinDests }, 3},
		{"--min-dests 3 --min-dests all", func(o *Options) any { return o.Fan.MinDests }, 0},
		{"--to a:b --to c:", func(o *Options) any { return strings.Join(o.Fan.To, " ") }, "a:b c:"},
		{"--ports 50000-50010", func(o *Options) any { return o.Net.Ports }, PortRange{First: 50000, Last: 50010}},
		{"--ports 50000:50010", func(o *Options) any { return o.Net.Ports }, PortRange{First: 50000, Last: 50010}},
		{"--ports 50000", func(o *Options) any { return o.Net.Ports }, PortRange{First: 50000, Last: 50000}},
		{"--ports 0-1", nil, nil}, {"--ports 1-65536", nil, nil}, {"--ports a-b", nil, nil},
		{"--transport tcp,ssh", func(o *Options) any { return strings.Join(o.Net.Transports, "+") }, "tcp+ssh"},
		{"--transport xm,tcp", func(o *Options) any { return fmt.Sprint(o.Net.Multicast, o.Net.Transports) }, "true [tcp]"},
		{"--transport xm --transport udt", func(o *Options) any { return fmt.Sprint(o.Net.Multicast, o.Net.Transports) }, "false [udt]"},
		{"--transport udt,ssh", func(o *Options) any { return strings.Join(o.Net.Transports, "+") }, "udt+ssh"},
		{"--transport carrier-pigeon", nil, nil}, {"--transport tcp,", nil, nil},
		{"--dscp ef", func(o *Options) any { return o.Net.DSCP }, 46},
		{"--dscp 63", func(o *Options) any { return o.Net.DSCP }, 63},
		{"--dscp 64", nil, nil}, {"--dscp x", nil, nil},
		{"--cc bbr", func(o *Options) any { return o.Net.Congestion }, "bbr"},
		{"--cc ../x", nil, nil}, {"--cc abcdefghijklmnop", nil, nil},
		{"--dial source", func(o *Options) any { return o.Net.Dial }, "source"},
		{"--dial west", nil, nil},
		{"--data-addr 10.0.0.1 --data-addr h=[::1]", func(o *Options) any { return o.Net.DataAddrs }, []DataAddr{{Addr: "10.0.0.1"}, {Host: "h", Addr: "::1"}}},
		{"--data-addr -x", nil, nil}, {"--data-addr =x", nil, nil}, {"--data-addr h=", nil, nil},
		{"--bind eth0", func(o *Options) any { return o.Net.Bind }, "eth0"},
		{"--bind fe80::1%eth0", func(o *Options) any { return o.Net.Bind }, "fe80::1%eth0"},
		{"--bind a/b", nil, nil},
		{"-4", func(o *Options) any { return o.Net.Family }, 4},
		{"-4 -6", func(o *Options) any { return o.Net.Family }, 6},
		{"--encrypt auth", func(o *Options) any { return o.Net.Encrypt }, "auth"},
		{"-P 2222", func(o *Options) any { return o.SSH.Port }, 2222},
		{"-P 65536", nil, nil}, {"-P +1", nil, nil},
		{"-i a -i b", func(o *Options) any { return o.SSH.Identities }, []string{"a", "b"}},
		{"-o A=b -oC=d", func(o *Options) any { return o.SSH.Raw }, []string{"A=b", "C=d"}},
		{"--ssh=", nil, nil},
		{"--no-agent-keep", func(o *Options) any { return o.SSH.AgentKeep }, false},
		{"--connect-timeout 5s", func(o *Options) any { return o.SSH.ConnectTimeout }, 5 * time.Second},
		{"--connect-timeout 0", nil, nil},
		{"--give-up 0", func(o *Options) any { return o.Safety.GiveUp }, time.Duration(0)},
		{"--give-up 2d", func(o *Options) any { return o.Safety.GiveUp }, 48 * time.Hour},
		{"--give-up soon", nil, nil},
		{"--time-limit off", func(o *Options) any { return o.Safety.TimeLimit }, time.Duration(0)},
		{"--state-dir ~/s", func(o *Options) any { return o.Safety.StateDir }, "/home/me/s"},
		{"--ignore-existing", func(o *Options) any { return o.Safety.Existing }, "skip"},
		{"--ignore-existing --existing=fail", func(o *Options) any { return o.Safety.Existing }, "fail"},
		{"--existing x", nil, nil},
		{"--expect blake3:" + sum, func(o *Options) any { return o.Safety.Expect }, raw},
		{"--expect blake3:00", nil, nil}, {"--expect sha256:" + sum, nil, nil}, {"--expect " + sum, nil, nil},
		{"--hash blake3", func(o *Options) any { return o.Safety.Hash }, "blake3"},
		{"--hash sha256", nil, nil}, {"--hash x", nil, nil},
		{"--verify readback", func(o *Options) any { return o.Safety.Verify }, "readback"},
		{"-j 8", func(o *Options) any { return o.Storage.Jobs }, 8},
		{"-j 0", nil, nil},
		{"--block-size 4M", func(o *Options) any { return o.Storage.BlockSize }, int64(4 << 20)},
		{"--block-size 1K", nil, nil}, {"--memory auto", nil, nil},
		{"-v", func(o *Options) any { return o.Output.Verbose }, 1},
		{"-vvv", func(o *Options) any { return o.Output.Verbose }, 2},
		{"--json", func(o *Options) any { return o.Output.JSON }, "-"},
		{"--json=fd:3", func(o *Options) any { return o.Output.JSON }, "fd:3"},
		{"--json=fd:x", nil, nil},
		{"--json --no-json", nil, nil},
		{"--show streams,files", func(o *Options) any { return o.Output.Show }, []string{"streams", "files"}},
		{"--show all", nil, nil},
		{"--units bits", func(o *Options) any { return o.Output.Bits }, true},
		{"--progress-interval 5s", func(o *Options) any { return o.Output.ProgressInterval }, 5 * time.Second},
		{"--links skip", func(o *Options) any { return o.Attr.Links }, LinksSkip},
		{"-L", func(o *Options) any { return o.Attr.Links }, LinksFollow},
		{"--no-perms -p", func(o *Options) any { return o.Attr.Perms }, true},
		{"--fsync dir", func(o *Options) any { return o.Attr.Sync }, SyncDir},
	} {
		r := run(nil, someFiles, append(strings.Fields(c.args), "f", "./new")...)
		if c.want == nil {
			if r.code != exitUsage || r.o != nil {
				t.Errorf("%s: accepted", c.args)
			}
			continue
		}
		if r.code != 0 {
			t.Errorf("%s: %s", c.args, r.errOut)
			continue
		}
		if got := c.at(r.o); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v; want %v", c.args, got, c.want)
		}
	}
}

func TestArchive(t *testing.T) {
	all := AttrOptions{Perms: true, Times: true, Owner: true, Group: true, Specials: true, Links: LinksCopy, Sync: SyncBatch}
	r := run(nil, someFiles, "-a", "f", "./new")
	if r.code != 0 || r.o.Attr != all || !r.o.Copy.Recursive {
		t.Errorf("-a: got %+v", r.o.Attr)
	}
	r = run(nil, someFiles, "-a", "--no-owner", "-L", "f", "./new")
	if r.o.Attr.Owner || r.o.Attr.Links != LinksFollow || !r.o.Attr.Group {
		t.Errorf("-a --no-owner -L: got %+v", r.o.Attr)
	}
	r = run(map[string]string{"GOMOVER_OWNER": "no"}, someFiles, "-a", "f", "./new")
	if !r.o.Attr.Owner {
		t.Error("-a on the command line gives way to the environment")
	}
	r = run(map[string]string{"GOMOVER_ARCHIVE": "yes"}, someFiles, "--no-archive", "f", "./new")
	if r.o.Attr.Owner || r.o.Copy.Recursive {
		t.Error("--no-archive leaves something of the archive option")
	}
}

func TestLaterAndForeignOptionsAreRefused(t *testing.T) {
	for i := range optionTable {
		p := &optionTable[i]
		if p.later == "" && p.kind != kindForeign {
			continue
		}
		for _, spelled := range []string{"--" + p.name, "-" + p.short} {
			if len(spelled) < 2 || spelled == "--" {
				continue
			}
			r := run(nil, someFiles, spelled, "f", "h:", "h:")
			if r.code != exitUsage || r.o != nil || strings.Count(r.errOut, "\n") != 1 || !strings.HasPrefix(r.errOut, "gomover: "+spelled+": ") {
				t.Errorf("%s: got [%d] %q", spelled, r.code, r.errOut)
			}
		}
		if p.later != "" && p.name != "" {
			r := run(map[string]string{envName(p.name): "1"}, someFiles, "f", "h:")
			if r.code != exitUsage || !strings.Contains(r.errOut, "not available yet") {
				t.Errorf("%s: got [%d] %q", envName(p.name), r.code, r.errOut)
			}
		}
	}
}

// TestConnectTimeoutIsGiven: only what somebody asked for may win over
// ssh_config.
func TestConnectTimeoutIsGiven(t *testing.T) {
	for _, c := range []struct {
		vars map[string]string
		args []string
		want time.Duration
	}{
		{nil, nil, 0},
		{nil, []string{"--connect-timeout=20s"}, 20 * time.Second},
		{map[string]string{"GOMOVER_CONNECT_TIMEOUT": "3s"}, nil, 3 * time.Second},
	} {
		r := run(c.vars, someFiles, append(c.args, "f", "h:")...)
		if r.code != 0 {
			t.Fatal(r.errOut)
		}
		var j mover.Job
		env := Env{LookupEnv: func(string) (string, bool) { return "", false }}
		if err := loginOptions(env, r.o, &j, ""); err != nil {
			t.Fatal(err)
		}
		if j.Login.ConnectTimeout != c.want {
			t.Errorf("%v %q: got %v, want %v", c.vars, c.args, j.Login.ConnectTimeout, c.want)
		}
	}
}
