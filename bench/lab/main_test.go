package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHelp(t *testing.T) {
	for _, line := range []string{"--help", "-h", "up --help", "check -help"} {
		if err := run(t.Context(), strings.Fields(line)); err != nil {
			t.Errorf("lab %s: %v", line, err)
		}
	}
	for _, line := range []string{"", "help me", "up", "up --help me"} {
		if err := run(t.Context(), strings.Fields(line)); err != errUsage {
			t.Errorf("lab %s: %v, want %v", line, err, errUsage)
		}
	}
}

func TestReadTopology(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := readTopology(file); err != nil || string(text) != "{}" {
		t.Errorf("got %q, %v", text, err)
	}
	for file, want := range map[string]string{"/dev/zero": "/dev/zero is longer than", file + "x": "no such file"} {
		if _, err := readTopology(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}
