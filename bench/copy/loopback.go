package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// loopbackPort is where the ssh server of the loopback rows listens, in a
// network namespace of its own.
const loopbackPort = 2222

// groups makes the cgroups of the ends.
func (g *ground) groups(b *bench, emulator bool) (err error) {
	number := len(b.cgroups.groups)
	if g.near, err = b.cgroups.group(fmt.Sprintf("near%d", number)); err != nil {
		return err
	}
	if g.far, err = b.cgroups.group(fmt.Sprintf("far%d", number)); err != nil {
		return err
	}
	g.closers = append(g.closers, func() { g.near.kill(); g.far.kill() })
	if emulator {
		g.emulator, err = b.cgroups.group(fmt.Sprintf("emulator%d", number))
	}
	return err
}

// loopback makes a network namespace whose loopback interface joins both ends,
// with an ssh server, keys and configuration of its own.
func (b *bench) loopback(ctx context.Context) (g *ground, err error) {
	name := filepath.Base(b.dir)
	g = &ground{host: farHost, dir: b.dir, home: filepath.Join(b.dir, "home"), binary: b.binary, quiet: b.quiet, sshPort: loopbackPort, shared: true}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if err := g.groups(b, false); err != nil {
		return nil, err
	}
	if err := quiet(ctx, nil, "ip", "netns", "add", name); err != nil {
		return nil, err
	}
	g.closers = append([]func(){func() { quiet(context.Background(), nil, "ip", "netns", "del", name) }}, g.closers...)
	if err := quiet(ctx, nil, "ip", "-n", name, "link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	g.wrap = func(_ bool, args []string) []string {
		return append([]string{"ip", "netns", "exec", name}, args...)
	}
	if err := g.startServer(ctx); err != nil {
		return nil, err
	}
	return g, g.ready(ctx)
}

// startServer makes keys and starts the ssh server of the loopback rows.
func (g *ground) startServer(ctx context.Context) error {
	dir := filepath.Join(g.home, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	g.closers = append(g.closers, func() { os.RemoveAll(g.home) })
	for _, key := range []string{"id_ed25519", "host_key"} {
		if err := quiet(ctx, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", filepath.Join(dir, key)); err != nil {
			return err
		}
	}
	host, err := os.ReadFile(filepath.Join(dir, "host_key.pub"))
	if err != nil {
		return err
	}
	const privsep = "/run/sshd" // sshd insists on it
	if os.Mkdir(privsep, 0o755) == nil {
		g.closers = append(g.closers, func() { os.Remove(privsep) })
	}
	port := strconv.Itoa(loopbackPort)
	files := map[string]string{
		"known_hosts": "[127.0.0.1]:" + port + " " + string(host),
		"config": "Host " + farHost + "\n\tHostName 127.0.0.1\n\tPort " + port + "\n\tUser root\n\tIdentityFile " + dir + "/id_ed25519\n" +
			"\tUserKnownHostsFile " + dir + "/known_hosts\n\tStrictHostKeyChecking yes\n",
		"sshd_config": "ListenAddress 127.0.0.1\nPort " + port + "\nHostKey " + dir + "/host_key\nAuthorizedKeysFile " + dir + "/id_ed25519.pub\n" +
			"PidFile none\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 200\nMaxSessions 200\n" +
			"SetEnv XDG_CACHE_HOME=" + g.home + "/cache XDG_STATE_HOME=" + g.home + "/state\nSubsystem sftp internal-sftp\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		return err
	}
	server := g.command(ctx, true, sshd, "-D", "-f", filepath.Join(dir, "sshd_config"), "-E", filepath.Join(dir, "log"))
	if err := server.Start(); err != nil {
		return fmt.Errorf("starting sshd: %w", err)
	}
	g.closers = append(g.closers, func() { server.Process.Signal(syscall.SIGTERM); server.Wait() })
	return nil
}

// ready waits until the far end answers and copies one small file, so that the
// agent is there.
func (g *ground) ready(ctx context.Context) error {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		cmd := g.command(ctx, false, append(g.ssh(), g.host, "true")...)
		var out []byte
		if out, err = cmd.CombinedOutput(); err == nil {
			break
		}
		err = fmt.Errorf("waiting for the far end's ssh server: %w: %s", err, tail(string(out)))
		if waited := wait(ctx, 50*time.Millisecond); waited != nil {
			return waited
		}
	}
	if err != nil {
		return err
	}
	// What is left after a login is the server itself.
	for last, same := -1, 0; same < 20; {
		if n := len(g.far.pids()); n == last {
			same++
		} else {
			last, same = n, 0
		}
		g.idle = last
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	src, dst := filepath.Join(g.dir, "warm"), filepath.Join(g.dir, "warm.copy")
	if err := os.WriteFile(src, []byte("warm\n"), 0o644); err != nil {
		return err
	}
	defer os.Remove(src)
	defer os.Remove(dst)
	_, err = g.timed(ctx, g.mover(src, g.target(dst))...)
	return err
}

// dataConnections counts the established TCP connections in a process's network
// namespace that are not ssh's. Source: proc(5), /proc/net/tcp.
func (g *ground) dataConnections(pid int) (n int) {
	for _, file := range []string{"tcp", "tcp6"} {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		for line := range bytes.Lines(data) {
			f := strings.Fields(string(line))
			if len(f) < 4 || f[3] != "01" {
				continue
			}
			if port(f[1]) != g.sshPort && port(f[2]) != g.sshPort {
				n++
			}
		}
	}
	if g.shared {
		n /= 2 // both ends of each are in the list
	}
	return n
}

// port reads the port of an address such as 0100007F:08AE.
func port(address string) int {
	_, text, _ := strings.Cut(address, ":")
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(raw))
}
