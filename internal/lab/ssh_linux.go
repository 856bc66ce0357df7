package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomover/gomover/internal/topology"
)

// sshd is the server. It insists on an absolute name and on a directory.
const (
	sshd    = "/usr/sbin/sshd"
	sshdDir = "/run/sshd"
)

// SSHDir holds the keys and settings of the servers and of their clients.
const SSHDir = StateDir + "/ssh"

// clientKey is the key that every server accepts.
const clientKey = "id_ed25519"

// homesFile lists the .ssh directories that InstallHome changed, one a line.
const homesFile = StateDir + "/homes"

// Marks around what InstallHome adds to a file.
const (
	markBegin = "# begin of the lab's entries\n"
	markEnd   = "# end of the lab's entries\n"
)

// StartServers starts an ssh server on every host of the lab that is up, each with
// its own host key; one client key is accepted by all, for root. Sessions have
// the given search path. program is a command line that runs what follows it on
// a host: PROGRAM HOST COMMAND..., which Exec does. Servers that run already are
// left alone.
//
// When it returns, "ssh -F SSHDir/config h1" works on every host.
func StartServers(ctx context.Context, searchPath string, program ...string) error {
	if err := needRoot(); err != nil {
		return err
	}
	t, err := readTopology()
	if err != nil {
		return err
	}
	if !exists(sshd) {
		return fmt.Errorf("there is no %s; Debian and Ubuntu have it in openssh-server", sshd)
	}
	if exists(SSHDir) {
		return nil
	}
	if err := writeSSH(ctx, t, searchPath); err != nil {
		return errors.Join(err, os.RemoveAll(SSHDir))
	}
	for i := range t.Hosts {
		name := t.Hosts[i].Name
		args := append(program[1:len(program):len(program)], name, sshd, "-f", sshFile(name+".conf"), "-E", sshFile(name+".log"))
		if err := command(ctx, "", program[0], args...); err != nil {
			return fmt.Errorf("starting the ssh server of %s: %w", name, err)
		}
	}
	return nil
}

func sshFile(name string) string { return filepath.Join(SSHDir, name) }

// writeSSH writes the files of servers and clients.
func writeSSH(ctx context.Context, t *topology.Topology, searchPath string) error {
	for _, dir := range []string{SSHDir, sshdDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", dir, err)
		}
	}
	client, err := newKey(ctx, clientKey)
	if err != nil {
		return err
	}
	files := map[string]string{"authorized_keys": client}
	var names, known []string
	for i := range t.Hosts {
		name := t.Hosts[i].Name
		key, err := newKey(ctx, name+".key")
		if err != nil {
			return err
		}
		called := []string{name, name + "-v6", topology.Address(i, false).String(), topology.Address(i, true).String()}
		names = append(names, called...)
		known = append(known, strings.Join(called, ",")+" "+key)
		files[name+".conf"] = serverConfig(name, searchPath)
	}
	files["known_hosts"] = strings.Join(known, "")
	files["config"] = "Host " + strings.Join(names, " ") + `
	User root
	IdentityFile ` + sshFile(clientKey) + `
	UserKnownHostsFile ` + sshFile("known_hosts") + `
	StrictHostKeyChecking yes
`
	for name, text := range files {
		if err := os.WriteFile(sshFile(name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("setting up ssh: %w", err)
		}
	}
	return nil
}

// serverConfig is the sshd_config of a host. Logins are many at once in tests.
func serverConfig(host, searchPath string) string {
	return `HostKey ` + sshFile(host+".key") + `
PidFile ` + sshFile(host+".pid") + `
AuthorizedKeysFile ` + sshFile("authorized_keys") + `
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UseDNS no
MaxStartups 250
MaxSessions 250
SetEnv PATH=` + searchPath + `
Subsystem sftp internal-sftp
`
}

// newKey makes a key pair and gives the line of its public key.
func newKey(ctx context.Context, name string) (string, error) {
	if err := command(ctx, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", sshFile(name)); err != nil {
		return "", err
	}
	line, err := os.ReadFile(sshFile(name + ".pub"))
	if err != nil {
		return "", fmt.Errorf("reading a new key: %w", err)
	}
	return string(line), nil
}

// InstallHome makes the ssh files of a home directory work in the lab, for programs
// that read those: it adds to .ssh/config and .ssh/known_hosts, and puts the
// client key there if there is none. Down takes it out again. StartServers must
// have been called.
func InstallHome(home string) error {
	home, err := filepath.Abs(home)
	if err != nil {
		return fmt.Errorf("finding the home directory %s: %w", home, err)
	}
	dir := filepath.Join(home, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	if err := uninstallHome(dir); err != nil {
		return err
	}
	// Noted first, so that half of it is undone, too.
	if err := appendFile(homesFile, dir+"\n", 0o644); err != nil {
		return err
	}
	for _, name := range []string{"config", "known_hosts"} {
		text, err := os.ReadFile(sshFile(name))
		if err != nil {
			return fmt.Errorf("reading the lab's %s: %w", name, err)
		}
		old, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("adding to %s: %w", name, err)
		}
		lead := ""
		if len(old) > 0 && old[len(old)-1] != '\n' {
			lead = "\n" // stays when the entries are taken out
		}
		if err := appendFile(filepath.Join(dir, name), lead+markBegin+string(text)+markEnd, 0o600); err != nil {
			return err
		}
	}
	if exists(filepath.Join(dir, clientKey)) {
		return nil
	}
	for _, name := range []string{clientKey, clientKey + ".pub"} {
		text, err := os.ReadFile(sshFile(name))
		if err != nil {
			return fmt.Errorf("reading the lab's key: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return fmt.Errorf("installing the lab's key: %w", err)
		}
	}
	return nil
}

func appendFile(name, text string, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, mode)
	if err != nil {
		return fmt.Errorf("adding to %s: %w", name, err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("adding to %s: %w", name, err)
	}
	return nil
}

// uninstallHomes undoes InstallHome.
func uninstallHomes() error {
	list, err := os.ReadFile(homesFile)
	if err != nil {
		return nil // nothing was changed
	}
	var errs []error
	for dir := range strings.Lines(string(list)) {
		errs = append(errs, uninstallHome(strings.TrimSuffix(dir, "\n")))
	}
	return errors.Join(errs...)
}

// uninstallHome takes out of one .ssh directory what the lab put there. A file
// that holds nothing else goes.
func uninstallHome(dir string) error {
	for _, name := range []string{"config", "known_hosts"} {
		file := filepath.Join(dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			continue // not there, or not there any more
		}
		rest, found := cutMarked(string(text))
		switch {
		case !found:
		case rest == "":
			err = os.Remove(file)
		default:
			err = os.WriteFile(file, []byte(rest), 0o600)
		}
		if err != nil {
			return fmt.Errorf("taking the lab's entries out of %s: %w", file, err)
		}
	}
	for _, name := range []string{clientKey, clientKey + ".pub"} {
		ours, err1 := os.ReadFile(sshFile(name))
		theirs, err2 := os.ReadFile(filepath.Join(dir, name))
		if err1 != nil || err2 != nil || string(ours) != string(theirs) {
			continue // a key of the user's, or none
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("removing the lab's key: %w", err)
		}
	}
	return nil
}

// cutMarked takes what stands between the marks, and the marks, out of a text.
func cutMarked(text string) (rest string, found bool) {
	before, after, ok := strings.Cut(text, markBegin)
	if !ok {
		return text, false
	}
	_, after, ok = strings.Cut(after, markEnd)
	if !ok {
		return text, false
	}
	return before + after, true
}
