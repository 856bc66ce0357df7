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
	one  chan struct{} // capacity 1: holds a value while a question is asked
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
	p := &ttyPrompter{one: make(chan struct{}, 1), tty: f, hide: func() {}, show: func() {}}
	if v.tty != nil {
		p.hide, p.show = func() { v.tty.Hide() }, func() { v.tty.Show() }
	}
	return p
}

// Ask implements sshboot.Prompter. It ends with ctx, and leaves the terminal as
// it was. Several logins may ask: each waits for its turn.
func (p *ttyPrompter) Ask(ctx context.Context, question string, secret bool) (string, error) {
	select {
	case p.one <- struct{}{}:
		defer func() { <-p.one }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	p.hide()
	defer p.show()
	question = strings.TrimRight(question, " ")
	if !strings.HasSuffix(question, ":") && !strings.HasSuffix(question, ")") && !strings.HasSuffix(question, "?") {
		question += ":"
	}
	fmt.Fprint(p.tty, question+" ")
	type answer struct {
		text string
		err  error
	}
	fd := int(p.tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("asking at the terminal: %w", err)
	}
	// Reading a terminal can't be cut short, so a reader that is not needed any
	// more is left to the program's end.
	got := make(chan answer, 1)
	go func() {
		if secret {
			b, err := term.ReadPassword(fd)
			got <- answer{string(b), err}
			return
		}
		line, err := bufio.NewReader(p.tty).ReadString('\n')
		got <- answer{strings.TrimRight(line, "\r\n"), err}
	}()
	select {
	case a := <-got:
		if secret {
			fmt.Fprintln(p.tty)
		}
		return a.text, a.err
	case <-ctx.Done():
		fmt.Fprintln(p.tty)
		if err := term.Restore(fd, before); err != nil {
			return "", fmt.Errorf("restoring the terminal: %w", err)
		}
		return "", context.Cause(ctx)
	}
}

// Confirm implements sshboot.Prompter.
func (p *ttyPrompter) Confirm(ctx context.Context, question string) (bool, error) {
	for range 3 {
		a, err := p.Ask(ctx, question+" (yes/no)", false)
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
