//go:build !unix

package sshboot

import (
	"os"
	"os/exec"
	"strings"
)

func ownGroup(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = cmd.Process.Kill() // may have ended by itself
	}
}

func shellCommand(line string) *exec.Cmd {
	return exec.Command("cmd", "/c", strings.TrimPrefix(line, "exec "))
}

func osPipe() (r, w *os.File, err error) { return os.Pipe() }
