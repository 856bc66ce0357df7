package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/transports/tcpxm"
)

// Ports and the group of sessions.
const (
	receiverPort = 9700
	groupPort    = 9702
	groupAddress = "232.77.0.1" // has one source only (RFC 4607)
)

// session is what all processes of a session know. It goes from this program to them
// in a file; an ssh session would do that else.
type session struct {
	Tag       uint32
	Group     []byte // secret
	Secrets   [][]byte
	Addresses []string // of the receivers
	Sender    string   // its address
	Source    string   // file to send
	Unicast   bool     // no group
	Trace     bool     // the sender prints how it stands, twice a second
}

// newSession makes the session of a sender and receivers.
func newSession(source string, sender *ground.Host, receivers []*ground.Host) *session {
	secret := func() []byte {
		b := make([]byte, tcpxm.SecretLen)
		_, _ = rand.Read(b) // never fails
		return b
	}
	s := &session{Tag: max(1, binary.BigEndian.Uint32(secret())), Group: secret(), Sender: sender.Address, Source: source}
	for _, h := range receivers {
		s.Secrets = append(s.Secrets, secret())
		s.Addresses = append(s.Addresses, h.Address)
	}
	return s
}

// write writes the session to a file.
func (s *session) write(path string) error {
	text, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing what a session knows: %w", err)
	}
	return nil
}

// readSession reads what write wrote.
func readSession(path string) (s *session, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		s = new(session)
		err = json.Unmarshal(text, s)
	}
	if err != nil {
		return nil, fmt.Errorf("reading what a session knows: %w", err)
	}
	for _, b := range append([][]byte{s.Group}, s.Secrets...) {
		if len(b) != tcpxm.SecretLen {
			return nil, fmt.Errorf("reading what a session knows: a secret of %d bytes", len(b))
		}
	}
	return s, nil
}

// destinations are the receivers as the sender knows them.
func (s *session) destinations() (l []tcpxm.Destination, err error) {
	for i, text := range s.Addresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("receiver %d: %w", i, err)
		}
		l = append(l, tcpxm.Destination{Addr: netip.AddrPortFrom(a, receiverPort), Secret: tcpxm.Secret(s.Secrets[i])})
	}
	return l, nil
}

// group is the session's group; zero without one.
func (s *session) group() netip.AddrPort {
	if s.Unicast {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.MustParseAddr(groupAddress), groupPort)
}
