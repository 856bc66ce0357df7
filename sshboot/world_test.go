package sshboot

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gomover/gomover/internal/leak"
)

// patience bounds what comes about at once, but for a machine that has much else to do.
const patience = 2 * time.Minute

// testAgent builds internal/testagent once per test process.
var testAgent = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sshboot-agent-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "testagent")
	out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", path, "./internal/testagent").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the test agent: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := leak.Main(m)
	if path, err := testAgent(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// testProgram is the built agent: its bytes and their hash.
var testProgram = sync.OnceValues(func() ([]byte, string) {
	path, err := testAgent()
	if err != nil {
		return nil, err.Error()
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err.Error()
	}
	sum := sha256.Sum256(data)
	return data, hex.EncodeToString(sum[:])
})

// bootOptions are those of a program that runs here.
func bootOptions(t *testing.T) BootOptions {
	t.Helper()
	data, hash := testProgram()
	if data == nil {
		t.Fatal(hash)
	}
	return BootOptions{
		Version: "1.2.3", Hash: hash, GOOS: runtime.GOOS, GOARCH: runtime.GOARCH,
		Program: func() (io.ReadCloser, int64, error) {
			return io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
		},
		Keep: true, Args: []string{"agent"}, Protocol: 1,
		Timeout: patience,
	}
}

// newKey makes a key pair; the private file is at path if that is not "".
func newKey(t *testing.T, path, passphrase string) ssh.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	if path == "" {
		return signer
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(priv, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(pem.EncodeToMemory(block)), 0o600)
	return signer
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func authorized(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// homeDir is an empty home with a .ssh in it.
func homeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// world is a client's home and a real sshd on loopback.
type world struct {
	t       *testing.T
	home    string // the client's, also the server's through SetEnv
	farHome string
	port    int
	hostKey ssh.Signer
	client  ssh.Signer
	log     string
	dir     string
	extra   []string
	stop    func()
}

// newWorld starts the system's sshd with its own configuration. extra are lines
// of sshd_config.
func newWorld(t *testing.T, extra ...string) *world {
	t.Helper()
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Fatal("no /usr/sbin/sshd here; run: make test-deps")
	}
	w := &world{t: t, home: homeDir(t), farHome: homeDir(t)}
	dir := t.TempDir()
	w.hostKey = newKey(t, filepath.Join(dir, "host_key"), "")
	w.client = newKey(t, filepath.Join(w.home, ".ssh", "id_ed25519"), "")
	write(t, filepath.Join(dir, "authorized_keys"), authorized(w.client.PublicKey())+"\n", 0o600)
	w.log = filepath.Join(dir, "log")
	w.dir, w.extra = dir, extra
	for w.port = freePort(t); !w.start(sshd); w.port = freePort(t) {
		t.Logf("somebody was faster at port %d", w.port)
	}
	w.known(w.hostKey.PublicKey())
	return w
}

// restart serves the same port with further lines of sshd_config.
func (w *world) restart(extra ...string) *world {
	w.t.Helper()
	w.stop()
	w.waitFree()
	w.extra = append(extra, w.extra...)
	if !poll(func() bool { return w.start("/usr/sbin/sshd") }) {
		w.t.Fatalf("port %d is not given back", w.port)
	}
	return w
}

// start starts sshd and waits until it serves; false: somebody else has its port.
func (w *world) start(sshd string) bool {
	t := w.t
	t.Helper()
	// The first line of a keyword counts.
	lines := append(append([]string{}, w.extra...),
		"Port "+strconv.Itoa(w.port), "ListenAddress 127.0.0.1",
		"HostKey "+filepath.Join(w.dir, "host_key"), "PidFile none",
		"AuthorizedKeysFile "+filepath.Join(w.dir, "authorized_keys"),
		"StrictModes no", "UsePAM no", "LogLevel VERBOSE", "MaxStartups 100",
		"SetEnv HOME="+w.farHome+" TMPDIR="+filepath.Join(w.farHome, "tmp"),
	)
	config := filepath.Join(w.dir, "sshd_config")
	write(t, config, strings.Join(lines, "\n")+"\n", 0o600)
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(w.log)
	cmd := exec.Command(sshd, "-D", "-f", config, "-E", w.log)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	w.stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		<-ended
	})
	t.Cleanup(w.stop)
	if !w.waitUp(ended) {
		text, _ := os.ReadFile(w.log)
		if text = text[min(len(before), len(text)):]; !bytes.Contains(text, []byte("Address already in use")) {
			t.Fatalf("sshd did not start:\n%s", text)
		}
		return false
	}
	return true
}

// waitUp polls the port until a server greets there: a process of the system
// gives no other sign. Being connected is none, since on loopback a socket may
// be connected to itself. False: sshd has ended, or says nothing.
func (w *world) waitUp(ended <-chan struct{}) bool {
	up := false
	poll(func() bool {
		select {
		case <-ended:
			return true
		default:
		}
		c, err := net.DialTimeout("tcp", w.addr(), 5*time.Second)
		if err != nil {
			return false
		}
		defer c.Close()
		if c.LocalAddr().String() == c.RemoteAddr().String() {
			return false
		}
		head := make([]byte, 4)
		c.SetDeadline(time.Now().Add(5 * time.Second)) // it may be whoever has the port now
		_, err = io.ReadFull(c, head)
		up = err == nil && string(head) == "SSH-"
		return up
	})
	return up
}

// waitFree polls the port until nobody listens there: a process that sshd has
// just forked for a connection shares its socket, and outlives it.
func (w *world) waitFree() {
	w.t.Helper()
	var err error
	if !poll(func() bool {
		var l net.Listener
		if l, err = net.Listen("tcp", w.addr()); err == nil {
			l.Close()
		}
		return err == nil
	}) {
		w.t.Fatalf("the old sshd still listens: %v", err)
	}
}

// poll asks until done, as long as patience lasts.
func poll(done func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (w *world) addr() string { return "127.0.0.1:" + strconv.Itoa(w.port) }

func (w *world) known(key ssh.PublicKey) {
	write(w.t, filepath.Join(w.home, ".ssh", "known_hosts"), fmt.Sprintf("[127.0.0.1]:%d %s\n", w.port, authorized(key)), 0o600)
}

func (w *world) config(text string) {
	write(w.t, filepath.Join(w.home, ".ssh", "config"), text, 0o600)
}

func (w *world) options() Options {
	cfg := filepath.Join(w.home, ".ssh", "config")
	if _, err := os.Stat(cfg); err != nil {
		cfg = "none"
	}
	return Options{
		ConfigFiles: []string{cfg}, Home: w.home, LocalUser: "root", ConnectTimeout: patience,
		Extra: []string{"GlobalKnownHostsFile=none"},
	}
}

func (w *world) target() Target { return Target{Host: "127.0.0.1", Port: w.port} }

func (w *world) dial(o Options) Shell {
	w.t.Helper()
	sh, err := Dial(w.t.Context(), w.target(), o)
	if err != nil {
		text, _ := os.ReadFile(w.log)
		w.t.Fatalf("dialling: %v\n%s", err, text)
	}
	w.t.Cleanup(func() { sh.Close() })
	return sh
}

func boot(t *testing.T, sh Shell, o BootOptions) *Booted {
	t.Helper()
	b, err := Boot(t.Context(), sh, o)
	if err != nil {
		t.Fatalf("booting: %v", err)
	}
	echo(t, b)
	return b
}

// echo proves that the stream behind the greeting is whole both ways, then ends
// the agent.
func echo(t *testing.T, b *Booted) {
	t.Helper()
	data := make([]byte, 1<<20)
	rand.Read(data)
	errs := make(chan error, 1)
	go func() {
		_, err := b.Write(data)
		if err == nil {
			err = b.CloseWrite()
		}
		errs <- err
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("echo: %d bytes, error %v; want %d equal bytes", len(got), err, len(data))
	}
	if err := <-errs; err != nil {
		t.Fatalf("echo: writing: %v", err)
	}
	if err := b.Wait(); err != nil {
		t.Fatalf("agent ended with %v; stderr %q", err, b.Stderr())
	}
	b.Close()
}

// leftovers lists what an upload must not leave behind.
func leftovers(t *testing.T, dirs ...string) {
	t.Helper()
	for _, d := range dirs {
		err := filepath.WalkDir(d, func(p string, e os.DirEntry, err error) error {
			if err == nil && strings.Contains(e.Name(), "-upload-") {
				t.Errorf("left behind: %s", p)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func kindOf(err error) Kind {
	if e, ok := err.(*Error); ok {
		return e.Kind
	}
	return 0
}
