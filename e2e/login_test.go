package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/wire"
)

// newFile is a world with a file f to push.
func newFile(t *testing.T, extra ...string) *world {
	t.Helper()
	w := newWorld(t, extra...)
	put(t, filepath.Join(w.near, "f"), content(60, 100000))
	return w
}

// refused runs a push that must end in code with the whole of standard error
// after the plain log being want.
func (w *world) refused(code int, want string, args ...string) *result {
	w.t.Helper()
	r := w.run(append(append([]string{"-q"}, args...), "f", "far:g")...)
	if r.code != code || r.err != want {
		w.t.Errorf("want exit %d and\n%s\ngot:\n%v", code, want, r)
	}
	missing(w.t, filepath.Join(w.far, "g"))
	return r
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	w := newFile(t)
	w.stop()
	w.refused(7, fmt.Sprintf("gomover: far: no ssh connection to 127.0.0.1 port %d: connection refused\n", w.port))

	t.Log("# a host that does not answer")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.port = l.Addr().(*net.TCPAddr).Port
	w.config("")
	r := w.run("-q", "--connect-timeout=1s", "f", "far:g")
	r.want(t, 7, "gomover: far: ")
	if r.took > 18*time.Second { // without, it is 20 s
		t.Errorf("it took %v", r.took)
	}

	r = w.run("-q", "-o", "ConnectTimeout=1", "f", "far:g")
	r.want(t, 7, "gomover: far: no answer from the ssh server within 1s")
	if r.took > 18*time.Second { // without, it is 20 s
		t.Errorf("with ConnectTimeout it took %v", r.took)
	}

	t.Log("# a name without address")
	r = w.run("-q", "f", "nowhere.invalid:g")
	r.want(t, 7, "gomover: nowhere.invalid: ")
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	w := newFile(t)
	other := newKey(t, filepath.Join(w.dir, "other"))
	write(t, filepath.Join(w.near, ".ssh", "known_hosts"), "")
	w.refused(7, "gomover: far: ssh refused the host key\n"+
		"  ssh: Host key verification failed.\n"+
		"  hint: run \"ssh far true\" once and check the fingerprint\n")
	w.known(other.PublicKey())
	known := filepath.Join(w.near, ".ssh", "known_hosts")
	w.refused(7, "gomover: far: ssh refused the host key: it is not the one in "+known+", line 1\n"+
		"  ssh: offered ssh-ed25519 "+ssh.FingerprintSHA256(w.hostKey)+"\n"+
		"  ssh: known   ssh-ed25519 "+ssh.FingerprintSHA256(other.PublicKey())+"\n"+
		"  hint: someone may be answering in its place: ask its administrator before anything else\n"+
		fmt.Sprintf("  hint: if the new key is right: ssh-keygen -f %s -R '[127.0.0.1]:%d'\n", known, w.port))
	if got := get(t, known); !strings.Contains(string(got), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(other.PublicKey())))) {
		t.Errorf("known_hosts was changed: %s", got)
	}
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	w := newFile(t)
	newKey(t, filepath.Join(w.near, ".ssh", "id_ed25519"))
	w.refused(7, "gomover: far: ssh could not log in\n"+
		"  ssh: root@127.0.0.1: Permission denied (publickey,password,keyboard-interactive).\n"+
		"  hint: gomover uses your ssh settings; try \"ssh far true\"\n")
}

// withPassword makes an account of the system whose password is known, until the
// test ends.
func withPassword(t *testing.T, w *world) (name string) {
	t.Helper()
	name = fmt.Sprintf("gmv%d", os.Getpid()%100000)
	hash, err := exec.Command("openssl", "passwd", "-6", "right").Output()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("useradd", "-M", "-d", w.far, "-s", "/bin/sh", "-p", strings.TrimSpace(string(hash)), name).CombinedOutput(); err != nil {
		t.Fatalf("useradd: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("userdel", name).CombinedOutput(); err != nil {
			t.Errorf("userdel: %v: %s", err, out)
		}
	})
	for d := w.far; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "-R", name, w.far).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	return name
}

// TestPassword types a password at the terminal, a wrong one and the right one.
func TestPassword(t *testing.T) {
	t.Parallel()
	w := newFile(t, "PasswordAuthentication yes", "KbdInteractiveAuthentication no", "PubkeyAuthentication no")
	name := withPassword(t, w)
	w.config("")
	for _, tt := range []struct {
		password string
		code     int
	}{{"wrong", 7}, {"right", 0}} {
		cmd := exec.Command(program, "--progress=plain", "f", name+"@far:g")
		cmd.Dir, cmd.Env = w.near, w.env()
		f, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		var screen lockedBuffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, 4096)
			asked := 0
			for {
				n, err := f.Read(buf)
				_, _ = screen.Write(buf[:n]) // never an error
				if k := strings.Count(strings.ToLower(screen.String()), "password: "); k > asked {
					asked = k
					// Who types waits until nothing is shown any more.
					await(t, patience, "the terminal hides what is typed", func() bool {
						mode, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
						return err != nil || mode.Lflag&unix.ECHO == 0
					})
					fmt.Fprintf(f, "%s\n", tt.password)
				}
				if err != nil {
					return // the terminal ends with the program
				}
			}
		}()
		timer := time.AfterFunc(runLimit, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // its code is looked at
		timer.Stop()
		<-done
		f.Close()
		if code := cmd.ProcessState.ExitCode(); code != tt.code {
			t.Errorf("password %q: exit %d, want %d; the terminal showed\n%s", tt.password, code, tt.code, screen.String())
		}
		if strings.Contains(screen.String(), tt.password) && tt.password != "wrong" {
			t.Errorf("the password was shown:\n%s", screen.String())
		}
	}
	holds(t, filepath.Join(w.far, "g"), content(60, 100000))

	t.Log("# Ctrl-C at the question")
	cmd := exec.Command(program, "-q", "f", name+"@far:h")
	cmd.Dir, cmd.Env = w.near, w.env()
	f, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf, seen := make([]byte, 4096), ""
	for !strings.Contains(seen, "password: ") {
		n, err := f.Read(buf)
		if seen += string(buf[:n]); err != nil {
			t.Fatalf("no question: %v, %q", err, seen)
		}
	}
	if _, err := f.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(runLimit, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // its code is looked at
	timer.Stop()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("Ctrl-C at the question: exit %d, want 130", code)
	}

	t.Log("# without a terminal nothing can be asked")
	r := w.run("-q", "f", name+"@far:h")
	r.want(t, 7, "gomover: far: ssh could not log in\n")
}

// TestNoisyLogin prints a banner before every command.
func TestNoisyLogin(t *testing.T) {
	t.Parallel()
	w := newFile(t, `ForceCommand cd "$HOME"; echo "Welcome to far, have a nice day"; exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"`)
	r := w.run("-q", "f", "far:g")
	if r.code != 0 {
		want := "gomover: far: unexpected text before the agent's greeting: \"Welcome to far, have a nice day\"\n" +
			"  hint: the login files print text when there is no terminal; make them silent for \"ssh far true\"\n"
		if r.code != 8 || r.err != want {
			t.Errorf("want exit 8 and\n%s\ngot:\n%v", want, r)
		}
		return
	}
	holds(t, filepath.Join(w.far, "g"), content(60, 100000))
}

// TestLoginThatRefusesCommands ends each session with words of its own.
func TestLoginThatRefusesCommands(t *testing.T) {
	t.Parallel()
	w := newWorldCold(t, `ForceCommand echo "This account is not available." >&2; exit 1`)
	put(t, filepath.Join(w.near, "f"), content(60, 100000))
	r := w.run("-q", "f", "far:g")
	r.want(t, 8, "gomover: far: ", "This account is not available.")
}

// TestNowhereToRun mounts every directory that might hold the agent without
// permission to run programs.
func TestNowhereToRun(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	script := filepath.Join(base, "session")
	// The mounts are seen by this session's namespace alone.
	write(t, script, `#!/bin/sh
exec unshare -m sh -c '
for d in "$HOME" /tmp /var/tmp /dev/shm /run /run/user; do
	[ -d "$d" ] && mount -t tmpfs -o noexec,size=64m tmpfs "$d"
done
mkdir -p "$HOME" && cd "$HOME" && exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
`)
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	// sshd reads the script before it mounts anything over it.
	w := newWorldCold(t, "ForceCommand exec /bin/sh "+script)
	put(t, filepath.Join(w.near, "f"), content(60, 100000))
	r := w.run("-q", "f", "far:g")
	r.want(t, 8, "gomover: far: no directory allows running the agent (tried ", ": no exec", "  hint: --agent-dir DIR, or install gomover there and use --agent PATH\n")
}

// TestAgentOption uses a program that is there already.
func TestAgentOption(t *testing.T) {
	t.Parallel()
	w := newWorldCold(t)
	put(t, filepath.Join(w.near, "f"), content(60, 100000))
	if err := os.Mkdir(filepath.Join(w.far, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(program, filepath.Join(w.far, "bin", "gomover")); err != nil {
		t.Fatal(err)
	}
	w.ok("--agent="+filepath.Join(w.far, "bin", "gomover"), "f", "far:g")
	holds(t, filepath.Join(w.far, "g"), content(60, 100000))
	missing(t, filepath.Join(w.far, ".cache"))
	r := w.run("-q", "--agent=/nowhere/gomover", "f", "far:h")
	r.want(t, 8, "gomover: far: ", "/nowhere/gomover")

	t.Log("# an agent of another time")
	old := filepath.Join(w.far, "bin", "old")
	write(t, old, "#!/bin/sh\nprintf 'GOMOVER-BOOT-%s hello 99.0 99 linux amd64 %s\\n' 5e1d0c7b9a42 token\nexec cat >/dev/null\n")
	if err := os.Chmod(old, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.far, "g")); err != nil {
		t.Fatal(err)
	}
	w.refused(8, fmt.Sprintf("gomover: far: agent speaks protocol 99, this program %d\n"+
		"  hint: remove --agent to let gomover bring its own\n", wire.Version), "--agent="+old)
}

// TestUpload puts the program into its place once, and leaves nothing else.
func TestUpload(t *testing.T) {
	t.Parallel()
	w := newWorldCold(t)
	put(t, filepath.Join(w.near, "f"), content(60, 100000))
	for range 2 {
		w.ok("f", "far:g")
	}
	names, err := os.ReadDir(filepath.Join(w.far, ".cache", "gomover"))
	if err != nil || len(names) != 1 {
		t.Errorf("%v, %v in the agent's directory, want one file", names, err)
	}
	got := list(t, w.far)
	delete(got, ".cache")
	for name := range got {
		if name != "g" && name != "tmp" && !strings.HasPrefix(name, ".cache/gomover") && !strings.HasPrefix(name, ".local") {
			t.Errorf("%s was left in the far home", name)
		}
	}
}

// TestAddressForms logs in by address, with the port as an option and in a URL.
func TestAddressForms(t *testing.T) {
	t.Parallel()
	w := newFile(t)
	port := fmt.Sprint(w.port)
	key := "-i" + filepath.Join(w.near, ".ssh", "id_ed25519")
	w.ok(key, "-P", port, "f", "root@127.0.0.1:a")
	holds(t, filepath.Join(w.far, "a"), content(60, 100000))
	w.ok(key, "f", "ssh://root@127.0.0.1:"+port+"/~/b")
	holds(t, filepath.Join(w.far, "b"), content(60, 100000))
	w.ok(key, "f", "ssh://root@127.0.0.1:"+port+w.far+"/c")
	holds(t, filepath.Join(w.far, "c"), content(60, 100000))
	w.ok("f", "far:~/d")
	holds(t, filepath.Join(w.far, "d"), content(60, 100000))
	w.run("-q", "f", "far:2222:/d").want(t, 5, "gomover: far:2222:/d: no such directory: 2222:\n", "  hint: a port is given as -P 2222 or ssh://far:2222/d\n")
}
