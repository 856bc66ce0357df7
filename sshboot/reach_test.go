package sshboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestProxies(t *testing.T) {
	w := newWorld(t)
	hop := newWorld(t)
	// One home knows both.
	both := fmt.Sprintf("[127.0.0.1]:%d %s\n[127.0.0.1]:%d %s\n", w.port, authorized(w.hostKey.PublicKey()), hop.port, authorized(hop.hostKey.PublicKey()))
	write(t, w.knownFile(), both, 0o600)
	hopKey, err := os.ReadFile(filepath.Join(hop.home, ".ssh", "id_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.home, ".ssh", "hop_key"), string(hopKey), 0o600)
	hops := fmt.Sprintf("GlobalKnownHostsFile none\nHost hop hop2\n HostName 127.0.0.1\n Port %d\n IdentityFile ~/.ssh/hop_key\n", hop.port)
	far := fmt.Sprintf("Host far\n HostName 127.0.0.1\n Port %d\n ", w.port)
	for _, c := range []struct {
		name, config, jump string
		want               Kind
		hops               int
	}{
		{"jump by option", hops + far, "hop", 0, 1},
		{"chain", hops + far, "hop,root@hop2", 0, 2},
		{"jump by file", hops + far + "ProxyJump hop", "", 0, 1},
		{"jump of the jump host", hops + far + "ProxyJump hop3\nHost hop3\n HostName 127.0.0.1\n Port " + strconv.Itoa(hop.port) + "\n IdentityFile ~/.ssh/hop_key\n ProxyJump hop\n", "", 0, 2},
		{"loop", hops + far + "ProxyJump l1\nHost l1\n ProxyJump l2\nHost l2\n ProxyJump l1\n", "", Config, 0},
		{"none", hops + far + "ProxyJump none\nProxyCommand false", "", Unreachable, 0},
		{"command", hops + far + "ProxyCommand nc %h %p", "", 0, 0},
		{"command says why", hops + far + "ProxyCommand echo no way out >&2; exit 1", "", Unreachable, 0},
		{"command lasts", hops + far + "ProxyCommand sleep 100 & sleep 100", "", Unreachable, 0},
		{"unknown hop", far, "nowhere.invalid", NoName, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.config(c.config + "\n")
			o := w.options()
			o.Extra, o.Jump = nil, c.jump
			if c.name == "command lasts" {
				o.ConnectTimeout = 2 * time.Second
			}
			before := logins(t, hop)
			sh, err := Dial(t.Context(), Target{Host: "far"}, o)
			if err != nil {
				if kindOf(err) != c.want {
					t.Errorf("got %v: %v; want %v", kindOf(err), err, c.want)
				}
				if strings.Contains(c.name, "says why") && !strings.Contains(err.Error(), "no way out") {
					t.Errorf("got %v", err)
				}
				return
			}
			defer sh.Close()
			if c.want != 0 {
				t.Fatalf("logged in, want %v", c.want)
			}
			if out, err := sh.Run(t.Context(), "echo $HOME", nil); strings.TrimSpace(string(out)) != w.farHome || err != nil {
				t.Errorf("got %q, %v; want %s", out, err, w.farHome)
			}
			if sh.Remote().IsValid() {
				t.Errorf("remote %v behind a proxy", sh.Remote())
			}
			if got := logins(t, hop) - before; got != c.hops {
				t.Errorf("%d logins at the jump host, want %d", got, c.hops)
			}
			if !bytes.Equal(sh.HostKey(), w.hostKey.PublicKey().Marshal()) {
				t.Error("host key of another host")
			}
		})
	}
}

func logins(t *testing.T, w *world) int {
	t.Helper()
	text, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "Accepted publickey")
}

func TestExternalProgram(t *testing.T) {
	w := newWorld(t)
	external := func(t *testing.T) Options {
		o := w.options()
		o.Program = "ssh"
		o.Identities = []string{filepath.Join(w.home, ".ssh", "id_ed25519")}
		o.Extra = []string{"UserKnownHostsFile=" + w.knownFile(), "GlobalKnownHostsFile=none", "IdentityAgent=none"}
		return o
	}
	t.Run("upload and cached", func(t *testing.T) {
		before := logins(t, w)
		sh := w.dial(external(t))
		if b := boot(t, sh, bootOptions(t)); !b.Uploaded {
			t.Error("did not upload")
		}
		if b := boot(t, sh, bootOptions(t)); b.Uploaded {
			t.Error("uploaded again")
		}
		if got := logins(t, w) - before; got != 2 {
			t.Errorf("%d logins for two boots", got)
		}
		if sh.HostKey() != nil || sh.Remote().IsValid() {
			t.Error("claims to know the host")
		}
	})
	for _, c := range []struct {
		name string
		edit func(*Options)
		want Kind
		text string
	}{
		{"unknown key", func(o *Options) { o.Extra[0] = "UserKnownHostsFile=/dev/null" }, HostKeyUnknown, "ssh: Host key verification failed."},
		{"changed key", func(o *Options) {
			bad := filepath.Join(w.home, "bad_hosts")
			write(t, bad, fmt.Sprintf("[127.0.0.1]:%d %s\n", w.port, authorized(newKey(t, "", "").PublicKey())), 0o600)
			o.Extra[0] = "UserKnownHostsFile=" + bad
		}, HostKeyChanged, ""},
		{"no login", func(o *Options) {
			newKey(t, filepath.Join(w.home, "bad_key"), "")
			o.Identities[0] = filepath.Join(w.home, "bad_key")
		}, NoLogin, "ssh could not log in\n  ssh: root@127.0.0.1: Permission denied"},
		{"bad option", func(o *Options) { o.Extra[0] = "NoSuchOption=1" }, Config, ""},
		{"no such program", func(o *Options) { o.Program = "/no/such/ssh -x" }, Config, "/no/such/ssh"},
		{"quotes", func(o *Options) { o.Program = "ssh 'x" }, Config, "quote"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := external(t)
			c.edit(&o)
			sh, err := Dial(t.Context(), w.target(), o)
			if err == nil {
				_, err = Boot(t.Context(), sh, bootOptions(t))
				sh.Close()
			}
			if kindOf(err) != c.want || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v: %v; want %v with %q", kindOf(err), err, c.want, c.text)
			}
		})
	}
	t.Run("refused and unresolved", func(t *testing.T) {
		o := external(t)
		for _, target := range []struct {
			t    Target
			want Kind
		}{{Target{Host: "127.0.0.1", Port: freePort(t)}, Unreachable}, {Target{Host: "no-such-host.invalid"}, NoName}} {
			sh, err := Dial(t.Context(), target.t, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = Boot(t.Context(), sh, bootOptions(t)); kindOf(err) != target.want {
				t.Errorf("got %v: %v; want %v", kindOf(err), err, target.want)
			}
		}
	})
	t.Run("close reaps", func(t *testing.T) {
		sh := w.dial(external(t))
		b, err := Boot(t.Context(), sh, bootOptions(t))
		if err != nil {
			t.Fatal(err)
		}
		pid := b.Process.(*resumed).Process.(*childProcess).child.cmd.Process.Pid
		if err := sh.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
		if _, err := sh.Start(t.Context(), "true"); err == nil {
			t.Error("started after close")
		}
	})
}

func TestUnreachable(t *testing.T) {
	o := Options{ConfigFiles: []string{"none"}, Home: homeDir(t), LocalUser: "me", ConnectTimeout: patience}
	// A listener that never answers.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent := l.Addr().(*net.TCPAddr).Port
	port := freePort(t)
	for _, c := range []struct {
		target Target
		want   Kind
		text   string
	}{
		{Target{Host: "127.0.0.1", Port: port}, Unreachable, fmt.Sprintf("127.0.0.1: no ssh connection to 127.0.0.1 port %d: connection refused", port)},
		{Target{Host: "127.0.0.1", Port: silent}, Unreachable, "127.0.0.1: no answer from the ssh server within 1s"},
		{Target{Host: "no-such-host.invalid"}, NoName, "no-such-host.invalid: the name no-such-host.invalid"},
		{Target{Host: "-oProxyCommand=x"}, Config, "must not begin with a dash"},
		{Target{Host: "h", User: "-l"}, Config, "must not begin with a dash"},
		{Target{Host: "a b"}, Config, "not allowed"},
		{Target{Host: "$(x)"}, Config, "not allowed"},
		{Target{Host: ""}, Config, "empty"},
		{Target{Host: "h", Port: 70000}, Config, "port"},
	} {
		o := o
		if c.target.Port == silent {
			o.ConnectTimeout = time.Second
		}
		_, err := Dial(t.Context(), c.target, o)
		if kindOf(err) != c.want || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%+v: got %v: %v; want %v with %q", c.target, kindOf(err), err, c.want, c.text)
		}
	}
	t.Log("# an address of the other family, and a name that has none of it")
	for _, c := range []struct {
		host       string
		ipv4, ipv6 bool
		want       string
	}{
		{"127.0.0.1", false, true, "127.0.0.1 is no IPv6 address"},
		{"::1", true, false, "::1 is no IPv4 address"},
		{"no-such-host.invalid", false, true, "no-such-host.invalid "},
	} {
		o := o
		o.IPv4, o.IPv6 = c.ipv4, c.ipv6
		if _, err := Dial(t.Context(), Target{Host: c.host, Port: port}, o); kindOf(err) != NoName || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%+v: got %v", c, err)
		}
	}
	t.Log("# ConnectTimeout of ssh_config counts unless the caller says more")
	config := filepath.Join(o.Home, "config")
	write(t, config, "Host 127.*\n  ConnectTimeout 1\n", 0o600)
	for _, c := range []struct {
		option time.Duration
		extra  []string
		want   string
	}{
		{0, nil, "within 1s"},
		{0, []string{"ConnectTimeout=2"}, "within 2s"},
		{1500 * time.Millisecond, nil, "within 1.5s"},
	} {
		o := o
		o.ConfigFiles, o.ConnectTimeout, o.Extra = []string{config}, c.option, c.extra
		if _, err := Dial(t.Context(), Target{Host: "127.0.0.1", Port: silent}, o); kindOf(err) != Unreachable || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v, %q: got %v; want %q", c.option, c.extra, err, c.want)
		}
	}
	for _, c := range []struct {
		file   string
		option time.Duration
		want   time.Duration
	}{
		{"none", 0, 20 * time.Second},
		{config, 0, 0},
		{config, 3 * time.Second, 3 * time.Second},
	} {
		o := o
		o.ConfigFiles, o.ConnectTimeout = []string{c.file}, c.option
		if got := programTimeout(Target{Host: "127.0.0.1"}, o); got != c.want {
			t.Errorf("%s, %v: an ssh program is told %v, want %v", c.file, c.option, got, c.want)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, Target{Host: "127.0.0.1", Port: silent}, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}
