package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// world is a user with a home, and a host "far" with a real sshd and another
// home.
type world struct {
	t         testing.TB
	near      string // home and working directory of the user
	far       string // home on the far host
	dir       string // sshd's files
	addr      string // sshd's address
	port      int
	inside    []string // words before the program, to run it in a namespace
	sshdIn    []string // the same for sshd
	extra     []string // environment of the program
	client    ssh.Signer
	hostKey   ssh.PublicKey
	sshdExtra []string // lines of sshd_config
	stop      func()   // kills sshd and what it started
}

// newWorld starts sshd on loopback. extra are lines of sshd_config.
func newWorld(t testing.TB, extra ...string) *world {
	t.Helper()
	w := newWorldCold(t, extra...)
	w.warm()
	return w
}

// newWorldCold is a world whose far host has never seen the program.
func newWorldCold(t testing.TB, extra ...string) *world {
	t.Helper()
	w := &world{t: t, addr: "127.0.0.1"}
	w.setUp(extra...)
	return w
}

// newLocal is a world without a far host.
func newLocal(t testing.TB) *world {
	t.Helper()
	return &world{t: t, near: t.TempDir(), stop: func() {}}
}

func (w *world) setUp(extra ...string) {
	t := w.t
	t.Helper()
	base := t.TempDir()
	w.near, w.far, w.dir = filepath.Join(base, "near"), filepath.Join(base, "far"), filepath.Join(base, "sshd")
	for _, d := range []string{w.near, w.far, w.dir, filepath.Join(w.near, ".ssh"), filepath.Join(w.far, "tmp")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	host := newKey(t, filepath.Join(w.dir, "host_key"))
	w.client = newKey(t, filepath.Join(w.near, ".ssh", "id_ed25519"))
	write(t, filepath.Join(w.dir, "authorized_keys"), string(ssh.MarshalAuthorizedKey(w.client.PublicKey())))
	w.hostKey, w.sshdExtra = host.PublicKey(), extra
	w.sshd()
}

// warmUp guards the one upload whose result all worlds share.
var warmUp sync.Mutex

// warm puts the agent where the first upload of this test process has put it,
// which saves most of the time of a short run. That upload is made for a world
// of its own.
func (w *world) warm() {
	t := w.t
	t.Helper()
	warmUp.Lock()
	defer warmUp.Unlock()
	kept := filepath.Join(filepath.Dir(program), "agent")
	if _, err := os.Stat(kept); err != nil {
		v := newWorldCold(t)
		put(t, filepath.Join(v.near, "first"), []byte("first"))
		v.ok("first", "far:")
		v.noAgent(agentEnds)
		linkAll(t, filepath.Join(v.far, ".cache", "gomover"), kept)
	}
	linkAll(t, kept, filepath.Join(w.far, ".cache", "gomover"))
}

// linkAll gives all files of one directory a name in another one.
func linkAll(t testing.TB, from, to string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(from, "gomover-*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("agents in %s: %v, %v; want one", from, names, err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Link(name, filepath.Join(to, filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
}

// known makes key the only host key that the user knows.
func (w *world) known(key ssh.PublicKey) {
	w.t.Helper()
	write(w.t, filepath.Join(w.near, ".ssh", "known_hosts"), fmt.Sprintf("[%s]:%d %s", w.addr, w.port, ssh.MarshalAuthorizedKey(key)))
}

// config writes the user's ssh configuration, with more lines for the host.
func (w *world) config(more string) {
	w.t.Helper()
	write(w.t, filepath.Join(w.near, ".ssh", "config"), fmt.Sprintf(
		"Host far\n  HostName %s\n  Port %d\n  User root\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  UserKnownHostsFile %s/.ssh/known_hosts\n  IdentityFile %s/.ssh/id_ed25519\n%s",
		w.addr, w.port, w.near, w.near, more))
}

// sshd starts the server on a port of its own, and tells the user's ssh of it.
func (w *world) sshd() {
	t := w.t
	t.Helper()
	if _, err := os.Stat("/usr/sbin/sshd"); err != nil {
		t.Fatal("no /usr/sbin/sshd here; run: make test-deps")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	// Between asking for a free port and using it, another test may take it.
	for range 10 {
		w.port = freePort(t)
		if w.trySSHD() {
			w.known(w.hostKey)
			w.config("")
			return
		}
	}
	t.Fatalf("sshd does not start:\n%s", get(t, filepath.Join(w.dir, "log")))
}

// trySSHD tells whether sshd listens on the world's port.
func (w *world) trySSHD() bool {
	t := w.t
	t.Helper()
	// The first line of a keyword counts.
	lines := append(append([]string{}, w.sshdExtra...),
		"Port "+strconv.Itoa(w.port), "ListenAddress "+w.addr, "HostKey "+filepath.Join(w.dir, "host_key"), "PidFile none",
		"AuthorizedKeysFile "+filepath.Join(w.dir, "authorized_keys"), "PermitRootLogin yes",
		"StrictModes no", "UsePAM no", "LogLevel VERBOSE", "MaxStartups 100",
		// All users of these tests share one account, so each gets a home by
		// other means, and a login starts there.
		"SetEnv HOME="+w.far+" TMPDIR="+filepath.Join(w.far, "tmp")+" "+coverDir+"="+os.Getenv(coverDir),
		`ForceCommand cd "$HOME" && exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"`)
	config, log := filepath.Join(w.dir, "sshd_config"), filepath.Join(w.dir, "log")
	write(t, config, strings.Join(lines, "\n")+"\n")
	write(t, log, "")
	words := append(append([]string{}, w.sshdIn...), "/usr/sbin/sshd", "-D", "-f", config, "-E", log)
	cmd := exec.Command(words[0], words[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed
		close(ended)
	}()
	w.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	t.Cleanup(w.stop)
	up := false
	await(t, patience, "sshd listens or ends", func() bool {
		up = strings.Contains(string(get(t, log)), "Server listening")
		select {
		case <-ended:
			return true
		default:
			return up
		}
	})
	return up
}

// env is the environment of the program: nothing of the test's own user.
func (w *world) env() []string {
	return append([]string{
		"HOME=" + w.near, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "USER=root", "LANG=C.UTF-8", "GOMOVER_CONFIG=", "GOTRACEBACK=all",
		coverDir + "=" + os.Getenv(coverDir),
	}, w.extra...)
}

// kill ends the agents, of which there must be one at least, as a failing machine
// does.
func (w *world) kill() {
	w.t.Helper()
	w.killAll(w.running())
}

// running are the agents, of which there must be one at least.
func (w *world) running() []int {
	w.t.Helper()
	pids := w.agents()
	if len(pids) == 0 {
		w.t.Fatal("there is no agent to kill any more")
	}
	return pids
}

// killAll ends processes, some of which may have ended by themselves.
func (w *world) killAll(pids []int) {
	w.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			w.t.Errorf("killing an agent: %v", err)
		}
	}
}

// agents are the processes that run a program of the far home.
func (w *world) agents() (pids []int) {
	w.t.Helper()
	list, err := os.ReadDir("/proc")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range list {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
		if err == nil && strings.HasPrefix(exe, w.far+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// noAgent demands that no agent is left within the time it may take.
func (w *world) noAgent(limit time.Duration) {
	w.t.Helper()
	await(w.t, limit, "the agent has ended", func() bool { return len(w.agents()) == 0 })
}

// agentEnds is how long an agent may outlive its connection: 2 s, and some time
// for a busy machine to notice; less than the 30 s after which it gives up what is silent.
const agentEnds = 20 * time.Second

// leftovers lists unfinished files and journals below dirs.
func leftovers(t testing.TB, dirs ...string) (found []string) {
	t.Helper()
	for _, d := range dirs {
		err := filepath.WalkDir(d, func(p string, e os.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(e.Name(), ".gomover-") {
				found = append(found, p)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return found
}

// clean demands that a finished job has left nothing unfinished, and no agent.
func (w *world) clean(dirs ...string) {
	w.t.Helper()
	if l := leftovers(w.t, dirs...); len(l) > 0 {
		w.t.Errorf("left behind: %v", l)
	}
	if w.far != "" {
		w.noAgent(agentEnds)
	}
}

// newKey makes a key pair whose private half is at path.
func newKey(t testing.TB, path string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(pem.EncodeToMemory(block)))
	return signer
}

// write makes a file with mode 0600, and its directory.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
