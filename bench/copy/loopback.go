package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/gomover/gomover/bench/ground"
)

// loopbackPort is where the ssh server of the loopback rows listens, in a
// network namespace of its own.
const loopbackPort = 2222

// loopback makes a network namespace whose loopback interface joins both ends,
// with an ssh server, keys and configuration of its own.
func (b *bench) loopback(ctx context.Context) (g *ends, err error) {
	name := filepath.Base(b.Dir)
	base := &ground.Ground{Home: filepath.Join(b.Dir, "home"), Quiet: b.Quiet, Reserve: b.reserve}
	g = &ends{Ground: base, dir: b.Dir, binary: b.binary, sshPort: loopbackPort, shared: true}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if err := ground.Quiet(ctx, nil, "ip", "netns", "add", name); err != nil {
		return nil, err
	}
	g.OnClose(func() { ground.Quiet(context.Background(), nil, "ip", "netns", "del", name) })
	if err := ground.Quiet(ctx, nil, "ip", "-n", name, "link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	wrap := func(args []string) []string { return append([]string{"ip", "netns", "exec", name}, args...) }
	if g.near, err = g.AddHost(b.Groups, nearHost, "127.0.0.1", wrap); err != nil {
		return nil, err
	}
	if g.far, err = g.AddHost(b.Groups, farHost, "127.0.0.1", wrap); err != nil {
		return nil, err
	}
	if err := g.startServer(ctx); err != nil {
		return nil, err
	}
	return g, g.ready(ctx)
}

// startServer makes keys and starts the ssh server of the loopback rows.
func (g *ends) startServer(ctx context.Context) error {
	dir := filepath.Join(g.Home, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	g.OnClose(func() { os.RemoveAll(g.Home) })
	for _, key := range []string{"id_ed25519", "host_key"} {
		if err := ground.Quiet(ctx, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", filepath.Join(dir, key)); err != nil {
			return err
		}
	}
	host, err := os.ReadFile(filepath.Join(dir, "host_key.pub"))
	if err != nil {
		return err
	}
	const privsep = "/run/sshd" // sshd insists on it
	if os.Mkdir(privsep, 0o755) == nil {
		g.OnClose(func() { os.Remove(privsep) })
	}
	port := strconv.Itoa(loopbackPort)
	files := map[string]string{
		"known_hosts": "[127.0.0.1]:" + port + " " + string(host),
		"config": "Host " + farHost + "\n\tHostName 127.0.0.1\n\tPort " + port + "\n\tUser root\n\tIdentityFile " + dir + "/id_ed25519\n" +
			"\tUserKnownHostsFile " + dir + "/known_hosts\n\tStrictHostKeyChecking yes\n",
		"sshd_config": "ListenAddress 127.0.0.1\nPort " + port + "\nHostKey " + dir + "/host_key\nAuthorizedKeysFile " + dir + "/id_ed25519.pub\n" +
			"PidFile none\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 200\nMaxSessions 200\n" +
			"SetEnv XDG_CACHE_HOME=" + g.Home + "/cache XDG_STATE_HOME=" + g.Home + "/state\nSubsystem sftp internal-sftp\n",
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
	g.OnClose(func() { server.Process.Signal(syscall.SIGTERM); server.Wait() })
	return nil
}
