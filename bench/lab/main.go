// Lab emulates a wide-area network between network namespaces on this machine, for
// tests and measurements; see docs/lab.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/gomover/gomover/internal/lab"
	"github.com/gomover/gomover/internal/topology"
	"golang.org/x/sys/unix"
)

const usage = `usage:
  lab up TOPOLOGY.json            build a network
  lab down                        remove it and all that runs in it
  lab exec HOST [--] COMMAND...   run a command on a host
  lab set LINK... KEY=VALUE...    change links: all of them or none
  lab partition LINK...           cut links
  lab heal LINK...                mend them
  lab schedule FILE               do what lines like "2.5s set h1.down loss=1%" say
  lab stats [--json] [--reset]    print counters, then zero them
  lab sshd [--install-home DIR]   start ssh servers, and have DIR/.ssh know them
  lab check [-lab PROGRAM]        measure what is emulated, and print a table
  lab compare [-rows WORD]        measure TCP beside its model, and print a table

LINK is h1.up, h1.down, h1, all.up, all.down, all, or h0:h2 for a path.
`

// emulatorWord is the command that "lab up" starts itself with.
const emulatorWord = "emulate"

// helpWords ask for the usage.
var helpWords = []string{"--help", "-help", "-h"}

// errUsage is for a command line that says nothing that could be done.
var errUsage = errors.New("cannot make sense of the command line")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	word, args := args[0], args[1:]
	switch {
	case slices.Contains(helpWords, word), word != "exec" && len(args) == 1 && slices.Contains(helpWords, args[0]):
		_, err := fmt.Print(usage)
		return err
	case word == "up" && len(args) == 1:
		return up(ctx, args[0])
	case word == "down" && len(args) == 0:
		return lab.Down(ctx)
	case word == "exec" && len(args) > 1:
		if args[1] == "--" {
			args = slices.Delete(args, 1, 2)
		}
		if len(args) < 2 {
			return errUsage
		}
		return lab.Exec(args[0], args[1:])
	case word == "sshd" && len(args) == 0:
		return startServers(ctx)
	case word == "sshd" && len(args) == 2 && args[0] == "--install-home":
		if err := startServers(ctx); err != nil {
			return err
		}
		return lab.InstallHome(args[1])
	case word == "schedule" && len(args) == 1:
		return schedule(ctx, args[0])
	case word == "check":
		return check(ctx, args)
	case word == "compare":
		return compare(ctx, args)
	case word == "probe":
		return probe(ctx, args)
	case word == emulatorWord:
		return lab.Serve(ctx, args)
	}
	return change(ctx, append([]string{word}, args...))
}

// change does the commands that go to the emulator; a schedule has the same.
func change(ctx context.Context, words []string) error {
	word, args := words[0], words[1:]
	switch {
	case word == "set":
		return lab.Set(ctx, args...)
	case word == "partition" && len(args) > 0:
		return lab.Partition(ctx, args...)
	case word == "heal" && len(args) > 0:
		return lab.Heal(ctx, args...)
	case word == "stats":
		return stats(ctx, args)
	}
	return errUsage
}

func up(ctx context.Context, file string) error {
	text, err := readTopology(file)
	if err != nil {
		return fmt.Errorf("reading the topology: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	return lab.Up(ctx, lab.Config{Topology: text, Emulator: []string{self, emulatorWord}})
}

// readTopology reads a file, but no more of it than a topology may have.
func readTopology(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, topology.MaxText+1))
	if err == nil && len(text) > topology.MaxText {
		err = fmt.Errorf("%s is longer than %d bytes", file, topology.MaxText)
	}
	return text, err
}

func startServers(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	return lab.StartServers(ctx, os.Getenv("PATH"), self, "exec")
}

func schedule(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("reading a schedule: %w", err)
	}
	defer f.Close()
	steps, err := lab.ParseSchedule(f)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return lab.Play(ctx, steps, change)
}

func stats(ctx context.Context, options []string) error {
	asJSON, reset := false, false
	for _, o := range options {
		switch strings.TrimPrefix(o, "-") {
		case "-json", "json":
			asJSON = true
		case "-reset", "reset":
			reset = true
		default:
			return errUsage
		}
	}
	s, err := lab.ReadStats(ctx, reset)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(s)
	}
	return s.Print(os.Stdout)
}
