package ground

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// HighWater is the most that a process has held resident so far (VmHWM). Unit:
// bytes; 0 if it is gone. Source: proc(5), /proc/PID/status.
func HighWater(pid int) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// Busy is the time that all processors have spent working since the start of
// the machine. Source: proc(5), /proc/stat, in hundredths of a second.
func Busy() time.Duration {
	f := strings.Fields(FirstLine("/proc/stat"))
	var sum int64
	for i, field := range f {
		// 1 user, 2 nice, 3 system, 4 idle, 5 iowait, 6 irq, 7 softirq
		if i >= 1 && i <= 7 && i != 4 && i != 5 {
			n, _ := strconv.ParseInt(field, 10, 64)
			sum += n
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// Monotonic is the machine's monotonic clock, the same for all processes. Unit:
// seconds.
func Monotonic() float64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // always there on Linux
	return float64(t.Sec) + float64(t.Nsec)/1e9
}

// CPUModel is the processor's name.
func CPUModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// FirstLine is the first line of a file, or "unknown".
func FirstLine(path string) string {
	data, err := os.ReadFile(path)
	line, _, _ := strings.Cut(string(data), "\n")
	if err != nil || line == "" {
		return "unknown"
	}
	return line
}

// Socket is one line of the kernel's lists of sockets.
type Socket struct {
	Local, Remote int  // ports
	Established   bool // TCP only
	Listening     bool // TCP: waits for connections; UDP: bound
}

// Sockets lists those of a process's network namespace. Protocol is "tcp" or
// "udp". Source: proc(5), /proc/net/tcp.
func Sockets(pid int, protocol string) (list []Socket) {
	for _, file := range []string{protocol, protocol + "6"} {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		for line := range bytes.Lines(data) {
			f := strings.Fields(string(line))
			if len(f) < 4 || !strings.HasSuffix(f[0], ":") {
				continue
			}
			list = append(list, Socket{
				Local: port(f[1]), Remote: port(f[2]),
				Established: protocol == "tcp" && f[3] == "01",
				Listening:   protocol == "udp" || f[3] == "0A",
			})
		}
	}
	return list
}

// port reads the port of an address such as 0100007F:08AE.
func port(address string) int {
	_, text, _ := strings.Cut(address, ":")
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(raw))
}

// Traffic is what the interfaces of a process's network namespace, the loopback
// interface excepted, have received and sent since they were made. Unit: bytes.
// Source: proc(5), /proc/PID/net/dev.
func Traffic(pid int) (received, sent int64) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	return traffic(string(data))
}

// traffic reads the text of /proc/net/dev.
func traffic(text string) (received, sent int64) {
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || strings.TrimSpace(name) == "lo" || len(f) < 9 {
			continue
		}
		in, _ := strconv.ParseInt(f[0], 10, 64)
		out, _ := strconv.ParseInt(f[8], 10, 64)
		received, sent = received+in, sent+out
	}
	return received, sent
}

// Interface is the name of the first interface of a process's network namespace
// that is not the loopback interface; "" if there is none.
func Interface(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	for line := range strings.Lines(string(data)) {
		if name, _, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) != "lo" {
			return strings.TrimSpace(name)
		}
	}
	return ""
}
