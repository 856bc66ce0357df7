package sshboot

import "testing"

func TestErrorText(t *testing.T) {
	e := &Error{Host: "h", Text: "cannot be reached", Detail: "ssh: connect to host h port 22: Connection refused\nbye", Hints: []string{"ssh h"}}
	const want = "h: cannot be reached\n  ssh: connect to host h port 22: Connection refused\n  ssh: bye\n  hint: ssh h"
	if got := e.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
