package osfs

import (
	"errors"
	"math"

	"github.com/gomover/gomover/store"
)

// Errors of names that are in somebody else's hands.
var (
	errNotRegular = errors.New("not a regular file")
	errUnsteady   = errors.New("the name is being changed by another program")
)

// nanos is a time in nanoseconds since 1970. One that is beyond the reach of
// that, before 1677 or after 2262, becomes the nearest whole second within, at
// the source as at the destination, so that both compare equal.
func nanos(sec, nsec int64) int64 {
	const reach = math.MaxInt64 / 1_000_000_000
	if sec >= reach {
		return reach * 1_000_000_000
	}
	if sec < -reach {
		return -reach * 1_000_000_000
	}
	return sec*1_000_000_000 + nsec
}

// noMode is a value no file's bits have: they are not known.
const noMode = ^uint32(0)

// settings is an entry's attributes reduced to what is to be set.
type settings struct {
	setMode bool
	mode    uint32 // with set-uid, set-gid and sticky bits
	setTime bool
	modTime int64 // nanoseconds since 1970
	uid     int   // -1: leave
	gid     int   // -1: leave
}

// settingsOf picks from e what a asks for. Without Perms an unfinished file,
// which was private until now, gets the bits any new file would get.
func settingsOf(e store.Entry, a store.Attrs, umask uint32) settings {
	s := settings{setMode: true, mode: 0o666 &^ umask, uid: -1, gid: -1}
	if a.Perms {
		s.mode = e.Mode & 0o777
		if a.Special {
			s.mode = e.Mode & 0o7777
		}
	}
	if a.Times {
		s.setTime, s.modTime = true, e.ModTime
	}
	if a.Owner {
		s.uid = int(e.UID)
	}
	if a.Group {
		s.gid = int(e.GID)
	}
	return s
}

// modeAfter is the bits to set once owner and group were tried: a set-uid or
// set-gid program must not end up with an owner it was not meant for.
func (s settings) modeAfter(denied error) uint32 {
	if denied != nil {
		return s.mode &^ 0o6000
	}
	return s.mode
}
