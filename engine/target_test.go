package engine

import "testing"

func TestPortHint(t *testing.T) {
	for _, c := range []struct{ shown, missing, want string }{
		{"far:2222:/d", "2222:", "a port is given as -P 2222 or ssh://far:2222/d"},
		{"u@far:22:d/e", "22:d", "a port is given as -P 22 or ssh://u@far:22/~/d/e"},
		{"far:22:~/d", "22:~", "a port is given as -P 22 or ssh://far:22/~/d"},
		{"[::1]:2222:/d", "2222:", "a port is given as -P 2222 or ssh://[::1]:2222/d"},
		{"far:22", "22", ""},
		{"far:0:/d", "0:", ""},
		{"far:99999:/d", "99999:", ""},
		{"far:x:/d", "x:", ""},
		{"./2222:/d/e", "2222:/d", ""},
		{"ssh://far:22/2222:/d", "2222:", ""},
		{"far:/2222:/d", "/2222:", ""},
	} {
		if got := portHint(c.shown, c.missing); got != c.want {
			t.Errorf("portHint(%q, %q) = %q, want %q", c.shown, c.missing, got, c.want)
		}
	}
}
