package mover

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/replica/pull"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/transports"
)

// served is a replica on a host that has been reached already.
type served struct{ *sshSource }

func (s served) Open(context.Context) (pull.Facts, error) {
	return pull.Facts{Size: s.file.Size, Ranges: true, Version: "1", Connections: 1}, nil
}

// TestOddPieces fetches from a host what a list verifies in pieces that are no
// blocks of a hash tree, so that no sums come with them.
func TestOddPieces(t *testing.T) {
	const piece = 100_000
	content := make([]byte, 3*piece+17)
	for i := range content {
		content[i] = byte(i * i >> 7)
	}
	from := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(from, content, 0o666); err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	server := peer.NewServer(framing.New(a), []peer.Root{{Open: func() (store.Source, error) { return osfs.NewSource(from, osfs.SourceOptions{}) }}})
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Run(context.Background()) }() // ends with its client
	client := peer.NewClient(framing.New(b))
	defer func() { client.Close(); <-ended }()
	client.AddInside()
	f, err := client.Open(t.Context(), 0, "")
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	dest, err := osfs.NewDest(to, osfs.DestOptions{JobID: "odd"})
	if err != nil {
		t.Fatal(err)
	}
	defer dest.Close()
	check := pull.Check{Known: true, Size: int64(len(content)), PieceLen: piece, ID: "odd", Piece: func(i int64, data []byte) bool {
		return sha256.Sum256(data) == sha256.Sum256(content[i*piece:min(len(content), int(i+1)*piece)])
	}}
	r, err := pull.New(pull.Job{Places: []pull.Place{{Name: "host", Source: served{&sshSource{file: f}}}}, Check: check, Dest: dest, Name: "f",
		Warn: func(_, text string) { t.Error(text) }}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(to, "f"))
	if err != nil || !bytes.Equal(got, content) || r.Verified != "pieces" {
		t.Errorf("%d bytes came, verified by %s: %v", len(got), r.Verified, err)
	}
}

// closedEnd is an endpoint whose path is closed.
type closedEnd struct {
	transports.Endpoint
	dialled atomic.Int32
}

func (e *closedEnd) Dial(context.Context, transports.Offer, uint32) (transports.Stream, error) {
	e.dialled.Add(1)
	return nil, errors.New("no way")
}

// TestInside: that no data connection gets through is found out once for each login,
// and not once for each file.
func TestInside(t *testing.T) {
	a, b := net.Pipe()
	server := peer.NewServer(framing.New(a), nil)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Run(context.Background()) }() // ends with its client
	client := peer.NewClient(framing.New(b))
	defer func() { client.Close(); <-ended }()
	end := &closedEnd{}
	h := &pullHost{all: &pullHosts{d: newDirector(&Job{SSH: true}, nil)}, name: "h"}
	c := &hostConn{h: h, client: client, ep: end, streams: 1}
	defer c.wg.Wait()
	for range 3 {
		if err := c.ways(t.Context(), smallPull+1); err != nil {
			t.Fatal(err)
		}
	}
	n, way := client.Streams()
	if got := end.dialled.Load(); got != 1 || n != 1 || way != "ssh" {
		t.Errorf("dialled %d times, %d streams through %q", got, n, way)
	}
}
