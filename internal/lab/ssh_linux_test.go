package lab

import "testing"

func TestCutMarked(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a\n", "a\n"},
		{markBegin + "x\n" + markEnd, ""},
		{"a\n" + markBegin + "x\n" + markEnd + "b\n", "a\nb\n"},
		{"a\n" + markBegin + "x\n", "a\n" + markBegin + "x\n"}, // somebody has edited it
	} {
		if got, _ := cutMarked(c.in); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.in, got, c.want)
		}
	}
}
