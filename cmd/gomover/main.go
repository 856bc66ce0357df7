// Command gomover copies files and trees between machines that an ssh login
// reaches, as fast as the path, the disks and the processors allow.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/term"
)

// version is the program's. The agent on the far side is the same program,
// found by the hash of its file, so it need not change with every build.
const version = "0.1.0"

// memoryLimit is what the collector keeps the heap below, in bytes. The
// program's own buffers are bounded by --memory; without a limit garbage may
// pile up to as much again.
const memoryLimit = 160 << 20

func main() {
	debug.SetMemoryLimit(memoryLimit)
	// A closed pipe on standard output or error is an error of that write, not
	// the end of the transfer.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(mainCode())
}

func mainCode() int {
	// The HTTP client tells there what servers do that breaks the rules; what matters
	// of it comes as an error, too, and is told once and in our words.
	log.SetOutput(io.Discard)
	home, _ := os.UserHomeDir() // "" when there is none: then nothing is looked up there
	env := Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		LookupEnv: os.LookupEnv, Stat: os.Stat, ReadFile: os.ReadFile, Now: time.Now,
		Home: home, SystemConfig: systemConfig(), Windows: runtime.GOOS == "windows",
		IsTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
	if env.Windows {
		if dir, err := os.UserConfigDir(); err == nil {
			env.UserConfig = dir + `\gomover\config`
		}
	}
	h := handlers{
		copy: func(ctx context.Context, o *Options, words []string) error { return runCopy(ctx, env, o, words) },
		version: func(ctx context.Context, o *Options) error {
			return printVersion(env.Stdout, o.Output.JSON != "")
		},
		hosts: map[string]func(ctx context.Context, o *Options, words []string) error{
			"probe":  func(ctx context.Context, o *Options, words []string) error { return runProbe(ctx, env, o, words) },
			"pull":   func(ctx context.Context, o *Options, words []string) error { return runPull(ctx, env, o, words) },
			"jobs":   func(ctx context.Context, o *Options, words []string) error { return runJobs(ctx, env, o, words) },
			"ctl":    func(ctx context.Context, o *Options, words []string) error { return runCtl(ctx, env, o, words) },
			"attach": func(ctx context.Context, o *Options, words []string) error { return runAttach(ctx, env, o, words) },
			"doctor": func(ctx context.Context, o *Options, words []string) error { return runDoctor(ctx, env, o, words) },
		},
		own: map[string]func(ctx context.Context, args []string) error{
			"plot": func(_ context.Context, args []string) error { return runPlot(env, args) },
		},
		hidden: map[string]func(ctx context.Context, args []string) error{
			"agent": func(ctx context.Context, args []string) error { return runAgent(ctx, env, args) },
		},
	}
	h.refused = func(err error) error { return refusedEarly(env, err) }
	return reportError(env.Stderr, dispatch(context.Background(), env, h))
}

// systemConfig is where the system's configuration file stands.
func systemConfig() string {
	if runtime.GOOS == "windows" {
		return os.Getenv("ProgramData") + `\gomover\config`
	}
	return "/etc/gomover/config"
}
