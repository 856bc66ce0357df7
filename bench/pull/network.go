package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
	"github.com/gomover/gomover/internal/payload"
)

// payloadShare is what of a link's rate its packets of 1500 bytes can carry.
const payloadShare = 0.965

// mbit is a rate in bytes per second.
const mbit = 1e6 / 8

// site is a replica's place.
type site struct {
	name  string
	rate  float64 // of its up link, in Mbit/s
	delay time.Duration
}

// sites are those of testdata/topologies/replicas.json, the slowest first, and one
// more that only the row wrong uses.
var sites = []site{
	{"h1", 100, 10 * time.Millisecond},
	{"h2", 200, 30 * time.Millisecond},
	{"h3", 400, 60 * time.Millisecond},
	{"h4", 100, 20 * time.Millisecond},
}

// inUse is how many of the sites all other rows use: the first ones.
const inUse = 3

// sinkRate is what the receiving end's link carries, in Mbit/s.
const sinkRate = 1000

// fileName is that of the object on every mirror; pieceBytes the length of the
// parts of which the list has hashes.
const (
	fileName   = "f"
	pieceBytes = 1 << 20
)

// network is the hosts, with a web server on each but the first.
type network struct {
	*ground.Ground
	b       *bench
	dir     string    // in memory
	size    int64     // of the payload that is there
	pieces  string    // hashes of its pieces, as a list has them
	mirrors []*mirror // those in use
	spare   *mirror
}

// mirror is a web server and what it serves.
type mirror struct {
	site
	host   *ground.Host
	root   string // directory that it serves
	server peer.Server
	kept   map[int]bool // processes that the host had before
	done   chan struct{}
	said   bytes.Buffer // may be read when done is closed
}

// up gives the network in its first state: all links as they were, all servers up,
// and a payload of size bytes on all of them.
func (b *bench) up(ctx context.Context, size int64) (*network, error) {
	if b.net == nil {
		n, err := b.network(ctx)
		if err != nil {
			return nil, err
		}
		b.net = n
	}
	return b.net, b.net.restore(ctx, size)
}

// down takes the network down.
func (b *bench) down() {
	if b.net != nil {
		b.net.Close()
		b.net = nil
	}
}

func (b *bench) network(ctx context.Context) (*network, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("looking for the user's cache: %w", err)
	}
	t := ground.Topology{Control: "cubic", Sites: []ground.Site{{Name: "h0", Link: &ground.Link{Rate: rateText(sinkRate)}}}}
	for _, s := range sites {
		t.Sites = append(t.Sites, ground.Site{
			Name: s.name, Link: &ground.Link{Rate: rateText(sinkRate), Delay: s.delay.String()}, Up: &ground.Link{Rate: rateText(s.rate)},
		})
	}
	g, err := ground.Emulated(ctx, ground.Setup{Groups: b.Groups, Program: b.Lab, Dir: b.Dir, Cache: cache}, t)
	if err != nil {
		return nil, err
	}
	g.Quiet = b.Quiet
	n := &network{Ground: g, b: b, dir: filepath.Join(b.Dir, "net")}
	g.OnClose(func() { os.RemoveAll(n.dir) })
	for _, s := range sites {
		m := &mirror{site: s, host: g.Host(s.name), root: filepath.Join(n.dir, s.name), kept: map[int]bool{}}
		for _, pid := range m.host.Group.PIDs() {
			m.kept[pid] = true
		}
		n.mirrors = append(n.mirrors, m)
		if err := os.MkdirAll(m.root, 0o755); err != nil {
			g.Close()
			return nil, err
		}
	}
	n.mirrors, n.spare = n.mirrors[:inUse:inUse], n.mirrors[inUse]
	return n, nil
}

// rateText is a rate in Mbit/s for the emulator.
func rateText(mbits float64) string { return fmt.Sprintf("%.0fkbit", mbits*1000) }

// restore sets everything back to where a row starts.
func (n *network) restore(ctx context.Context, size int64) error {
	if err := n.Emulator.Set(ctx, "all", "cut=false"); err != nil {
		return err
	}
	if err := n.Emulator.Set(ctx, "h0", "rate="+rateText(sinkRate)); err != nil {
		return err
	}
	for _, m := range n.all() {
		if err := n.Emulator.Set(ctx, m.name+".up", "rate="+rateText(m.rate), "loss=0"); err != nil {
			return err
		}
		if err := m.start(ctx, n); err != nil {
			return err
		}
	}
	if _, err := n.Rest(ctx); err != nil {
		return err
	}
	return n.fill(ctx, size)
}

// start starts the web server unless it runs.
func (m *mirror) start(ctx context.Context, n *network) error {
	if m.done != nil {
		select {
		case <-m.done: // it was killed
		default:
			return nil
		}
	}
	conf, text, server := peer.Mirror(peer.Host{Name: m.name, Address: m.host.Address}, m.root, n.dir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return err
	}
	m.server, m.done = server, make(chan struct{})
	m.said.Reset()
	cmd := n.Command(ctx, m.host, server.Args...)
	cmd.Stdout, cmd.Stderr = &m.said, &m.said
	if err := cmd.Start(); err != nil {
		close(m.done)
		return fmt.Errorf("starting %s: %w", server.Args[0], err)
	}
	done := m.done
	go func() {
		defer close(done)
		_ = cmd.Wait() // it is killed in the end
	}()
	return m.bound(ctx)
}

// bound waits until the server listens.
func (m *mirror) bound(ctx context.Context) error {
	for range 500 {
		for _, s := range ground.Sockets(m.host.PID, m.server.Protocol) {
			if s.Local == m.server.Port && s.Listening {
				return nil
			}
		}
		select {
		case <-m.done:
			return fmt.Errorf("%s has ended: %s", m.server.Args[0], ground.Tail(m.said.String()))
		default:
		}
		if err := ground.Wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s does not listen", m.server.Args[0])
}

// kill ends the web server, as when its host's power fails but the host's kernel
// still refuses connections.
func (m *mirror) kill() { m.host.Group.KillExcept(m.kept) }

// all are the mirrors, also the one that is seldom used.
func (n *network) all() []*mirror { return append(n.mirrors, n.spare) }

func (n *network) payload() string { return filepath.Join(n.dir, "payload") }

func (n *network) list() string { return filepath.Join(n.dir, fileName+".meta4") }

// fill puts the payload on all mirrors and lists those in use.
func (n *network) fill(ctx context.Context, size int64) error {
	if n.size != size {
		n.size = 0
		for _, m := range n.all() {
			os.Remove(filepath.Join(m.root, fileName))
		}
		if err := payload.MakeFile(ctx, n.payload(), size, 1); err != nil {
			return err
		}
		if err := n.hash(); err != nil {
			return err
		}
		n.size = size
	}
	for _, m := range n.all() {
		at := filepath.Join(m.root, fileName)
		os.Remove(at)
		if err := os.Link(n.payload(), at); err != nil {
			return err
		}
	}
	return n.writeList(n.mirrors)
}

// hash makes what a list says of the payload's pieces.
func (n *network) hash() error {
	f, err := os.Open(n.payload())
	if err != nil {
		return err
	}
	defer f.Close()
	var text strings.Builder
	fmt.Fprintf(&text, "<pieces length=\"%d\" type=\"sha-256\">\n", pieceBytes)
	part := make([]byte, pieceBytes)
	for {
		k, err := io.ReadFull(f, part)
		if k > 0 {
			fmt.Fprintf(&text, "<hash>%x</hash>\n", sha256.Sum256(part[:k]))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	n.pieces = text.String() + "</pieces>\n"
	return nil
}

// writeList writes a list of mirrors with the hashes of all pieces (RFC 5854).
func (n *network) writeList(mirrors []*mirror) error {
	var text strings.Builder
	info, err := os.Stat(n.payload())
	if err != nil {
		return err
	}
	fmt.Fprintf(&text, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n<file name=\"%s\">\n<size>%d</size>\n%s", fileName, info.Size(), n.pieces)
	for _, m := range mirrors {
		fmt.Fprintf(&text, "<url priority=\"1\">%s</url>\n", m.url())
	}
	text.WriteString("</file>\n</metalink>\n")
	return os.WriteFile(n.list(), []byte(text.String()), 0o644)
}

// url is where a mirror has the object.
func (m *mirror) url() string {
	return peer.MirrorURL(peer.Host{Name: m.name, Address: m.host.Address}, fileName)
}

// rates are those of the mirrors in use, in Mbit/s.
func rates() (l []float64) {
	for _, s := range sites[:inUse] {
		l = append(l, s.rate)
	}
	return l
}

// carried is what all mirrors of these rates together bring to the sink, in bytes
// per second.
func carried(rates []float64, sink float64) float64 {
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return min(sum, sink) * mbit * payloadShare
}
