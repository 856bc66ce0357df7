package host

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// shut asks the system whether this user may write to a directory, and writes
// nothing.
func shut(dir string) Shut {
	switch unix.Access(dir, unix.W_OK) {
	case unix.EROFS:
		return ReadOnly
	case unix.EACCES, unix.EPERM:
		return Forbidden
	}
	return Open
}

// buffers reads the kernel's settings. In a network namespace some of them cannot
// be seen, and stay 0.
func buffers() (b Buffers) {
	b.ReadMax, b.WriteMax = number("net/core/rmem_max"), number("net/core/wmem_max")
	b.TCPRead, b.TCPWrite = three("net/ipv4/tcp_rmem"), three("net/ipv4/tcp_wmem")
	b.Scaling = number("net/ipv4/tcp_window_scaling") == 1
	b.Adapts = number("net/ipv4/tcp_moderate_rcvbuf") == 1
	b.Control = text("net/ipv4/tcp_congestion_control")
	b.Controls = strings.Fields(text("net/ipv4/tcp_available_congestion_control"))
	b.Allowed = strings.Fields(text("net/ipv4/tcp_allowed_congestion_control"))
	b.Pacing = text("net/core/default_qdisc")
	b.Backlog = number("net/core/netdev_max_backlog")
	b.MTUProbe = number("net/ipv4/tcp_mtu_probing")
	b.TCPMem = three("net/ipv4/tcp_mem")[2] * int64(os.Getpagesize())
	b.PortsLow = three("net/ipv4/ip_local_port_range")[0]
	b.Known = b.TCPRead[2] > 0
	return b
}

// text reads a setting, "" when there is none.
func text(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func number(name string) int64 { return three(name)[0] }

// three reads up to three numbers.
func three(name string) (out [3]int64) {
	for i, f := range strings.Fields(text(name)) {
		if i == len(out) {
			break
		}
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return [3]int64{}
		}
		out[i] = n
	}
	return out
}

// speed is what a physical adapter says of itself, in bytes per second. Tunnels
// and other virtual interfaces say 10 Mbit/s or 10 Gbit/s whatever they do.
func speed(name string) int64 {
	dir := "/sys/class/net/" + name
	if _, err := os.Stat(dir + "/device"); err != nil {
		return 0
	}
	b, err := os.ReadFile(dir + "/speed")
	if err != nil {
		return 0 // adapters of virtual machines do not know
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 32)
	if err != nil || n <= 0 {
		return 0
	}
	return n * 1e6 / 8
}
