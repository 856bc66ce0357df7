package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/topology"
)

// Settings of the kernel that hosts get.
const (
	// txQueue is how many packets or bundles the kernel holds for the emulator.
	// Ours: at 1 Gbit/s in single packets of 1500 bytes it is some 100 ms.
	txQueue = 8192
	// socketBuffer is the largest socket buffer, in bytes: five times what
	// 1 Gbit/s over 100 ms needs, as the kernel accounts for memory, not payload.
	socketBuffer = 64_000_000
	// tbfBurst and tbfLatency are the bucket and the queue of a host's nic.
	tbfBurst   = "64kb"
	tbfLatency = "50ms"
)

// host is one host, as the emulator sees it.
type host struct {
	index     int
	name      string
	multicast bool
	up, down  *link
	dev       *device
	proc      procFiles

	pending  []item        // packets to be written, with the times when they were due
	ready    time.Duration // when it may be written to again
	overruns int64         // counted so far
}

// procFiles are files below /proc/net of a host's namespace. They stay bound to
// it, whoever reads them.
type procFiles struct{ igmp, igmp6, dev *os.File }

// attach makes the interface of a host and sets up its namespace.
func (h *host) attach(ctx context.Context, t *topology.Topology) error {
	return InHost(h.name, func() (err error) {
		if h.dev, err = openDevice(t.MTU); err != nil {
			return err
		}
		if err := setSysctls(t.CC); err != nil {
			return err
		}
		if err := command(ctx, ipCommands(h.index), "ip", "-batch", "-"); err != nil {
			return err
		}
		if nic := t.Hosts[h.index].NIC; nic > 0 {
			rate := strconv.FormatInt(8*int64(nic), 10) + "bit"
			if err := command(ctx, "", "tc", "qdisc", "add", "dev", ifname, "root", "tbf", "rate", rate, "burst", tbfBurst, "latency", tbfLatency); err != nil {
				return err
			}
		}
		for _, f := range []struct {
			to   **os.File
			name string
		}{{&h.proc.igmp, "igmp"}, {&h.proc.igmp6, "igmp6"}, {&h.proc.dev, "dev"}} {
			if *f.to, err = os.Open("/proc/thread-self/net/" + f.name); err != nil {
				if f.to == &h.proc.igmp6 && errors.Is(err, os.ErrNotExist) {
					continue // a kernel without IPv6
				}
				return fmt.Errorf("looking into the namespace of %s: %w", h.name, err)
			}
		}
		return nil
	})
}

// ipCommands are what ip(8) does for the host with index i, in its namespace.
func ipCommands(i int) string {
	v4, v6 := topology.Address(i, false), topology.Address(i, true)
	return strings.NewReplacer("DEV", ifname, "V4", v4.String(), "V6", v6.String(), "QUEUE", strconv.Itoa(txQueue)).Replace(
		`link set dev lo up
link set dev DEV addrgenmode none
link set dev DEV txqueuelen QUEUE
link set dev DEV up
address add V4/24 dev DEV
address add V6/64 dev DEV nodad
route add default dev DEV
route add 224.0.0.0/4 dev DEV
route add ::/0 dev DEV
`)
}

// setSysctls sets what the kernel keeps per namespace, in that of the thread.
func setSysctls(cc string) error {
	const dir = "/proc/sys/net/ipv4/"
	limit := strconv.Itoa(socketBuffer)
	for _, s := range [][2]string{
		{"tcp_rmem", "4096 131072 " + limit},
		{"tcp_wmem", "4096 65536 " + limit},
		{"tcp_congestion_control", cc},
		{"tcp_no_metrics_save", "1"}, // no connection learns from an earlier one
	} {
		if err := os.WriteFile(dir+s[0], []byte(s[1]), 0o644); err != nil {
			return fmt.Errorf("setting %s to %q: %w", s[0], s[1], err)
		}
	}
	return nil
}

// raiseLimits raises what the kernel keeps for the whole machine: how large a
// socket buffer a program may ask for, and which congestion controls.
func raiseLimits() error {
	for _, file := range []string{"/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("raising the limit on socket buffers: %w", err)
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n >= socketBuffer {
			continue
		}
		if err := os.WriteFile(file, []byte(strconv.Itoa(socketBuffer)), 0o644); err != nil {
			return fmt.Errorf("raising the limit on socket buffers: %w", err)
		}
	}
	const cc = "/proc/sys/net/ipv4/tcp_available_congestion_control"
	text, err := os.ReadFile(cc)
	if err != nil {
		return fmt.Errorf("permitting congestion controls: %w", err)
	}
	if err := os.WriteFile(strings.Replace(cc, "available", "allowed", 1), text, 0o644); err != nil {
		return fmt.Errorf("permitting congestion controls: %w", err)
	}
	return nil
}

// procText reads a file below /proc/net from its start.
func procText(f *os.File, buf []byte) string {
	if f == nil {
		return ""
	}
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	return string(buf[:n])
}

// close removes the interface and what belongs to it.
func (h *host) close() error {
	var errs []error
	for _, f := range []*os.File{h.proc.igmp, h.proc.igmp6, h.proc.dev} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if h.dev != nil {
		errs = append(errs, h.dev.close())
	}
	return errors.Join(errs...)
}
