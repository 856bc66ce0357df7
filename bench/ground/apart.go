package ground

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// Apart is this program again with other arguments, in a mount namespace of its own,
// which its first call of HideLabs makes use of: a network that it brings up does not
// meet those of others. It is so much less nice than this one; 0 is as nice. It needs
// root.
func Apart(urgency int, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("nice", append([]string{"-n", strconv.Itoa(-urgency), self}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// HideLabs gives a process that was begun by Apart a place for its network in which
// there is none.
func HideLabs() error {
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("making a place for a network: %w", err)
	}
	for _, dir := range []string{"/run/sshd", "/run/netns"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("making a place for a network: %w", err)
		}
	}
	return nil
}
