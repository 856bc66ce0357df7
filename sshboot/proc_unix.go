//go:build unix

package sshboot

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup lets killGroup reach the children of a proxy command too. The group
// also keeps a Ctrl-C at the terminal from the child: what a signal means is
// decided above this package, which closes the child when it is told to.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // may have ended by itself
	}
}

func shellCommand(line string) *exec.Cmd { return exec.Command("/bin/sh", "-c", line) }

func osPipe() (r, w *os.File, err error) { return os.Pipe() }
