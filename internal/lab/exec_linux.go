package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/gomover/gomover/internal/topology"
	"golang.org/x/sys/unix"
)

// resolvConf names a server that is not there, so that look-ups of other names
// than the hosts' fail at once.
const resolvConf = "nameserver 127.0.0.1\n"

// etcDir holds the files that a host sees in place of those in /etc.
func etcDir(host string) string { return filepath.Join(StateDir, "etc", host) }

// hostsFile is every host's /etc/hosts.
func hostsFile(t *topology.Topology) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for i := range t.Hosts {
		fmt.Fprintf(&b, "%s %s\n%s %s-v6\n", topology.Address(i, false), t.Hosts[i].Name, topology.Address(i, true), t.Hosts[i].Name)
	}
	return b.String()
}

// Exec replaces the calling process by a command on a host: in its network
// namespace, with its host name, its /etc/hosts and /etc/resolv.conf, and a /sys
// that shows its interface. All else is the machine's. It returns only on errors:
// ErrNotRoot, ErrNotUp, an unknown host, or a command that cannot be run.
func Exec(name string, args []string) error {
	if err := needRoot(); err != nil {
		return err
	}
	t, err := readTopology()
	if err != nil {
		return err
	}
	if t.Index(name) < 0 {
		return fmt.Errorf("no such host: %q", name)
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("running a command on %s: %w", name, err)
	}
	// The namespaces are the calling thread's, and the process becomes that thread.
	runtime.LockOSThread()
	if err := enterHost(name); err != nil {
		return err
	}
	return fmt.Errorf("running %s on %s: %w", path, name, syscall.Exec(path, args, os.Environ()))
}

// enterHost moves the calling thread, which must be locked, to a host.
func enterHost(name string) error {
	if err := enterNetns(name); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWUTS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("making namespaces for a command: %w", err)
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("setting the host name to %s: %w", name, err)
	}
	// Mounts of the machine shall come through to here, but none of ours back.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	for _, file := range []string{"hosts", "resolv.conf"} {
		err := unix.Mount(filepath.Join(etcDir(name), file), "/etc/"+file, "", unix.MS_BIND, "")
		if err != nil && !errors.Is(err, unix.ENOENT) { // a machine without the file does not read it
			return fmt.Errorf("replacing /etc/%s: %w", file, err)
		}
	}
	return mountSys()
}

// mountSys mounts a /sys that shows the interfaces of the current namespace. The
// control groups, which are mounted within, are kept.
func mountSys() error {
	const groups = "/sys/fs/cgroup"
	tree, treeErr := unix.OpenTree(unix.AT_FDCWD, groups, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if treeErr == nil {
		defer unix.Close(tree)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mounting /sys: %w", err)
	}
	if treeErr != nil {
		return nil // there were none
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, groups, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mounting %s: %w", groups, err)
	}
	return nil
}
