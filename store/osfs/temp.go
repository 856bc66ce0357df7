package osfs

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	tempPrefix    = ".gomover-"
	journalSuffix = ".journal"
	// maxBase is the longest last component that file systems in use accept.
	//
	// Unit: bytes (UTF-16 units on some, which are never more).
	maxBase = 255
	// hashTail is the length of what a shortened name ends in: a tilde and 128
	// bits in hexadecimal digits.
	hashTail = 1 + 32
	// maxJobID keeps room for the rest of a name.
	maxJobID = 64
)

// tempBase derives the last component of the unfinished form of base.
//
// Usually it is prefix+base. Three kinds of base are instead cut where needed
// and end in a hash of the whole, so that no two names ever meet: those that
// would not leave room for ".journal" in 255 bytes, those that end in
// ".journal" (the journal of another file would be named so), and those that
// look shortened already. The plain forms and the shortened forms are thereby
// disjoint, and so are both from all journals.
func tempBase(prefix, base string) string {
	room := maxBase - len(prefix) - len(journalSuffix)
	if len(base) <= room && !strings.HasSuffix(base, journalSuffix) && !endsInHash(base) {
		return prefix + base
	}
	sum := sha256.Sum256([]byte(base))
	cut := base[:min(len(base), room-hashTail)]
	return prefix + cut + "~" + hex.EncodeToString(sum[:(hashTail-1)/2])
}

// endsInHash tells whether base ends like a shortened name.
func endsInHash(base string) bool {
	if len(base) < hashTail || base[len(base)-hashTail] != '~' {
		return false
	}
	for _, c := range []byte(base[len(base)-hashTail+1:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// split cuts a name into its directory ("" for the root) and last component.
func split(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name
	}
	return name[:i], name[i+1:]
}

// join is the name of base in dir.
func join(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}
