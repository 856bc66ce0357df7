// Command udtfile sends and fetches files over UDT, and understands the sample
// programs of the UDT library, sendfile and recvfile:
//
//	udtfile serve [-listen :9000] [-control NAME] DIR
//	udtfile get HOST:PORT NAME FILE
//
// It shows how to use package transports/udt; gomover itself does much more. There
// is no login and no encryption: whoever reaches the port reads what is in DIR.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports/udt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends what is under way in order, which can take as long as a
	// peer is waited for; the second one ends the program.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "udtfile:", err)
		os.Exit(1)
	}
}

const usage = "udtfile serve [-listen :9000] [-control NAME] DIR, or udtfile get HOST:PORT NAME FILE"

var errUsage = errors.New("usage: " + usage)

// asked is how much a client of the server may send before it is read. Unit: bytes.
const asked = 64 << 10

// run does what the command line says.
func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	if args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		fmt.Println(usage)
		return nil
	}
	flags := flag.NewFlagSet("udtfile "+args[0], flag.ContinueOnError)
	listen, control := ":9000", ""
	if args[0] == "serve" { // whoever sends the data controls its congestion
		flags.StringVar(&listen, "listen", listen, "address and port to listen at")
		flags.StringVar(&control, "control", control, "congestion control: "+udt.ControlNames())
	}
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage:", usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch {
	case args[0] == "serve" && flags.NArg() == 1:
		return serve(ctx, listen, flags.Arg(0), udt.Config{Control: control})
	case args[0] == "get" && flags.NArg() == 3:
		return get(ctx, flags.Arg(0), flags.Arg(1), flags.Arg(2))
	}
	return errUsage
}

// serve sends files from dir to whoever asks, until ctx ends.
func serve(ctx context.Context, listen, dir string, cfg udt.Config) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	cfg.FirstBuffer = asked
	l, err := udt.Listen(ctx, new(netx.System), "udp", listen, cfg)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the UDP port of %s is in use", listen)
	}
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	fmt.Println("listening at", l.Addr())
	s := server{files: root.FS(), say: func(text string) { fmt.Println(text) }}
	return s.run(ctx, l)
}

// resolve gives the first address of a host, with the port.
func resolve(ctx context.Context, addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(ips[0].Unmap().String(), port), nil
}

// get fetches a file; it gets its final name when all of it is there. Only a file
// is replaced.
func get(ctx context.Context, addr, name, file string) (err error) {
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("fetching %s: interrupted", name)
		}
	}()
	if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is there and no file", file)
	}
	if addr, err = resolve(ctx, addr); err != nil {
		return err
	}
	c, err := udt.Dial(ctx, new(netx.System), "udp", addr, udt.Config{})
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	part := filepath.Join(filepath.Dir(file), ".udtfile-"+rand.Text())
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	size, err := fetch(c, name, f)
	if cerr := c.Close(); err == nil && cerr != nil && !errors.Is(cerr, net.ErrClosed) {
		err = cerr
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part, file)
	}
	if err != nil {
		os.Remove(part)
		return err
	}
	fmt.Printf("%s: %d bytes\n", file, size)
	return nil
}
