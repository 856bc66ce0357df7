package main

import (
	"io"
	"io/fs"
	"strings"
	"time"
)

// Env is everything of the surroundings that the command line may look at, so
// that a test can run a whole command in its own process.
//
// Args is without the program's name. LookupEnv has the meaning of os.LookupEnv,
// Stat and ReadFile those of os. SystemConfig is the path of the configuration
// for all users. Windows says which local paths are meant. IsTerminal says
// whether Stderr is a terminal.
type Env struct {
	Args   []string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	LookupEnv func(name string) (string, bool)
	Stat      func(path string) (fs.FileInfo, error)
	ReadFile  func(path string) ([]byte, error)
	Now       func() time.Time

	Home         string
	SystemConfig string
	UserConfig   string // of the user, where the system has its own place for it (Windows); else empty
	Windows      bool
	IsTerminal   bool
}

// Getenv gives an environment variable, or "" when it is not set.
func (e Env) Getenv(name string) string {
	v, _ := e.LookupEnv(name)
	return v
}

// expandHome replaces a leading "~/" by the user's home directory, for values
// that no shell has seen.
func (e Env) expandHome(path string) string {
	if e.Home == "" {
		return path
	}
	if path == "~" {
		return e.Home
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return e.Home + "/" + rest
	}
	return path
}

// shortHome shows a path below the home directory with "~".
func (e Env) shortHome(path string) string {
	if rest, ok := strings.CutPrefix(path, e.Home+"/"); ok && e.Home != "" && e.Home != "/" {
		return "~/" + rest
	}
	return path
}

// envName is the variable that sets a long option.
func envName(option string) string {
	return "GOMOVER_" + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}
