package main

import (
	"slices"
	"testing"

	"github.com/gomover/gomover/events"
)

func TestWithoutSecrets(t *testing.T) {
	given := []string{"pull", "https://me:pass:w@rd@host/f?x=a:b@c", "https://me@host/f", "--metalink=http://u:p@h", "a:b@c", "ssh://me@host:22/f", "./f"}
	want := []string{"pull", "https://me:***@host/f?x=a:b@c", "https://me@host/f", "--metalink=http://u:***@h", "a:b@c", "ssh://me@host:22/f", "./f"}
	before := slices.Clone(given)
	if got := withoutSecrets(given); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if !slices.Equal(given, before) {
		t.Error("the command line itself was changed")
	}
}

// TestPlainOfNothing: what was not looked at is not called verified.
func TestPlainOfNothing(t *testing.T) {
	end := events.JobEnd{DoneBytes: 8_000_000, Ms: 2, FilesSkipped: 1}
	if got, want := summaryPlain(end, "verified", viewStyle{}), "done   8.00MB in 2ms, 0B/s, 0 files, 1 already there, 0 failed"; got != want {
		t.Errorf("%q", got)
	}
}
