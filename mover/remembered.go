package mover

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gomover/gomover/history"
)

// Remembered gives what is remembered of the jobs to a host and from it, in this
// order; records without jobs where there were none. Nothing is contacted. Errors:
// those of the file of the state folder.
func Remembered(stateDir, host string, port int) ([2]history.Record, error) {
	var both [2]history.Record
	for i, p := range []history.Pair{pairOf(host, port, true), pairOf(host, port, false)} {
		r, err := history.At(filepath.Join(stateDir, historyName)).Load(p)
		if err != nil {
			return both, fmt.Errorf("reading what is remembered of %s: %w", host, err)
		}
		r.Pair = p
		both[i] = r
	}
	return both, nil
}

// pairOf is this host and the far one, in the direction of the data.
func pairOf(host string, port int, push bool) history.Pair {
	far := net.JoinHostPort(strings.ToLower(host), strconv.Itoa(port))
	if push {
		return history.Pair{From: thisHost, To: far}
	}
	return history.Pair{From: far, To: thisHost}
}
