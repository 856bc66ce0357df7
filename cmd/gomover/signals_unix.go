//go:build unix

package main

import (
	"os"
	"syscall"
	"time"
)

// viewSignals change what is shown.
var viewSignals = []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT}

func (v *view) viewSignal(s os.Signal) {
	switch s {
	case syscall.SIGUSR1:
		v.print(v.sum.StatusLine(time.Now()))
	case syscall.SIGUSR2:
		if v.ctl != nil {
			v.ctl.what.ToggleLimit()
		}
	case syscall.SIGWINCH, syscall.SIGCONT:
		if v.tty != nil {
			v.tty.Resize()
		}
	}
}
