//go:build unix

package boottest

import (
	"os/exec"
	"syscall"
)

// ownSession gives a command a session of its own, as sshd does: a Ctrl-C at the
// terminal of who runs the server must not reach the far host.
func ownSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
