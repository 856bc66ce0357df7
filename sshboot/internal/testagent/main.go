// Command testagent is the far end of the tests of package sshboot: it greets,
// then answers on its standard output with what comes on its standard input.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/gomover/gomover/sshboot"
)

// version is set by the linker.
var version = "1.2.3"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testagent:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if slices.Equal(args, []string{"agent", "--selfcheck"}) {
		path, err := os.Executable()
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		fmt.Printf("%x %s\n", h.Sum(nil), version)
		return nil
	}
	if len(args) == 0 || args[0] != "agent" {
		return fmt.Errorf("unknown arguments %q", args)
	}
	err := sshboot.WriteGreeting(os.Stdout, sshboot.Greeting{
		Version: version, Protocol: 1, OS: runtime.GOOS, Arch: runtime.GOARCH, Extra: "token",
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, os.Stdin)
	return err
}
