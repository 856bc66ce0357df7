package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"

	"github.com/gomover/gomover/sshboot"
)

// ttyPrompter asks on the controlling terminal, with the progress out of the
// way.
type ttyPrompter struct {
	tty  *os.File
	hide func()
	show func()
}

// prompter returns who can be asked; nil without a terminal.
func (v *view) prompter(env Env) sshboot.Prompter {
	name := "/dev/tty"
	if runtime.GOOS == "windows" {
		name = "CONIN$"
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	p := &ttyPrompter{tty: f, hide: func() {}, show: func() {}}
	if v.tty != nil {
		p.hide, p.show = func() { v.tty.Hide() }, func() { v.tty.Show() }
	}
	return p
}

// Ask implements sshboot.Prompter.
func (p *ttyPrompter) Ask(ctx context.Context, question string, secret bool) (string, error) {
	p.hide()
	defer p.show()
	fmt.Fprint(p.tty, question)
	if !secret {
		line, err := bufio.NewReader(p.tty).ReadString('\n')
		return strings.TrimRight(line, "\r\n"), err
	}
	b, err := term.ReadPassword(int(p.tty.Fd()))
	fmt.Fprintln(p.tty)
	if err != nil {
		return "", err
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return string(b), nil
}

// Confirm implements sshboot.Prompter.
func (p *ttyPrompter) Confirm(ctx context.Context, question string) (bool, error) {
	for range 3 {
		a, err := p.Ask(ctx, question+" (yes/no) ", false)
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(a)) {
		case "yes", "y":
			return true, nil
		case "no", "n", "":
			return false, nil
		}
	}
	return false, errors.New("neither yes nor no was answered")
}
