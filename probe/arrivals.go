package probe

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/gomover/gomover/probe/estimate"
)

// maxArrivals bounds the packets of one report.
const maxArrivals = 1 << 15

// maxSpan bounds the time between the first and any other packet of a report.
const maxSpan = time.Hour

// errArrivals says that a list of arrivals is none.
var errArrivals = errors.New("malformed list of arrivals")

// appendArrivals writes a list: for each packet, the differences of its number and
// of its time in ns to the one before, as signed varints (encoding/binary). The
// first time is 0. Packets beyond maxArrivals are left out.
func appendArrivals(b []byte, list []estimate.Arrival) []byte {
	var last estimate.Arrival
	for i, a := range list {
		if i == maxArrivals {
			break
		}
		if i == 0 {
			last.At = a.At
		}
		b = binary.AppendVarint(b, int64(a.Seq)-int64(last.Seq))
		b = binary.AppendVarint(b, int64(a.At-last.At))
		last = a
	}
	return b
}

// parseArrivals reads such a list. Errors: errArrivals for one that ends early, is
// longer than maxArrivals or maxSpan, or has numbers that none can be.
func parseArrivals(b []byte) (list []estimate.Arrival, err error) {
	var seq, at int64
	for len(b) > 0 {
		ds, n := binary.Varint(b)
		if n <= 0 {
			return nil, errArrivals
		}
		dt, m := binary.Varint(b[n:])
		if m <= 0 || len(list) == maxArrivals {
			return nil, errArrivals
		}
		b = b[n+m:]
		const far = int64(maxSpan)
		if ds < -1<<32 || ds > 1<<32 || dt < -far || dt > far {
			return nil, errArrivals
		}
		seq, at = seq+ds, at+dt
		if seq < 0 || seq >= 1<<32 || at < -far || at > far {
			return nil, errArrivals
		}
		list = append(list, estimate.Arrival{Seq: uint32(seq), At: time.Duration(at)})
	}
	return list, nil
}
