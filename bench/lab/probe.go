package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Probes are run on hosts by check, as "lab probe send" and "lab probe receive",
// to count packets: what a receiver lacks must be what the links have dropped.

// Bounds of a probe's patience.
const (
	firstWait = 20 * time.Second        // for the first packet
	quietWait = 1500 * time.Millisecond // after the last: longer than any line is
)

// probeMax bounds packets and their numbers, so that no list grows without end.
const probeMax = 10_000_000

// received is what a receiving probe prints as JSON.
type received struct {
	Packets int64 `json:"packets"` // different ones
	Again   int64 `json:"again"`   // that came more than once
	Late    int64 `json:"late"`    // that came behind a later one, for the first time
	Bad     int64 `json:"bad"`     // with wrong content
}

func probe(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "receive":
		return probeReceive(ctx, args[1])
	case len(args) == 6 && args[0] == "send":
		var n [4]int
		for i, text := range args[2:] {
			v, err := strconv.Atoi(text)
			if err != nil || v < 1 || v > probeMax {
				return fmt.Errorf("%q is not a number within 1 and %d", text, probeMax)
			}
			n[i] = v
		}
		return probeSend(ctx, args[1], n[0], n[1], n[2], n[3])
	}
	return errUsage
}

// fill writes the content of packet number seq, which depends on it alone.
func fill(b []byte, seq int64) {
	binary.BigEndian.PutUint64(b, uint64(seq))
	for i := 8; i < len(b); i++ {
		b[i] = byte(seq) + byte(i)
	}
}

// probeReceive counts the packets of one sender that come to an address, which
// may be that of a group.
func probeReceive(ctx context.Context, address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("receiving: %w", err)
	}
	conn, err := listen(to)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	defer stop()
	fmt.Println("ready")
	var r received
	seen := make([]bool, probeMax)
	buf, want := make([]byte, 1<<16), make([]byte, 1<<16)
	last := int64(-1)
	for wait := firstWait; ctx.Err() == nil; wait = quietWait {
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		if n < 8 || binary.BigEndian.Uint64(buf) >= probeMax {
			r.Bad++
			continue
		}
		seq := int64(binary.BigEndian.Uint64(buf))
		fill(want[:n], seq)
		switch {
		case string(buf[:n]) != string(want[:n]):
			r.Bad++
		case seen[seq]:
			r.Again++
		default:
			seen[seq] = true
			r.Packets++
			if seq < last {
				r.Late++
			}
			last = max(last, seq)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// listen opens the socket of a receiver.
func listen(to netip.AddrPort) (conn *net.UDPConn, err error) {
	if !to.Addr().IsMulticast() {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(to))
	} else {
		var ifi *net.Interface
		if ifi, err = net.InterfaceByName("wan0"); err == nil {
			conn, err = net.ListenMulticastUDP("udp", ifi, net.UDPAddrFromAddrPort(to))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listening on %v: %w", to, err)
	}
	if err := conn.SetReadBuffer(32 << 20); err != nil {
		conn.Close()
		return nil, fmt.Errorf("listening on %v: %w", to, err)
	}
	return conn, nil
}

// probeSend sends count packets of size bytes to an address, so many per second.
func probeSend(ctx context.Context, address string, count, size, perSecond, ttl int) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return fmt.Errorf("sending to %v: %w", to, err)
	}
	defer conn.Close()
	if to.Addr().IsMulticast() {
		if err := setTTL(conn, ttl); err != nil {
			return err
		}
	}
	buf := make([]byte, max(size, 8))
	start := time.Now()
	for seq := 0; seq < count; {
		due := int(time.Since(start).Seconds()*float64(perSecond)) + 1
		for ; seq < min(due, count); seq++ {
			fill(buf, int64(seq))
			if _, err := conn.Write(buf); err != nil {
				return fmt.Errorf("sending to %v: %w", to, err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// setTTL sets how many routers multicast packets of a socket may pass.
func setTTL(conn *net.UDPConn, ttl int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("setting the time to live: %w", err)
	}
	var setErr error
	err = raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, ttl)
	})
	if err := errors.Join(err, setErr); err != nil {
		return fmt.Errorf("setting the time to live: %w", err)
	}
	return nil
}
