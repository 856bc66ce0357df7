package sshboot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// noexec is a login shell whose mount namespace has file systems without
// execution at the given places.
func noexec(dirs ...string) []string {
	script := ""
	for _, d := range dirs {
		script += "mount -t tmpfs -o noexec,mode=1777 tmpfs " + d + "&&"
	}
	return []string{"unshare", "-m", "/bin/sh", "-c", script + `mkdir -p "$HOME"&&exec /bin/sh "$@"`, "x"}
}

func TestNoExecFallsBack(t *testing.T) {
	home := homeDir(t)
	sh := localShell{noexec(home), farEnv(home)}
	tmp := t.TempDir()
	sh.env[1] = "TMPDIR=" + tmp
	o := bootOptions(t)
	b := boot(t, sh, o)
	if want := filepath.Join(tmp, "gomover-0"); b.Path != want {
		t.Errorf("uploaded to %q, want %q", b.Path, want)
	}
	st, err := os.Stat(filepath.Join(tmp, "gomover-0"))
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("directory in a shared place: %v %v, want 0700", st.Mode(), err)
	}
	if b := boot(t, sh, o); b.Uploaded {
		t.Error("copy in the temporary directory was not found")
	}
	leftovers(t, tmp)
}

func TestNowhereToExecute(t *testing.T) {
	sh := localShell{noexec("/tmp", "/var/tmp", "/dev/shm"), []string{"HOME=/tmp/home", "PATH=" + os.Getenv("PATH")}}
	_, err := Boot(t.Context(), sh, bootOptions(t))
	if kindOf(err) != CannotExecute {
		t.Fatalf("got %v", err)
	}
	want := "far: no directory allows running the agent (tried /tmp/home/.cache/gomover: no exec; /tmp/gomover-0: no exec; /var/tmp/gomover-0: no exec; /dev/shm/gomover-0: no exec)\n" +
		"  hint: --agent-dir DIR, or install gomover there and use --agent PATH"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestFullDiskFallsBack(t *testing.T) {
	home := homeDir(t)
	script := "mount -t tmpfs -o size=1m tmpfs " + home + `&&exec /bin/sh "$@"`
	sh := localShell{[]string{"unshare", "-m", "/bin/sh", "-c", script, "x"}, farEnv(home)}
	tmp := t.TempDir()
	sh.env[1] = "TMPDIR=" + tmp
	for _, gz := range []bool{true, false} {
		o := bootOptions(t)
		o.Keep = gz
		if b := boot(t, sh, o); !b.Uploaded || b.Path != filepath.Join(tmp, "gomover-0") {
			t.Errorf("uploaded %v to %q", b.Uploaded, b.Path)
		}
		os.RemoveAll(filepath.Join(tmp, "gomover-0"))
	}
	leftovers(t, tmp)
}

func TestAgentDir(t *testing.T) {
	t.Run("own", func(t *testing.T) {
		home := homeDir(t)
		dir := filepath.Join(home, "my dir", "deep")
		o := bootOptions(t)
		o.Dir = dir
		sh := localShell{[]string{"tcsh"}, farEnv(home)}
		if b := boot(t, sh, o); b.Path != "" && b.Path != dir || !b.Uploaded {
			t.Errorf("uploaded to %q, want %q", b.Path, dir)
		}
		if b := boot(t, sh, o); b.Uploaded {
			t.Error("uploaded again")
		}
	})
	t.Run("home", func(t *testing.T) {
		home := homeDir(t)
		o := bootOptions(t)
		o.Dir = "~/bin"
		if b := boot(t, localShell{[]string{"fish"}, farEnv(home)}, o); b.Path != filepath.Join(home, "bin") {
			t.Errorf("uploaded to %q", b.Path)
		}
	})
	t.Run("shared", func(t *testing.T) {
		home, dir := homeDir(t), t.TempDir()
		if err := os.Chmod(dir, 0o1777); err != nil {
			t.Fatal(err)
		}
		o := bootOptions(t)
		o.Dir = dir
		sh := localShell{[]string{"bash"}, farEnv(home)}
		if b := boot(t, sh, o); b.Path != filepath.Join(dir, "gomover-0") {
			t.Errorf("uploaded to %q", b.Path)
		}
		if b := boot(t, sh, o); b.Uploaded {
			t.Error("uploaded again")
		}
	})
}

// TestPlantedCopy puts a copy that claims to be right where others may write.
func TestPlantedCopy(t *testing.T) {
	for _, c := range []struct {
		name string
		mode os.FileMode
		uid  int
	}{{"writable by others", 0o777, 0}, {"of another user", 0o700, 12345}, {"readable by others", 0o755, 0}} {
		t.Run(c.name, func(t *testing.T) {
			home, tmp := homeDir(t), t.TempDir()
			o := bootOptions(t)
			dir := filepath.Join(tmp, "gomover-0")
			mark := filepath.Join(tmp, "was-run")
			write(t, filepath.Join(dir, o.copyName()), "#!/bin/sh\ntouch "+mark+"\necho "+o.Hash+"\n", 0o755)
			if err := errors.Join(os.Chmod(dir, c.mode), os.Chown(dir, c.uid, c.uid)); err != nil {
				t.Fatal(err)
			}
			sh := localShell{[]string{"sh"}, farEnv(home)}
			sh.env[1] = "TMPDIR=" + tmp
			if b := boot(t, sh, o); b.Path != filepath.Join(home, ".cache/gomover") {
				t.Errorf("uploaded to %q", b.Path)
			}
			if _, err := os.Stat(mark); err == nil {
				t.Error("the planted copy was run")
			}
		})
	}
}

// TestChangedCopy leaves a copy in the user's own cache which others could write
// to or which is none of his files: it is not even asked for its hash.
func TestChangedCopy(t *testing.T) {
	for name, change := range map[string]func(copy, mark string) error{
		"writable by the group": func(copy, _ string) error { return os.Chmod(copy, 0o770) },
		"writable by all":       func(copy, _ string) error { return os.Chmod(copy, 0o707) },
		"of another user":       func(copy, _ string) error { return os.Chown(copy, 12345, 12345) },
		"a link": func(copy, mark string) error {
			return errors.Join(os.Rename(copy, mark+".sh"), os.Symlink(mark+".sh", copy))
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := homeDir(t)
			o := bootOptions(t)
			dir, mark := filepath.Join(home, ".cache/gomover"), filepath.Join(t.TempDir(), "was-run")
			copy := filepath.Join(dir, o.copyName())
			write(t, copy, "#!/bin/sh\ntouch "+mark+"\necho "+o.Hash+"\n", 0o700)
			if err := errors.Join(os.Chmod(dir, 0o700), change(copy, mark)); err != nil {
				t.Fatal(err)
			}
			sh := localShell{[]string{"sh"}, farEnv(home)}
			if b := boot(t, sh, o); b.Path != dir {
				t.Errorf("uploaded to %q", b.Path)
			}
			if _, err := os.Stat(mark); err == nil {
				t.Error("the changed copy was run")
			}
			if b := boot(t, sh, o); b.Uploaded {
				t.Error("uploaded again")
			}
		})
	}
}

// TestCopyGoes has a copy vanish when it has been checked: a new one is brought.
func TestCopyGoes(t *testing.T) {
	home := homeDir(t)
	o := bootOptions(t)
	dir := filepath.Join(home, ".cache/gomover")
	write(t, filepath.Join(dir, o.copyName()), "#!/bin/sh\nrm -f \"$0\"\necho "+o.Hash+"\n", 0o700)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	sh := localShell{[]string{"sh"}, farEnv(home)}
	if _, err := bootOnce(t.Context(), sh, o); kindOf(err) != Lost || !strings.Contains(err.Error(), "far: the agent was gone when it was to be started\n  ssh: ") {
		t.Errorf("got %v (%v)", err, kindOf(err))
	}
	write(t, filepath.Join(dir, o.copyName()), "#!/bin/sh\nrm -f \"$0\"\necho "+o.Hash+"\n", 0o700)
	if b := boot(t, sh, o); !b.Uploaded {
		t.Error("nothing was uploaded")
	}
}

func TestInstalled(t *testing.T) {
	agent, err := testAgent()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, version, hash string
		uploaded            bool
	}{
		{"same build", "0.0.0-dev", "", false},
		{"same release, other build", "1.2.3", strings.Repeat("ab", 32), false},
		{"other release", "1.2.4", strings.Repeat("ab", 32), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := homeDir(t)
			bin := filepath.Join(home, ".local/bin")
			if err := os.MkdirAll(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(agent, filepath.Join(bin, "gomover")); err != nil {
				t.Fatal(err)
			}
			o := bootOptions(t)
			o.Version = c.version
			if c.hash != "" {
				o.Hash = c.hash
			}
			b, err := Boot(t.Context(), localShell{[]string{"sh"}, farEnv(home)}, o)
			if c.uploaded {
				// The upload's own hash cannot be the invented one either.
				if kindOf(err) != CannotExecute {
					t.Errorf("got %v", err)
				}
				leftovers(t, home)
				return
			}
			if err != nil || b.Uploaded {
				t.Fatalf("got %v, %+v", err, b)
			}
			echo(t, b)
		})
	}
}

func TestConcurrentBoots(t *testing.T) {
	home := homeDir(t)
	sh := localShell{[]string{"sh"}, farEnv(home)}
	o := bootOptions(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			b, err := Boot(t.Context(), sh, o)
			if err != nil {
				t.Errorf("booting: %v", err)
				return
			}
			b.CloseWrite()
			if _, err := io.Copy(io.Discard, b); err != nil {
				t.Error(err)
			}
			b.Close()
		})
	}
	wg.Wait()
	leftovers(t, home)
}

// script is a far side that prints text, then ends or stays.
func scripted(text string) localShell {
	return localShell{[]string{"/bin/sh", "-c", text, "x"}, []string{"PATH=" + os.Getenv("PATH")}}
}

func TestFarSideBreaks(t *testing.T) {
	big := strings.Repeat("x", 1000)
	hello := magic + "hello 1.2.3 1 linux amd64"
	for _, c := range []struct {
		name, script, command string
		kind                  Kind
		text                  string
	}{
		{"banner and nothing", "echo 'Welcome to the machine'", "", Noisy, `far: unexpected text before the agent's greeting: "Welcome to the machine"`},
		{"endless banner", "while :;do echo " + big + ";done", "", Noisy, "unexpected text before"},
		{"banner and silence", "echo hi;exec sleep 60", "", Noisy, `greeting: "hi"`},
		{"silence", "exec sleep 60", "", Lost, "far: the agent said nothing for"},
		{"dies", "echo oops >&2;exit 3", "", Lost, "ssh: oops"},
		{"no command", "exit 127", "/opt/gm", NotInstalled, "the agent command was not found: /opt/gm"},
		{"no shell", "exit 127", "", NotInstalled, "no sh"},
		{"no permission", "exit 126", "/opt/gm", CannotExecute, "cannot be executed"},
		{"other protocol", "echo '" + magic + "hello 9.9 3 linux amd64'", "/opt/gm", WrongVersion, "far: agent speaks protocol 3, this program 1\n  hint: remove --agent"},
		{"bad greeting", "echo '" + magic + "hello 9.9'", "", WrongVersion, "cannot be read"},
		{"endless greeting", "printf '" + hello + " ';while :;do printf " + big + ";done", "", Noisy, ""},
		{"endless name", "echo '" + hello + " " + strings.Repeat("t", 5000) + "'", "", WrongVersion, ""},
		{"other platform", "echo '" + magic + "need Plan9 mips64 -'", "", WrongPlatform, "far: runs plan9/mips64, but this program is for linux/"},
		{"windows", "echo '" + magic + "need MINGW64_NT-10.0 x86_64 gz'", "", WrongPlatform, "mingw64_nt-10.0/amd64"},
		{"send without need", "echo '" + magic + "send /tmp'", "", Noisy, ""},
		{"need twice", "while :;do echo '" + magic + "need Linux x86_64 -';done", "", Noisy, ""},
		{"need for a command", "echo '" + magic + "need Linux x86_64 -'", "/opt/gm", Noisy, ""},
		{"stops reading", "echo '" + magic + "need Linux x86_64 -';read x;echo '" + magic + "send /';exec sleep 60", "", Lost, "said nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := bootOptions(t)
			o.Command = c.command
			o.GOARCH = "amd64"
			switch c.name {
			case "silence", "stops reading":
				o.Timeout = 2 * time.Second
			case "banner and silence":
				o.Timeout = 10 * time.Second // a busy machine must have started the script by then
			}
			b, err := Boot(t.Context(), scripted(c.script), o)
			if kindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v (%v), want %v with %q; %v", err, kindOf(err), c.kind, c.text, b)
			}
		})
	}
}

func TestBannerIsSkipped(t *testing.T) {
	home := homeDir(t)
	for _, banner := range []string{"Welcome\n", "no newline", strings.Repeat("long\n", 12000)} {
		sh := localShell{[]string{"/bin/sh", "-c", `printf %s "$BANNER";shift;exec /bin/sh -c "$1"`, "x"}, append(farEnv(home), "BANNER="+banner)}
		b := boot(t, sh, bootOptions(t))
		if want := strings.Trim(banner, "\n"); b.Banner != want {
			t.Errorf("banner %.40q, want %.40q", b.Banner, want)
		}
	}
}

// TestBytesBehindGreeting: what comes in one piece with the greeting is kept.
func TestBytesBehindGreeting(t *testing.T) {
	b, err := Boot(t.Context(), scripted("printf 'hi "+magic+"hello 1.2.3 1 linux amd64\\nrest\\000\\nend'"), bootOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(iotest.OneByteReader(b))
	if string(got) != "rest\x00\nend" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCommand(t *testing.T) {
	agent, err := testAgent()
	if err != nil {
		t.Fatal(err)
	}
	home := homeDir(t)
	o := bootOptions(t)
	o.Command = agent
	o.Program = nil
	if b := boot(t, localShell{[]string{"zsh"}, farEnv(home)}, o); b.Uploaded {
		t.Error("uploaded")
	}
	if _, err := os.Stat(filepath.Join(home, ".cache")); err == nil {
		t.Error("made a cache directory")
	}
}

func TestBadOptions(t *testing.T) {
	good := bootOptions(t)
	for _, c := range []struct {
		name string
		edit func(*BootOptions)
	}{
		{"quote in directory", func(o *BootOptions) { o.Dir = "/tmp/it's" }},
		{"expansion in directory", func(o *BootOptions) { o.Dir = "/tmp/$(id)" }},
		{"argument", func(o *BootOptions) { o.Args = []string{"agent", "a b"} }},
		{"hash", func(o *BootOptions) { o.Hash = "xyz" }},
	} {
		o := good
		c.edit(&o)
		if _, err := Boot(t.Context(), scripted("exit 1"), o); kindOf(err) != Config {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

// TestCancelDuringUpload ends the context between the first and the last byte.
func TestCancelDuringUpload(t *testing.T) {
	home := homeDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := bootOptions(t)
	data, size, _ := o.Program()
	body, _ := io.ReadAll(data)
	sh := &slowShell{localShell{[]string{"sh"}, farEnv(home)}, cancel}
	o.Program = func() (io.ReadCloser, int64, error) { return io.NopCloser(bytes.NewReader(body)), size, nil }
	_, err := Boot(ctx, sh, o)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	t.Log("# the next boot works, and the broken upload is gone")
	boot(t, sh.localShell, o)
	var left []string
	if !poll(func() bool {
		left, _ = filepath.Glob(filepath.Join(home, ".cache/gomover/.gomover-upload-*"))
		return len(left) == 0
	}) {
		t.Fatalf("left behind: %v", left)
	}
}

// slowShell cancels in the midst of an upload.
type slowShell struct {
	localShell
	cancel func()
}

func (s *slowShell) Start(ctx context.Context, cmd string) (Process, error) {
	// The connection ends, the far side does not: as when a network breaks.
	p, err := s.localShell.Start(context.WithoutCancel(ctx), cmd)
	return &cutProcess{Process: p, cancel: s.cancel}, err
}

type cutProcess struct {
	Process
	cancel func()
	n      int
}

func (p *cutProcess) Write(b []byte) (int, error) {
	if p.n += len(b); p.n > 2*writeChunk {
		p.cancel()
		p.Process.CloseWrite()
		return 0, io.ErrClosedPipe
	}
	return p.Process.Write(b)
}

// Close leaves the far side to find out by itself.
func (p *cutProcess) Close() error { return p.Process.CloseWrite() }
