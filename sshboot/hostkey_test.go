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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
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
