package sshboot

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"io"
)

// localShell runs commands by a login shell here, as sshd would.
type localShell struct {
	shell []string
	env   []string
}

func (l localShell) Start(ctx context.Context, cmd string) (Process, error) {
	argv := append(append([]string(nil), l.shell...), "-c", cmd)
	c := exec.Command(argv[0], argv[1:]...)
	c.Env = l.env
	c.Dir = "/"
	child, err := startChild(c)
	if err != nil {
		return nil, err
	}
	p := &childProcess{child: child, shell: &program{live: map[*childProcess]bool{}}}
	p.undo = context.AfterFunc(ctx, child.end)
	return p, nil
}

func (l localShell) Run(ctx context.Context, cmd string, in io.Reader) ([]byte, error) {
	return run(ctx, l, cmd, in)
}
func (l localShell) Remote() netip.AddrPort           { return netip.AddrPort{} }
func (l localShell) HostKey() []byte                  { return nil }
func (l localShell) Canonical() (string, string, int) { return "", "far", 0 }
func (l localShell) Close() error                     { return nil }

var _ Shell = localShell{}

// farEnv is the environment of a far host with its own home.
func farEnv(home string) []string {
	return []string{"HOME=" + home, "TMPDIR=" + filepath.Join(home, "tmp"), "PATH=" + os.Getenv("PATH")}
}

// loginShells are the shells that the boot command must pass through.
var loginShells = [][]string{
	{"/bin/sh"}, {"dash"}, {"bash"}, {"zsh"}, {"fish"}, {"tcsh"}, {"busybox", "sh"},
}

func TestLoginShells(t *testing.T) {
	for _, argv := range loginShells {
		t.Run(strings.Join(argv, " "), func(t *testing.T) {
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Fatalf("%s is missing; run: make test-deps", argv[0])
			}
			home := homeDir(t)
			sh := localShell{argv, farEnv(home)}
			o := bootOptions(t)
			if b := boot(t, sh, o); !b.Uploaded {
				t.Error("first boot did not upload")
			}
			if b := boot(t, sh, o); b.Uploaded {
				t.Error("second boot uploaded")
			}
			leftovers(t, home)
		})
	}
}

// TestShWithin runs both stages by each Bourne-like shell in the place of sh,
// since sh is another program on every system.
func TestShWithin(t *testing.T) {
	for _, name := range []string{"dash", "bash", "zsh", "busybox"} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Fatalf("%s is missing; run: make test-deps", name)
			}
			home := homeDir(t)
			bin := filepath.Join(home, "bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			tools := []string{"sh"}
			if name == "busybox" {
				// The whole far side is busybox, as on a small system.
				tools = append(tools, "id", "ls", "uname", "head", "gzip", "cat", "wc", "mv", "rm", "mkdir", "rmdir", "chmod", "find", "tr", "cut", "dd")
			}
			for _, tool := range tools {
				if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
					t.Fatal(err)
				}
			}
			env := farEnv(home)
			if name == "busybox" {
				env[2] = "PATH=" + bin
			} else {
				env[2] = "PATH=" + bin + ":" + os.Getenv("PATH")
			}
			sh := localShell{[]string{"/bin/sh"}, env}
			o := bootOptions(t)
			if b := boot(t, sh, o); !b.Uploaded {
				t.Error("first boot did not upload")
			}
			if b := boot(t, sh, o); b.Uploaded {
				t.Error("second boot uploaded")
			}
			t.Log("# a copy for once is removed")
			o.Keep = false
			if err := os.RemoveAll(filepath.Join(home, ".cache")); err != nil {
				t.Fatal(err)
			}
			if b := boot(t, sh, o); !b.Uploaded {
				t.Error("did not upload")
			}
			if _, err := os.Stat(filepath.Join(home, ".cache/gomover")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("directory was left: %v", err)
			}
			leftovers(t, home)
		})
	}
}
