package sshboot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomover/gomover/sshboot/boottest"
	"net"
)

// newUser makes an account with the given login shell, and removes it afterwards.
func newUser(t *testing.T, shell string) (name, home string) {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		t.Fatalf("%s is missing; run: make test-deps", shell)
	}
	name = fmt.Sprintf("gm%s%d", shell[:2], os.Getpid())
	home = filepath.Join("/var/tmp", name)
	if out, err := exec.Command("useradd", "-m", "-d", home, "-s", path, "-p", "*", name).CombinedOutput(); err != nil {
		t.Fatalf("making user %s: %v\n%s", name, err, out)
	}
	t.Cleanup(func() {
		// The last processes of a login end a moment after its connection.
		var out []byte
		var err error
		if !poll(func() bool {
			out, err = exec.Command("userdel", "-r", name).CombinedOutput()
			var exit *exec.ExitError
			return err == nil || errors.As(err, &exit) && (exit.ExitCode() == 12 || exit.ExitCode() == 6)
		}) {
			t.Errorf("removing user %s: %v\n%s", name, err, out)
		}
		os.RemoveAll(home)
	})
	return name, home
}

// TestLoginUsers goes the whole way through sshd to users whose login shells are
// the least like sh, and whose login files print text.
func TestLoginUsers(t *testing.T) {
	for _, c := range []struct{ shell, file, text string }{
		{"fish", ".config/fish/config.fish", "echo Welcome to fish\n"},
		{"tcsh", ".cshrc", "echo Welcome to tcsh\n"},
		{"zsh", ".zshenv", "print Welcome to zsh\n"},
		{"bash", ".bashrc", "echo Welcome to bash\n"},
	} {
		t.Run(c.shell, func(t *testing.T) {
			name, home := newUser(t, c.shell)
			w := newWorld(t, "SetEnv TMPDIR=/tmp") // the user's own home
			account, err := user.Lookup(name)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(home, c.file), c.text, 0o644)
			if out, err := exec.Command("chown", "-R", account.Uid+":"+account.Gid, home).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			// The keys must be readable for sshd as that user.
			keys := filepath.Join(home, ".ssh", "authorized_keys")
			write(t, keys, authorized(w.client.PublicKey())+"\n", 0o644)
			if err := os.Chmod(filepath.Dir(keys), 0o755); err != nil {
				t.Fatal(err)
			}
			w = w.restart("AuthorizedKeysFile " + keys)
			sh, err := Dial(t.Context(), Target{User: name, Host: "127.0.0.1", Port: w.port}, w.options())
			if err != nil {
				text, _ := os.ReadFile(w.log)
				t.Fatalf("%v\n%s", err, text)
			}
			defer sh.Close()
			b := boot(t, sh, bootOptions(t))
			if !b.Uploaded || b.Path != filepath.Join(home, ".cache/gomover") || b.Banner != "Welcome to "+c.shell {
				t.Errorf("uploaded %v to %q behind banner %q", b.Uploaded, b.Path, b.Banner)
			}
			if b := boot(t, sh, bootOptions(t)); b.Uploaded {
				t.Error("uploaded again")
			}
			t.Log("# a login file that ends the shell")
			end := c.text + "exec true\n"
			write(t, filepath.Join(home, c.file), end, 0o644)
			_, err = Boot(t.Context(), sh, bootOptions(t))
			if kindOf(err) != Noisy || !strings.Contains(err.Error(), `unexpected text before the agent's greeting: "Welcome to `+c.shell+`"`) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestPasswords asks a person, through both methods that do.
func TestPasswords(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := boottest.Start(l, boottest.Options{Home: t.TempDir(), Password: "sesame"})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	home := homeDir(t)
	write(t, filepath.Join(home, ".ssh", "known_hosts"), srv.KnownHosts(), 0o600)
	for _, c := range []struct {
		name, methods string
		answers       []string
		want          Kind
		asked         int
	}{
		{"keyboard", "keyboard-interactive", []string{"sesame"}, 0, 1},
		{"keyboard, second try", "keyboard-interactive", []string{"wrong", "sesame"}, 0, 2},
		{"keyboard, wrong", "keyboard-interactive", []string{"a", "b", "c", "d"}, NoLogin, 3},
		{"password", "password", []string{"sesame"}, 0, 1},
		{"password, wrong", "password", []string{"a", "b", "c", "d"}, NoLogin, 3},
		{"one after the other", "keyboard-interactive,password", []string{"a", "b", "c", "sesame"}, 0, 4},
		{"nobody", "password", nil, NoLogin, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &person{answers: c.answers}
			o := Options{ConfigFiles: []string{"none"}, Home: home, LocalUser: "me", Prompt: p, Extra: []string{"PreferredAuthentications=" + c.methods, "GlobalKnownHostsFile=none"}}
			sh, err := Dial(t.Context(), Target{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}, o)
			if kindOf(err) != c.want || len(p.asked) != c.asked {
				t.Errorf("got %v after %q; want %v after %d questions", err, p.asked, c.want, c.asked)
			}
			if err == nil {
				sh.Close()
			}
		})
	}
	t.Run("no person", func(t *testing.T) {
		o := Options{ConfigFiles: []string{"none"}, Home: home, LocalUser: "me"}
		_, err := Dial(t.Context(), Target{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}, o)
		if kindOf(err) != NoLogin {
			t.Errorf("got %v", err)
		}
	})
}
