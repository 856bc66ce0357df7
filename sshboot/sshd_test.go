package sshboot

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBootRealServer(t *testing.T) {
	w := newWorld(t)
	sh := w.dial(w.options())
	o := bootOptions(t)
	t.Log("# the first boot uploads")
	b := boot(t, sh, o)
	if !b.Uploaded || b.Path != filepath.Join(w.farHome, ".cache/gomover") {
		t.Errorf("uploaded %v to %q", b.Uploaded, b.Path)
	}
	if b.Greeting.Version != "1.2.3" || b.Greeting.Extra != "token" {
		t.Errorf("greeting %+v", b.Greeting)
	}
	t.Log("# the second finds the copy")
	if b = boot(t, sh, o); b.Uploaded {
		t.Error("uploaded again")
	}
	file := filepath.Join(w.farHome, ".cache/gomover", o.copyName())
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("copy: %v %v", st, err)
	}
	t.Log("# a truncated copy is noticed and replaced")
	if err := os.Truncate(file, 100000); err != nil {
		t.Fatal(err)
	}
	if b = boot(t, sh, o); !b.Uploaded {
		t.Error("truncated copy was used")
	}
	if b = boot(t, sh, o); b.Uploaded {
		t.Error("replaced copy was not used")
	}
	leftovers(t, w.farHome)
}
