package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"time"

	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// classify gives the class of a file error at the sink (dest) or the source.
func classify(err error, dest bool) wire.Class {
	var f *wire.Fail
	switch {
	case err == nil:
		return wire.ClassNone
	case errors.As(err, &f):
		return f.Class
	case errors.Is(err, store.ErrNoSpace):
		return wire.ClassSpace
	case errors.Is(err, store.ErrLocked):
		return wire.ClassBusy
	case errors.Is(err, store.ErrName):
		return wire.ClassProtocol
	case dest:
		return wire.ClassDest
	default:
		return wire.ClassSource
	}
}

// reason is the text of a file error without the operation and path that the
// system's errors carry, as the caller names the file itself.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// lastWords is how long an end that is over waits for the other one to take what
// it still has to say, and to say why it went.
const lastWords = time.Second

// better is the one of two errors that says more: a reason rather than the loss
// of the connection that followed from it, and that rather than a stop.
func better(a, b error) error {
	rank := func(err error) int {
		var f *wire.Fail
		switch {
		case err == nil:
			return 0
		case !errors.As(err, &f):
			return 1
		case f.Class == wire.ClassLost:
			return 2
		}
		return 3
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// isLost tells whether err is the loss of the connection.
func isLost(err error) bool {
	var f *wire.Fail
	return errors.As(err, &f) && f.Class == wire.ClassLost
}

// lost turns an error of the link into the error of the whole run.
func lost(err error) error {
	var f *wire.Fail
	if errors.As(err, &f) || errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, wire.ErrMalformed) || errors.Is(err, framing.ErrTooLong) {
		return wire.Failf(wire.ClassProtocol, "the other end broke the protocol: %v", err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) {
		return wire.Failf(wire.ClassLost, "the connection ended")
	}
	return wire.Failf(wire.ClassLost, "the connection ended: %v", err)
}
