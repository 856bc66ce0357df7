package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/internal/netx"
)

// What a forger does, by the numbers of the datagrams that it hears.
const (
	forgeEvery  = 400   // one is forged
	repeatEvery = 20    // one is sent again
	forgeAhead  = 64    // segments by which what is forged is ahead of what was heard
	numberAhead = 2_000 // datagrams
)

// Layout of a datagram, see docs/tcpxm.md.
const (
	shimLen   = 16
	headerLen = 20
	groupKind = 0x12 // version 1, sealed for the group
)

// forge hears the group and knows its key, as each receiver does. It sends some of what
// it hears again, and in the sender's name datagrams that are sealed right and hold other
// bytes. It ends when it is killed.
func (s *session) forge(ctx context.Context) error {
	group := s.group()
	source, err := netip.ParseAddr(s.Sender)
	if err != nil {
		return err
	}
	pc, err := (&netx.System{}).ListenPacket(ctx, "udp4", group.String())
	if err != nil {
		return err
	}
	defer pc.Close()
	g, ok := pc.(netx.GroupConn)
	if !ok {
		return fmt.Errorf("a socket of %T has no groups", pc)
	}
	if err := g.JoinGroup(group.Addr(), source); err != nil {
		return err
	}
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("opening a raw socket: %w", err)
	}
	defer unix.Close(raw)
	key, err := s.groupKey()
	if err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	for count := 0; ; count++ {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return err
		}
		at, err := netip.ParseAddrPort(from.String())
		if err != nil || n < shimLen+headerLen+16 || b[0] != groupKind {
			continue
		}
		if count%repeatEvery == 0 {
			_ = spoof(raw, at, group, b[:n]) // what is lost is lost
		}
		if count%forgeEvery == 0 {
			if d := key.forge(b[:n]); d != nil {
				_ = spoof(raw, at, group, d)
			}
		}
	}
}

// groupKey is the group's first key.
type groupKey struct {
	aead cipher.AEAD
	iv   [12]byte
}

// groupKey derives the key as docs/tcpxm.md says.
func (s *session) groupKey() (*groupKey, error) {
	info := binary.BigEndian.AppendUint32([]byte("gomover xm 1 grp "), s.Tag)
	info = append(info, make([]byte, 1+8)...) // epoch and number of the key
	out, err := hkdf.Expand(sha256.New, s.Group, string(info), 16+12)
	if err != nil {
		return nil, fmt.Errorf("deriving the group's key: %w", err)
	}
	block, err := aes.NewCipher(out[:16])
	if err != nil {
		return nil, fmt.Errorf("deriving the group's key: %w", err)
	}
	k := &groupKey{iv: [12]byte(out[16:])}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("deriving the group's key: %w", err)
	}
	return k, nil
}

// nonce is that of a datagram's number.
func (k *groupKey) nonce(number uint64) []byte {
	n := k.iv
	for i := range 8 {
		n[4+i] ^= byte(number >> (56 - 8*i))
	}
	return n[:]
}

// forge makes another datagram of one: for a later part of the stream, with another
// byte. It is nil if the datagram does not open.
func (k *groupKey) forge(d []byte) []byte {
	head := append([]byte(nil), d[:shimLen]...)
	number := binary.BigEndian.Uint64(head[8:])
	plain, err := k.aead.Open(nil, k.nonce(number), d[shimLen:], head)
	if err != nil || len(plain) <= headerLen {
		return nil
	}
	seq := binary.BigEndian.Uint32(plain[4:])
	binary.BigEndian.PutUint32(plain[4:], seq+uint32(forgeAhead*(len(plain)-headerLen)))
	plain[len(plain)-1] ^= 1
	number += numberAhead
	binary.BigEndian.PutUint64(head[8:], number)
	return k.aead.Seal(head, k.nonce(number), plain, head)
}

// spoof sends a datagram in the name of another host, without a checksum.
func spoof(raw int, from, to netip.AddrPort, d []byte) error {
	const ip, udp = 20, 8
	b := make([]byte, ip+udp, ip+udp+len(d))
	b[0], b[8], b[9] = 0x45, 32, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(ip+udp+len(d)))
	src, dst := from.Addr().Unmap().As4(), to.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[ip:], from.Port())
	binary.BigEndian.PutUint16(b[ip+2:], to.Port())
	binary.BigEndian.PutUint16(b[ip+4:], uint16(udp+len(d)))
	return unix.Sendto(raw, append(b, d...), 0, &unix.SockaddrInet4{Addr: dst})
}
