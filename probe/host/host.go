// Package host tells what a host has to offer to a transfer: its network
// interface, processors, memory, disk and the kernel's limits of buffers. It only
// looks; nothing is changed and nothing written.
//
// What a system does not tell stays zero, which means "not known".
package host

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/mem"
	psnet "github.com/shirou/gopsutil/v3/net"
)

// Facts is what is known of a host. Rates are in bytes per second, sizes in bytes,
// shares 0..1.
type Facts struct {
	OS        string    `json:"os"`
	Processor Processor `json:"cpu"`
	Memory    Memory    `json:"memory"`
	Network   Network   `json:"network"`
	Buffers   Buffers   `json:"buffers"`
	Disk      Disk      `json:"disk"`
}

// Processor is what the processors have to do.
type Processor struct {
	Cores   int     `json:"cores"`   // that this program may use at once
	Busy    float64 `json:"busy"`    // of all of the host's
	Hottest float64 `json:"hottest"` // the busiest one
}

// Memory is the host's.
type Memory struct {
	Bytes int64 `json:"bytes"`
	Free  int64 `json:"free_bytes"` // can be used without swapping
}

// Network is the interface that leads to the other end.
type Network struct {
	Name string `json:"name"`
	MTU  int    `json:"mtu"`
	// Speed is of a physical adapter; virtual ones tell figures that mean nothing,
	// and have none here.
	Speed int64 `json:"speed_bps"`
	Sends int64 `json:"sends_bps"` // at present, all programs
	Gets  int64 `json:"gets_bps"`
	// Groups tells that it takes multicast.
	Groups bool `json:"groups"`
}

// Buffers are the kernel's limits of socket buffers, and its congestion controls.
type Buffers struct {
	ReadMax  int64    `json:"rmem_max"`     // that a program may ask for
	WriteMax int64    `json:"wmem_max"`     // likewise
	TCPRead  [3]int64 `json:"tcp_rmem"`     // least, first, most that the kernel gives by itself
	TCPWrite [3]int64 `json:"tcp_wmem"`     // likewise
	Scaling  bool     `json:"scaling"`      // windows beyond 64 KiB (RFC 7323)
	Adapts   bool     `json:"moderate"`     // receive buffers grow by themselves
	Control  string   `json:"cc"`           // congestion control of new connections
	Controls []string `json:"ccs"`          // that are loaded
	Allowed  []string `json:"allowed_ccs"`  // that programs without privileges may choose
	Known    bool     `json:"known"`        // the system told any of this
	Pacing   string   `json:"qdisc"`        // queueing discipline of new interfaces
	Backlog  int64    `json:"backlog"`      // packets between adapter and protocol, per processor
	TCPMem   int64    `json:"tcp_mem_max"`  // all TCP buffers together
	MTUProbe int64    `json:"mtu_probing"`  // TCP finds the path MTU by itself: 0 no, 1 when packets vanish, 2 yes
	PortsLow int64    `json:"ports_lowest"` // first port of those given out by the system
}

// Disk is what holds a directory.
type Disk struct {
	Dir   string  `json:"dir"`
	FS    string  `json:"fs"`
	Bytes int64   `json:"bytes"`
	Free  int64   `json:"free_bytes"` // for this user
	Files int64   `json:"free_files"` // -1: not limited, or not known
	Busy  float64 `json:"busy"`       // of the time in which it was looked at; 0 also when not known
	Shut  Shut    `json:"shut"`       // why nothing can be written to the directory
}

// Shut is why nothing can be written to a directory.
type Shut string

// The reasons.
const (
	Open      Shut = "" // it can be written to, or that is not known
	ReadOnly  Shut = "read-only"
	Forbidden Shut = "forbidden" // to this user
)

// Ask says what is looked at.
type Ask struct {
	Peer netip.Addr    // the other end; invalid: the network is left out
	Dir  string        // whose disk is meant
	For  time.Duration // how long loads are watched
}

// Gather looks at the host for as long as it is asked to, or until ctx ends; what
// is known by then is returned.
func Gather(ctx context.Context, a Ask) Facts {
	f := Facts{OS: runtime.GOOS}
	f.Processor.Cores = runtime.GOMAXPROCS(0)
	f.Buffers = buffers()
	if a.Peer.IsValid() {
		f.Network = Toward(a.Peer)
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		f.Memory = Memory{Bytes: int64(m.Total), Free: int64(m.Available)}
	}
	f.Disk.fill(ctx, a.Dir)
	f.watch(ctx, a)
	return f
}

// watch compares counters at the beginning and at the end of a while.
func (f *Facts) watch(ctx context.Context, a Ask) {
	device := device(ctx, a.Dir)
	cores, _ := cpu.TimesWithContext(ctx, true) // not known: stays 0, as all below
	sends, gets := traffic(ctx, f.Network.Name)
	busy := diskBusy(ctx, device)
	began := time.Now()
	timer := time.NewTimer(a.For)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	took := time.Since(began)
	if took <= 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	after, _ := cpu.TimesWithContext(ctx, true)
	f.Processor.load(cores, after)
	sends2, gets2 := traffic(ctx, f.Network.Name)
	f.Network.Sends, f.Network.Gets = per(sends2-sends, took), per(gets2-gets, took)
	f.Disk.Busy = share(float64(diskBusy(ctx, device)-busy) / took.Seconds() / 1000)
}

// load computes what the processors did between two readings.
func (p *Processor) load(before, after []cpu.TimesStat) {
	if len(before) != len(after) || len(after) == 0 {
		return
	}
	var sum float64
	for i := range after {
		b := busyTime(after[i]) - busyTime(before[i])
		idle := after[i].Idle + after[i].Iowait - before[i].Idle - before[i].Iowait
		if b+idle <= 0 {
			continue
		}
		u := share(b / (b + idle))
		sum += u
		p.Hottest = max(p.Hottest, u)
	}
	p.Busy = sum / float64(len(after))
}

// busyTime is what a processor did not idle; the time of guests is part of that
// of users.
func busyTime(t cpu.TimesStat) float64 {
	return t.User + t.Nice + t.System + t.Irq + t.Softirq + t.Steal
}

func share(x float64) float64 {
	if x > 0 { // not NaN either
		return min(x, 1)
	}
	return 0
}

func per(n int64, d time.Duration) int64 { return max(0, int64(float64(n)/d.Seconds())) }

// traffic gives the counters of an interface.
func traffic(ctx context.Context, name string) (sent, got int64) {
	if name == "" {
		return 0, 0
	}
	all, err := psnet.IOCountersWithContext(ctx, true)
	if err != nil {
		return 0, 0
	}
	for _, c := range all {
		if c.Name == name {
			return int64(c.BytesSent), int64(c.BytesRecv)
		}
	}
	return 0, 0
}

// fill says how full the disk of a directory is.
func (d *Disk) fill(ctx context.Context, dir string) {
	d.Dir, d.Files = dir, -1
	if dir == "" {
		return
	}
	u, err := disk.UsageWithContext(ctx, dir)
	if err != nil {
		return
	}
	d.Shut = shut(dir)
	d.FS, d.Bytes, d.Free = u.Fstype, int64(u.Total), int64(u.Free)
	if u.InodesTotal > 0 {
		d.Files = int64(u.InodesFree)
	}
}

// device names the device of a directory, "" when there is none.
func device(ctx context.Context, dir string) string {
	parts, err := disk.PartitionsWithContext(ctx, false)
	if err != nil || dir == "" {
		return ""
	}
	best := slices.MaxFunc(append(parts, disk.PartitionStat{}), func(a, b disk.PartitionStat) int {
		return cmp.Compare(within(dir, a.Mountpoint), within(dir, b.Mountpoint))
	})
	return best.Device[strings.LastIndexByte(best.Device, '/')+1:]
}

// within tells how long the path of a mount point is if dir lies below it; else 0.
func within(dir, mount string) int {
	if mount == "" || dir != mount && !strings.HasPrefix(dir, strings.TrimSuffix(mount, "/")+"/") {
		return 0
	}
	return len(mount)
}

// diskBusy is for how long a device has been at work, in ms.
func diskBusy(ctx context.Context, device string) int64 {
	if device == "" {
		return 0
	}
	all, err := disk.IOCountersWithContext(ctx, device)
	if err != nil {
		return 0
	}
	return int64(all[device].IoTime)
}

// Toward finds the interface that leads to a peer, without its traffic; zero if that is
// not known. Nothing is sent.
func Toward(peer netip.Addr) (n Network) {
	// A datagram socket that is connected has the address that the routes choose.
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, 9)))
	if err != nil {
		return n
	}
	defer c.Close()
	own := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
	all, err := net.Interfaces()
	if err != nil {
		return n
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok {
				if b, ok := netip.AddrFromSlice(p.IP); ok && b.Unmap() == own {
					return Network{Name: i.Name, MTU: i.MTU, Speed: speed(i.Name), Groups: i.Flags&net.FlagMulticast != 0}
				}
			}
		}
	}
	return n
}
