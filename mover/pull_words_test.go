package mover

import (
	"testing"

	"github.com/gomover/gomover/transports"
)

func TestProtection(t *testing.T) {
	for way, want := range map[string]string{
		"tcp": "on", "udt": "on", "tcp+udt": "on", "ssh": "ssh", "http": "off", "tcp+http": "", "tcp+ssh": "", "local": "", "": "",
	} {
		if got := protection(way, false, transports.SealOn); got != want {
			t.Errorf("%q: %q, want %q", way, got, want)
		}
	}
	if got := protection("http", true, transports.SealOn); got != "tls" {
		t.Errorf("mirrors reached by https: %q", got)
	}
	if got := protection("tcp", false, transports.SealAuth); got != "auth" {
		t.Errorf("protected against change only: %q", got)
	}
}
