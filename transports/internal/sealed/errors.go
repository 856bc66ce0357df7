package sealed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/seal"
)

// Attempt is what happened with one address.
type Attempt struct {
	Addr netip.AddrPort
	Err  error
}

// DialError says that no address of an offer led to the other end.
type DialError struct {
	Attempts []Attempt // one per address tried; none: there was none to try
}

// Error lists the addresses with what happened, in words.
func (e *DialError) Error() string {
	if len(e.Attempts) == 0 {
		return "no address to dial"
	}
	var b strings.Builder
	b.WriteString("no data connection: ")
	for i, a := range e.Attempts {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.Addr.String() + " (" + Reason(a.Err) + ")")
	}
	return b.String()
}

// Reason says in a few words what happened to all addresses together, such as
// "timed out" or "timed out, refused"; for messages that do not list addresses.
func (e *DialError) Reason() string {
	var words []string
	for _, a := range e.Attempts {
		if w := Reason(a.Err); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return "no address to dial"
	}
	return strings.Join(words, ", ")
}

// Unwrap returns the addresses' errors. transports.ErrAuth is found in them only
// if every address was somebody else's: else dialling again may help.
func (e *DialError) Unwrap() []error {
	var errs, auth []error
	for _, a := range e.Attempts {
		if errors.Is(a.Err, transports.ErrAuth) {
			auth = append(auth, a.Err)
		} else {
			errs = append(errs, a.Err)
		}
	}
	if len(errs) == 0 {
		return auth
	}
	return errs
}

// Reason says in a few words, without address or call, why a connection to an
// address was not made.
func Reason(err error) string {
	var ne net.Error
	switch {
	case errors.Is(err, seal.ErrNoAnswer):
		return "hung up without an answer"
	case errors.Is(err, transports.ErrAuth):
		return "something else answers there"
	case errnoIs(err, syscall.ECONNREFUSED, 10061):
		return "refused"
	case errnoIs(err, syscall.EHOSTUNREACH, 10065):
		return "host unreachable"
	case errnoIs(err, syscall.ENETUNREACH, 10051):
		return "network unreachable"
	case errnoIs(err, syscall.EACCES, 10013), errnoIs(err, syscall.EPERM, 10013):
		return "forbidden on this side"
	case errnoIs(err, syscall.ECONNRESET, 10054):
		return "reset"
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &ne) && ne.Timeout():
		return "timed out"
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// inUse says whether a port is taken on the system goos. Windows says so with
// WSAEADDRINUSE, or with WSAEACCES where who has the port wants it for himself, or
// the port is in a range that is kept back; it has no ports that only some may
// open. Source: the documentation of SO_EXCLUSIVEADDRUSE.
func inUse(goos string, err error) bool {
	if goos == "windows" {
		return isErrno(goos, err, 0, 10048) || isErrno(goos, err, 0, 10013)
	}
	return isErrno(goos, err, syscall.EADDRINUSE, 0)
}

// noAnswer adds seal.ErrNoAnswer to an error of a greeting that only says, in the
// numbers of Windows, that the other end hung up: WSAECONNRESET or
// WSAECONNABORTED. Package seal knows them by the names that all systems have.
func noAnswer(goos string, err error) error {
	if goos == "windows" && (isErrno(goos, err, 0, 10054) || isErrno(goos, err, 0, 10053)) {
		return fmt.Errorf("%w: %w", seal.ErrNoAnswer, err)
	}
	return err
}

// errnoIs says whether err is the error number of this system; see isErrno.
func errnoIs(err error, unix syscall.Errno, wsa uintptr) bool {
	return isErrno(runtime.GOOS, err, unix, wsa)
}

// isErrno says whether err is an error number of the system goos: unix, or wsa on
// Windows, whose sockets have numbers of their own. There, package syscall has
// inventions for the names of unix, which errors of our own making have.
func isErrno(goos string, err error, unix syscall.Errno, wsa uintptr) bool {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return false
	}
	if goos == "windows" && uintptr(no) == wsa {
		return true
	}
	return unix != 0 && no == unix
}
