// Command demo shows gomover at work on a machine with nothing but Go: it starts
// a small ssh server on loopback as the far host, has the real program move a
// large file and a tree of small ones there and back, and compares what arrived
// byte for byte by itself.
//
//	demo PROGRAM
//
// Everything happens in one temporary directory, which is removed at the end,
// also after an interrupt.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomover/gomover/examples/internal/stage"
	"github.com/gomover/gomover/sshboot/boottest"
)

const (
	bigName  = "big.bin"
	bigBytes = 1 << 30
	treeName = "tree"
	// treeFiles small files in treeDirs directories, together about 40 MB.
	treeFiles = 5000
	treeDirs  = 50
	// needBytes is the space for three copies of all, and some for the file
	// systems' own use.
	needBytes = 4 << 30
	// alias is the far host's name in the demo's own ssh configuration.
	alias = "farhost"
)

func main() { os.Exit(stage.Main("demo", run)) }

// run is the whole demo. All it made is gone when it returns.
func run(ctx context.Context) (err error) {
	if len(os.Args) != 2 {
		return errors.New("usage: demo PROGRAM, where PROGRAM is gomover (make demo does it)")
	}
	program, err := filepath.Abs(os.Args[1])
	if err != nil {
		return fmt.Errorf("finding %s: %w", os.Args[1], err)
	}
	if err := enoughSpace(os.TempDir(), needBytes); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gomover-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the demo: %w", err)
	}
	defer func() {
		if e := os.RemoveAll(dir); e != nil && err == nil {
			err = fmt.Errorf("removing %s: %w", dir, e)
		}
	}()
	d := &demo{program: program, near: filepath.Join(dir, "near"), far: filepath.Join(dir, "far")}
	server, err := d.start()
	if err != nil {
		return err
	}
	defer server.Close()
	if err := d.generate(ctx); err != nil {
		return err
	}
	if err := d.moves(ctx); err != nil {
		return err
	}
	if err := d.compare(ctx); err != nil {
		return err
	}
	d.report(server)
	return nil
}

// demo is one showing. near is the home directory of the user who types, and
// where files are; far is the home directory on the far host.
type demo struct {
	program   string
	near, far string
	treeBytes int64
	steps     []step
}

// step is what one command did.
type step struct {
	title string
	words []string
	bytes int64
	files int
	took  time.Duration
}

// start makes both homes and the server in front of the far one.
func (d *demo) start() (*boottest.Server, error) {
	for _, p := range []string{d.near, d.far} {
		if err := os.Mkdir(p, 0o700); err != nil {
			return nil, fmt.Errorf("making a home directory: %w", err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening on loopback: %w", err)
	}
	server, err := boottest.Start(l, boottest.Options{Home: d.far})
	if err != nil {
		l.Close()
		return nil, err
	}
	if _, err := server.WriteClient(filepath.Join(d.near, ".ssh"), alias); err != nil {
		server.Close()
		return nil, err
	}
	stage.Say("An ssh server on %s plays the far host %q; its home is an empty directory.", server.Addr(), alias)
	stage.Say("It has no gomover: the program brings itself there over the login.")
	return server, nil
}

// moves runs the program for each of the demo's steps.
func (d *demo) moves(ctx context.Context) error {
	all := d.treeBytes + bigBytes
	for _, s := range []step{
		{title: "A file of 1 GiB to the far host. gomover is not there yet: it uploads itself.",
			words: []string{bigName, alias + ":"}, bytes: bigBytes, files: 1},
		{title: fmt.Sprintf("A tree of %d small files to the far host.", treeFiles),
			words: []string{"-r", treeName, alias + ":"}, bytes: d.treeBytes, files: treeFiles},
		{title: "Both back, into a new directory.",
			words: []string{"-r", alias + ":" + bigName, alias + ":" + treeName, "back/"}, bytes: all, files: treeFiles + 1},
		{title: "The same command once more: all is there, so nothing is sent.",
			words: []string{"-r", alias + ":" + bigName, alias + ":" + treeName, "back/"}},
	} {
		stage.Say("\n%d. %s", len(d.steps)+1, s.title)
		stage.Say("   $ gomover %s", strings.Join(s.words, " "))
		began := time.Now()
		if err := stage.Run(ctx, d.program, d.near, s.words...); err != nil {
			return fmt.Errorf("gomover %s: %w", strings.Join(s.words, " "), err)
		}
		s.took = time.Since(began)
		d.steps = append(d.steps, s)
	}
	return nil
}

// report says what happened and what to type next.
func (d *demo) report(server *boottest.Server) {
	stage.Say("\nWhat happened")
	for i, s := range d.steps {
		if s.bytes == 0 {
			stage.Say("  %d. nothing to do, known after %.1f s", i+1, s.took.Seconds())
			continue
		}
		stage.Say("  %d. %7.1f MB, files: %4d, %5.1f s from start to exit, %4.0f MB/s", i+1,
			float64(s.bytes)/1e6, s.files, s.took.Seconds(), float64(s.bytes)/1e6/s.took.Seconds())
	}
	stage.Say(`
  Each command logged in once over ssh (%d logins in all), opened parallel
  connections encrypted with a key that was made for that command alone, hashed
  every block at the source and checked it before it counted as arrived, and
  gave each file its name only when it was complete. The demo has then compared
  every byte by itself: all files are the same.

  Both ends ran on this machine, so this shows that it works, not how fast your
  network is.

What to type next, with a host that you reach with ssh
  bin/gomover FILE HOST:                 one file into your home directory there
  bin/gomover -r DIR HOST:               a directory
  bin/gomover -r HOST:DIR .              the other way
  bin/gomover --help                     the usual options
  sudo make install                      to call it just gomover`, server.Logins())
}
