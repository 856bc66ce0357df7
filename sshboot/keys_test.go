package sshboot

import (
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

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
	denied := "127.0.0.1: ssh could not log in\n  ssh: root@127.0.0.1: Permission denied (publickey"
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
