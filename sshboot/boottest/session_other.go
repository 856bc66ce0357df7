//go:build !unix

package boottest

import "os/exec"

func ownSession(*exec.Cmd) {}
