package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/wire"
)

// TestLostClass tells a broken connection, which is tried again, from another end
// that does not speak the protocol, which is not.
func TestLostClass(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want wire.Class
	}{
		{"end", io.EOF, wire.ClassLost},
		{"broken", errors.New("connection reset by peer"), wire.ClassLost},
		{"malformed", fmt.Errorf("entry: %w", wire.ErrMalformed), wire.ClassProtocol},
		{"length", fmt.Errorf("receiving 4000000000 bytes: %w", framing.ErrTooLong), wire.ClassProtocol},
		{"said", wire.Failf(wire.ClassSpace, "full"), wire.ClassSpace},
	} {
		var f *wire.Fail
		if err := lost(c.err); !errors.As(err, &f) || f.Class != c.want {
			t.Errorf("%s: %v, want class %v", c.name, err, c.want)
		}
	}
	if err := lost(context.Canceled); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}
