package sshboot

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// person answers questions from a list and remembers them.
type person struct {
	answers []string
	asked   []string
}

func (p *person) Ask(_ context.Context, q string, secret bool) (string, error) {
	p.asked = append(p.asked, q)
	if len(p.answers) == 0 {
		return "", errors.New("nobody there")
	}
	a := p.answers[0]
	p.answers = p.answers[1:]
	return a, nil
}

func (p *person) Confirm(ctx context.Context, q string) (bool, error) {
	a, err := p.Ask(ctx, q, false)
	return a == "yes", err
}

func (w *world) knownFile() string { return filepath.Join(w.home, ".ssh", "known_hosts") }

// try logs in and reports the error's kind, 0 for success.
func (w *world) try(o Options) (Kind, error) {
	w.t.Helper()
	sh, err := Dial(w.t.Context(), w.target(), o)
	if err != nil {
		return kindOf(err), err
	}
	defer sh.Close()
	out, err := sh.Run(w.t.Context(), "echo ok", nil)
	if string(out) != "ok\n" || err != nil {
		w.t.Fatalf("logged in, but a command gave %q, %v", out, err)
	}
	return 0, nil
}

func TestKnownHosts(t *testing.T) {
	w := newWorld(t)
	right, wrong := authorized(w.hostKey.PublicKey()), authorized(newKey(t, "", "").PublicKey())
	name := fmt.Sprintf("[127.0.0.1]:%d", w.port)
	other := ecdsaKey(t)
	for _, c := range []struct {
		name, known string
		want        Kind
		text        string
	}{
		{"right", name + " " + right, 0, ""},
		{"hashed", knownhosts.HashHostname(name) + " " + right, 0, ""},
		{"hashed wrong", knownhosts.HashHostname(name) + " " + wrong, HostKeyChanged, "line 1"},
		{"hashed of another host", knownhosts.HashHostname("elsewhere") + " " + right, HostKeyUnknown, ""},
		{"changed", "# comment\n" + name + " " + wrong, HostKeyChanged, "127.0.0.1: ssh refused the host key: it is not the one in " + w.knownFile() + ", line 2\n"},
		{"changed, other type", name + " " + other, HostKeyChanged, "known   ecdsa"},
		{"second line right", name + " " + wrong + "\n" + name + " " + right, 0, ""},
		{"unknown", "", HostKeyUnknown, "127.0.0.1: ssh refused the host key\n  ssh: Host key verification failed.\n  hint: run \"ssh 127.0.0.1 true\" once and check the fingerprint"},
		{"strange line before", "what is this\n" + name + " strange-key AAAA\n" + name + " " + right, 0, ""},
		{"known at the standard port", "127.0.0.1 " + right, 0, ""},
		{"wrong at the standard port", "127.0.0.1 " + wrong, HostKeyUnknown, ""},
		{"pattern", "*," + "!127.0.0.1 " + right, 0, ""},
		{"negated", "[127.0.0.*,!" + name + " " + right, HostKeyUnknown, ""},
		{"revoked", name + " " + right + "\n@revoked * " + right, HostKeyChanged, "it is revoked (" + w.knownFile() + ", line 2)"},
		{"other revoked", name + " " + right + "\n@revoked * " + wrong, 0, ""},
		{"unreadable revoked", name + " " + right + "\n@revoked * ssh-ed25519 AAAA", Config, "@revoked"},
		{"authority is no host key", "@cert-authority * " + right, HostKeyUnknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, w.knownFile(), c.known+"\n", 0o600)
			kind, err := w.try(w.options())
			if kind != c.want || c.text != "" && !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v: %v; want %v with %q", kind, err, c.want, c.text)
			}
			if text, _ := os.ReadFile(w.knownFile()); string(text) != c.known+"\n" {
				t.Errorf("known_hosts was changed: %s", text)
			}
		})
	}
	t.Run("second file", func(t *testing.T) {
		write(t, w.knownFile(), "", 0o600)
		second := filepath.Join(w.home, "second file")
		write(t, second, name+" "+right+"\n", 0o600)
		w.config("UserKnownHostsFile ~/.ssh/known_hosts \"" + second + "\"\n")
		if kind, err := w.try(w.options()); kind != 0 {
			t.Error(err)
		}
	})
	t.Run("alias", func(t *testing.T) {
		write(t, w.knownFile(), "nick "+right+"\n", 0o600)
		w.config("HostKeyAlias nick\n")
		if kind, err := w.try(w.options()); kind != 0 {
			t.Error(err)
		}
	})
	t.Run("revoked file", func(t *testing.T) {
		w.known(w.hostKey.PublicKey())
		write(t, filepath.Join(w.home, "revoked"), right+"\n", 0o600)
		w.config("RevokedHostKeys ~/revoked\n")
		if kind, err := w.try(w.options()); kind != HostKeyChanged {
			t.Error(err)
		}
		write(t, filepath.Join(w.home, "revoked"), "SSHKRL\n\x00binary\n", 0o600)
		if kind, err := w.try(w.options()); kind != Config {
			t.Error(err)
		}
	})
}

func ecdsaKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return authorized(pub)
}

func TestStrictHostKeyChecking(t *testing.T) {
	w := newWorld(t)
	line := fmt.Sprintf("[127.0.0.1]:%d %s\n", w.port, authorized(w.hostKey.PublicKey()))
	wrong := fmt.Sprintf("[127.0.0.1]:%d %s\n", w.port, authorized(newKey(t, "", "").PublicKey()))
	for _, c := range []struct {
		name, strict, known, answer string
		want                        Kind
		after                       string
	}{
		{"yes", "yes", "", "yes", HostKeyUnknown, ""},
		{"ask, refused", "ask", "", "no", HostKeyUnknown, ""},
		{"ask, agreed", "ask", "", "yes", 0, line},
		{"ask, no newline before", "ask", "# end", "yes", 0, "# end\n" + line},
		{"accept-new", "accept-new", "", "", 0, line},
		{"accept-new, changed", "accept-new", wrong, "", HostKeyChanged, wrong},
		{"no", "no", "", "", 0, line},
		{"no, changed", "no", wrong, "yes", HostKeyChanged, wrong},
		{"nonsense", "perhaps", "", "yes", Config, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, w.knownFile(), c.known, 0o600)
			o := w.options()
			o.Extra = append(o.Extra, "StrictHostKeyChecking="+c.strict)
			p := &person{answers: []string{c.answer}}
			o.Prompt = p
			kind, err := w.try(o)
			text, _ := os.ReadFile(w.knownFile())
			if kind != c.want || string(text) != c.after {
				t.Errorf("got %v (%v) and %q; want %v and %q", kind, err, text, c.want, c.after)
			}
			if c.strict == "ask" && (len(p.asked) != 1 || !strings.Contains(p.asked[0], ssh.FingerprintSHA256(w.hostKey.PublicKey()))) {
				t.Errorf("asked %q", p.asked)
			}
		})
	}
	t.Run("hashed entry", func(t *testing.T) {
		write(t, w.knownFile(), "", 0o600)
		o := w.options()
		o.Extra = append(o.Extra, "StrictHostKeyChecking=accept-new", "HashKnownHosts=yes")
		if kind, err := w.try(o); kind != 0 {
			t.Fatal(err)
		}
		text, _ := os.ReadFile(w.knownFile())
		if !strings.HasPrefix(string(text), "|1|") {
			t.Errorf("entry %q", text)
		}
		if kind, err := w.try(w.options()); kind != 0 {
			t.Errorf("own hashed entry: %v", err)
		}
	})
}

func hostCert(t *testing.T, ca ssh.Signer, key ssh.PublicKey, kind uint32, principal string, end time.Time) string {
	t.Helper()
	c := &ssh.Certificate{
		Key: key, CertType: kind, KeyId: "test", ValidPrincipals: []string{principal},
		ValidBefore: uint64(end.Unix()), Permissions: ssh.Permissions{Extensions: map[string]string{"permit-pty": ""}},
	}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return authorized(c)
}

func TestHostCertificates(t *testing.T) {
	ca, other := newKey(t, "", ""), newKey(t, "", "")
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name, principal string
		end             time.Time
		known           func(w *world) string
		want            Kind
	}{
		{"authority", "127.0.0.1", later, func(*world) string { return "@cert-authority * " + authorized(ca.PublicKey()) }, 0},
		{"other authority", "127.0.0.1", later, func(*world) string { return "@cert-authority * " + authorized(other.PublicKey()) }, HostKeyUnknown},
		{"authority of other hosts", "127.0.0.1", later, func(*world) string { return "@cert-authority *.example.org " + authorized(ca.PublicKey()) }, HostKeyUnknown},
		{"expired", "127.0.0.1", before, func(*world) string { return "@cert-authority * " + authorized(ca.PublicKey()) }, HostKeyUnknown},
		{"other host's", "db1", later, func(*world) string { return "@cert-authority * " + authorized(ca.PublicKey()) }, HostKeyUnknown},
		{"revoked authority", "127.0.0.1", later, func(*world) string {
			return "@cert-authority * " + authorized(ca.PublicKey()) + "\n@revoked * " + authorized(ca.PublicKey())
		}, HostKeyChanged},
		{"revoked key", "127.0.0.1", later, func(w *world) string {
			return "@cert-authority * " + authorized(ca.PublicKey()) + "\n@revoked * " + authorized(w.hostKey.PublicKey())
		}, HostKeyChanged},
		{"plain key known, other authority", "127.0.0.1", later, func(w *world) string {
			return "@cert-authority * " + authorized(other.PublicKey()) + fmt.Sprintf("\n[127.0.0.1]:%d %s", w.port, authorized(w.hostKey.PublicKey()))
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert := filepath.Join(t.TempDir(), "host-cert.pub")
			host := newKey(t, cert+".key", "")
			write(t, cert, hostCert(t, ca, host.PublicKey(), ssh.HostCert, c.principal, c.end)+"\n", 0o600)
			w := newWorld(t, "HostKey "+cert+".key", "HostCertificate "+cert)
			w.hostKey = host
			// Only the key with the certificate is used.
			write(t, w.knownFile(), c.known(w)+"\n", 0o600)
			o := w.options()
			if strings.HasPrefix(c.name, "plain") {
				w.known(host.PublicKey())
				old, _ := os.ReadFile(w.knownFile())
				write(t, w.knownFile(), c.known(w)+"\n"+string(old), 0o600)
			}
			if kind, err := w.try(o); kind != c.want {
				t.Errorf("got %v: %v; want %v", kind, err, c.want)
			}
		})
	}
}

// TestKnownTypeIsAskedFor: of several host keys the server shows the known one.
func TestKnownTypeIsAskedFor(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ecdsa")
	write(t, file, string(pem.EncodeToMemory(block)), 0o600)
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "HostKey "+file)
	for _, k := range []ssh.PublicKey{pub, w.hostKey.PublicKey()} {
		w.known(k)
		sh := w.dial(w.options())
		if !bytes.Equal(sh.HostKey(), k.Marshal()) {
			t.Errorf("with %s known another key was used", k.Type())
		}
	}
}

func TestKeys(t *testing.T) {
	ca := newKey(t, "", "")
	caFile := filepath.Join(t.TempDir(), "ca.pub")
	write(t, caFile, authorized(ca.PublicKey())+"\n", 0o600)
	w := newWorld(t, "TrustedUserCAKeys "+caFile, "MaxAuthTries 3")
	ssh1 := filepath.Join(w.home, ".ssh")
	rightKey, err := os.ReadFile(filepath.Join(ssh1, "id_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	reset := func(t *testing.T) {
		t.Helper()
		for _, n := range []string{"id_ed25519", "id_ed25519-cert.pub", "other", "config"} {
			if err := os.RemoveAll(filepath.Join(ssh1, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	denied := fmt.Sprintf("127.0.0.1: ssh could not log in\n  ssh: root@127.0.0.1: Permission denied (publickey")
	t.Run("no key", func(t *testing.T) {
		reset(t)
		kind, err := w.try(w.options())
		if kind != NoLogin || !strings.HasPrefix(err.Error(), denied) || !strings.HasSuffix(err.Error(), "hint: gomover uses your ssh settings; try \"ssh 127.0.0.1 true\"") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("wrong key", func(t *testing.T) {
		reset(t)
		newKey(t, filepath.Join(ssh1, "id_ed25519"), "")
		if kind, err := w.try(w.options()); kind != NoLogin {
			t.Errorf("got %v", err)
		}
	})
	t.Run("named key", func(t *testing.T) {
		reset(t)
		newKey(t, filepath.Join(ssh1, "id_ed25519"), "")
		write(t, filepath.Join(ssh1, "other"), string(rightKey), 0o600)
		o := w.options()
		o.Identities = []string{filepath.Join(ssh1, "other")}
		if kind, err := w.try(o); kind != 0 {
			t.Error(err)
		}
	})
	t.Run("open permissions", func(t *testing.T) {
		reset(t)
		write(t, filepath.Join(ssh1, "id_ed25519"), string(rightKey), 0o644)
		if kind, err := w.try(w.options()); kind != NoLogin || !strings.Contains(err.Error(), "permissions 0644 are too open") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("IdentityFile with tokens", func(t *testing.T) {
		reset(t)
		write(t, filepath.Join(ssh1, "key-root-127.0.0.1"), string(rightKey), 0o600)
		w.config("Match host 127.0.0.1 user root\n IdentityFile=~/.ssh/key-%r-%h\n")
		if kind, err := w.try(w.options()); kind != 0 {
			t.Error(err)
		}
	})
	t.Run("passphrase", func(t *testing.T) {
		reset(t)
		priv, err := ssh.ParseRawPrivateKey(rightKey)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ssh.MarshalPrivateKeyWithPassphrase(priv, "", []byte("open sesame"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(ssh1, "id_ed25519"), string(pem.EncodeToMemory(block)), 0o600)
		o := w.options()
		kind, err := w.try(o)
		if kind != NoLogin || !strings.Contains(err.Error(), "needs a passphrase and nobody can be asked") {
			t.Errorf("without a person: %v", err)
		}
		p := &person{answers: []string{"wrong", "open sesame"}}
		o.Prompt = p
		if kind, err := w.try(o); kind != 0 || len(p.asked) != 2 {
			t.Errorf("got %v after %q", err, p.asked)
		}
	})
	t.Run("passphrase of a key nobody wants", func(t *testing.T) {
		reset(t)
		newKey(t, filepath.Join(ssh1, "id_ed25519"), "secret")
		p := &person{answers: []string{"secret"}}
		o := w.options()
		o.Prompt = p
		o.Extra = append(o.Extra, "PasswordAuthentication=no", "KbdInteractiveAuthentication=no")
		if kind, err := w.try(o); kind != NoLogin || len(p.asked) != 0 {
			t.Errorf("got %v after %q", err, p.asked)
		}
	})
	t.Run("certificate", func(t *testing.T) {
		reset(t)
		k := newKey(t, filepath.Join(ssh1, "id_ed25519"), "")
		write(t, filepath.Join(ssh1, "id_ed25519-cert.pub"), hostCert(t, ca, k.PublicKey(), ssh.UserCert, "root", time.Now().Add(time.Hour))+"\n", 0o600)
		if kind, err := w.try(w.options()); kind != 0 {
			t.Error(err)
		}
	})
	t.Run("agent", func(t *testing.T) {
		reset(t)
		ring := agent.NewKeyring()
		right, err := ssh.ParseRawPrivateKey(rightKey)
		if err != nil {
			t.Fatal(err)
		}
		// More keys than the server has patience for, the right one last.
		for i := range 5 {
			newKey(t, filepath.Join(ssh1, "k"+strconv.Itoa(i)), "")
			text, _ := os.ReadFile(filepath.Join(ssh1, "k"+strconv.Itoa(i)))
			k, err := ssh.ParseRawPrivateKey(text)
			if err == nil {
				err = ring.Add(agent.AddedKey{PrivateKey: k})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: right}); err != nil {
			t.Fatal(err)
		}
		o := w.options()
		o.AgentSocket = serveAgent(t, ring)
		if kind, _ := w.try(o); kind != NoLogin {
			t.Error("too many keys did not matter")
		}
		t.Log("# a public key file points at the right one")
		write(t, filepath.Join(ssh1, "right.pub"), authorized(w.client.PublicKey())+"\n", 0o644)
		o.Identities = []string{filepath.Join(ssh1, "right.pub")}
		o.Extra = append(o.Extra, "IdentitiesOnly=yes")
		if kind, err := w.try(o); kind != 0 {
			t.Error(err)
		}
		t.Log("# IdentityAgent wins over the option, none means none")
		o.Extra = append(o.Extra, "IdentityAgent=none")
		if kind, _ := w.try(o); kind != NoLogin {
			t.Error("agent was used")
		}
	})
}

func serveAgent(t *testing.T, a agent.Agent) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				agent.ServeAgent(a, c)
				c.Close()
			}()
		}
	}()
	return path
}

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
			o.Extra, o.Jump, o.ConnectTimeout = nil, c.jump, 2*time.Second
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
	o := Options{ConfigFiles: []string{"none"}, Home: homeDir(t), LocalUser: "me", ConnectTimeout: time.Second}
	port := freePort(t)
	// A listener that never answers.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent := l.Addr().(*net.TCPAddr).Port
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
		_, err := Dial(t.Context(), c.target, o)
		if kindOf(err) != c.want || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%+v: got %v: %v; want %v with %q", c.target, kindOf(err), err, c.want, c.text)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, Target{Host: "127.0.0.1", Port: silent}, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}
