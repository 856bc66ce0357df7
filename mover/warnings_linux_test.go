package mover

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/wire"
)

// TestWarningsWait: what comes up before Ready is said behind it, in order.
func TestWarningsWait(t *testing.T) {
	near, far := engine.MemoryLink()
	defer near.Close()
	w := &warnings{link: far}
	w.say("net.buffer", "first", "")
	w.say("net.buffer", "second", "")
	if err := sendJSON(far, wire.KindReady, ready{}); err != nil {
		t.Fatal(err)
	}
	w.release()
	w.say("dest.owner", "third", "f")
	var got []string
	for range 4 {
		msg, err := near.Recv()
		if err != nil {
			t.Fatal(err)
		}
		k, body, err := wire.Split(msg)
		if err != nil {
			t.Fatal(err)
		}
		var m wire.Warn
		if k == wire.KindWarn {
			if err := wire.ParseJSON(body, &m); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, fmt.Sprint(k, m.Text))
	}
	want := fmt.Sprint([]string{fmt.Sprint(wire.KindReady, ""), fmt.Sprint(wire.KindWarn, "first"),
		fmt.Sprint(wire.KindWarn, "second"), fmt.Sprint(wire.KindWarn, "third")})
	if fmt.Sprint(got) != want {
		t.Errorf("said %v, want %s", got, want)
	}
}

// TestAgentWarns: an agent whose system grants less than was asked for gets ready
// all the same, and then says so. Nobody is granted socket buffers of 1 GiB.
func TestAgentWarns(t *testing.T) {
	near, far := net.Pipe()
	dir := t.TempDir()
	done := make(chan error, 1)
	go func() {
		done <- ServeAgent(t.Context(), AgentEnv{Control: far, Version: "1", OS: "linux", Arch: "amd64", Home: dir, StateDir: dir})
	}()
	in := bufio.NewReader(near)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn := framing.New(struct {
		io.Reader
		io.Writer
		io.Closer
	}{in, near, near})
	err := sendJSON(conn, wire.KindStart, start{Version: wire.Version, JobID: "abc", Secret: make([]byte, 32),
		Write: &writeSpec{Path: []byte(filepath.Join(dir, "f")), Shown: "f"}, TCP: true, Listen: true, Window: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	var rd ready
	if err := recvKind(conn, wire.KindReady, &rd); err != nil {
		t.Fatalf("not ready: %v", err)
	}
	var m wire.Warn
	if err := recvKind(conn, wire.KindWarn, &m); err != nil || m.Code != "net.buffer" {
		t.Errorf("said %+v, %v", m, err)
	}
	conn.Close()
	<-done
}
