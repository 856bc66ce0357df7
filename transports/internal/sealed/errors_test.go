package sealed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/seal"
	"github.com/gomover/gomover/transports/transporttest"
)

// TestInUse: what a system says of a port that cannot be had, and whether the next
// one is to be tried then.
func TestInUse(t *testing.T) {
	for _, tt := range []struct {
		goos string
		no   syscall.Errno
		want bool
	}{
		{"linux", syscall.EADDRINUSE, true},
		{"linux", syscall.EACCES, false}, // a port that only root may open
		{"linux", 10048, false},
		{"windows", 10048, true},  // WSAEADDRINUSE
		{"windows", 10013, true},  // WSAEACCES: exclusively used, or kept back
		{"windows", 10049, false}, // WSAEADDRNOTAVAIL
		{"windows", 0, false},
	} {
		err := fmt.Errorf("opening: %w", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", tt.no)})
		if got := inUse(tt.goos, err); got != tt.want {
			t.Errorf("%s, error number %d: in use %t, want %t", tt.goos, tt.no, got, tt.want)
		}
	}
	if inUse("windows", errors.New("something else")) {
		t.Error("an error without a number means a port in use")
	}
}

// TestSearchGoesOn: the search takes the first port that is not in use.
func TestSearchGoesOn(t *testing.T) {
	no := syscall.EADDRINUSE
	if runtime.GOOS == "windows" {
		no = 10013
	}
	p := transports.Params{Ports: [2]uint16{7, 9}}
	var tried []string
	got, err := Listen(p, "udp", func(_, addr string) (string, error) {
		tried = append(tried, addr)
		if len(tried) < 3 {
			return "", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", no)}
		}
		return addr, nil
	})
	if err != nil || got != ":9" || len(tried) != 3 {
		t.Errorf("listening at %q after %q: %v", got, tried, err)
	}
}

// TestNoAnswer: the numbers of Windows for an end that hangs up mean what the
// others' do, and are tried again.
func TestNoAnswer(t *testing.T) {
	for _, tt := range []struct {
		goos string
		no   syscall.Errno
		want bool
	}{
		{"windows", 10054, true}, {"windows", 10053, true}, {"windows", 10060, false}, {"linux", 10054, false},
	} {
		err := noAnswer(tt.goos, os.NewSyscallError("wsarecv", tt.no))
		if got := errors.Is(err, seal.ErrNoAnswer); got != tt.want {
			t.Errorf("%s, error number %d: no answer %t, want %t", tt.goos, tt.no, got, tt.want)
		}
	}
	if err := noAnswer("windows", nil); err != nil {
		t.Error(err)
	}
}

// TestIsErrno: what other rooms make of the names in package syscall is recognised
// on Windows, too.
func TestIsErrno(t *testing.T) {
	const invented = syscall.Errno(1<<29 + 22) // as package syscall numbers there
	for no, want := range map[syscall.Errno]bool{invented: true, 10054: true, 10061: false} {
		if got := isErrno("windows", no, invented, 10054); got != want {
			t.Errorf("error number %d: %t, want %t", no, got, want)
		}
	}
}

func TestReason(t *testing.T) {
	for want, err := range map[string]error{
		"hung up without an answer":    fmt.Errorf("%w: %w", transports.ErrAuth, seal.ErrNoAnswer),
		"something else answers there": transports.ErrAuth,
		"refused":                      os.NewSyscallError("connect", syscall.ECONNREFUSED),
		"forbidden on this side":       os.NewSyscallError("socket", syscall.EPERM),
		"cancelled":                    net.ErrClosed,
		"timed out":                    context.DeadlineExceeded,
		"out of luck":                  fmt.Errorf("dialling: %w", errors.New("out of luck")),
	} {
		if got := Reason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// TestCutOff: who stops dialling is told what happened with each address until then.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shut, silent := netip.MustParseAddrPort("192.0.2.1:7"), netip.MustParseAddrPort("192.0.2.2:7")
		e, err := New(Config{
			Params: transports.Params{MaxBody: 1},
			Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				if to == shut {
					return nil, syscall.ECONNREFUSED
				}
				<-ctx.Done()
				return nil, fmt.Errorf("connecting: %w", ctx.Err())
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer time.AfterFunc(time.Second, func() { cancel(enough) }).Stop()
		_, err = e.Dial(ctx, transports.Offer{Addrs: []netip.AddrPort{shut, silent}}, 1)
		var de *DialError
		if !errors.Is(err, enough) || !errors.As(err, &de) || de.Reason() != "refused, enough" {
			t.Errorf("error %v", err)
		}
	})
}

// TestHeard: a stranger that connects is heard of, an address where nobody is not.
func TestHeard(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	far := newEnd(t, p)
	p.Listen = false
	p.Secret[0]++
	near := newEnd(t, p)
	nobody := netip.MustParseAddrPort("127.0.0.1:1") // no port that a system gives out
	dial := func(o transports.Offer) {
		if s, err := near.Dial(t.Context(), o, 1); err == nil {
			s.Close()
			t.Error("a stream was made")
		}
	}
	if dial(transports.Offer{Addrs: []netip.AddrPort{nobody}}); !near.Heard().IsZero() {
		t.Error("nobody was heard of")
	}
	if dial(far.Offer()); near.Heard().IsZero() {
		t.Error("a connection was not heard of")
	}
}
