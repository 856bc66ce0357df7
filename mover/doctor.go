package mover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/host"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/wire"
)

// Check is one line of what is well with a host and the way to it.
type Check struct {
	Name  string // what was looked at, such as "host key"
	State string // ok, problem, or unknown where something before it failed
	Text  string // what was seen
	Mend  string // of a problem: what to type, and where
}

// The states of a check.
const (
	CheckOK      = "ok"
	CheckProblem = "problem"
	CheckUnknown = "unknown"
)

// Doctor looks at every step from this machine to a host and back, and gives a
// line for each. The error is what a copy would end with, nil if it would work;
// there may be problems that only make it slower.
func Doctor(ctx context.Context, j *ProbeJob) ([]Check, error) {
	p, err := Probe(ctx, j)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	d := &diagnosis{j: j, p: &p, err: err}
	d.boot()
	d.ports()
	d.multicast()
	d.path()
	d.hosts()
	if err == nil && !d.r().TCPOut.OK && !d.r().TCPIn.OK && !d.r().UDPOut.OK {
		err = &wire.Fail{Class: wire.ClassNoPath, Text: j.Host + ": data has no way but ssh itself, which is slow",
			Hints: []string{"what the lines above say on ports"}}
	}
	return d.checks, err
}

// diagnosis makes the checks of one probe.
type diagnosis struct {
	j      *ProbeJob
	p      *Probed
	err    error
	checks []Check
}

func (d *diagnosis) ok(name, format string, args ...any) {
	d.checks = append(d.checks, Check{Name: name, State: CheckOK, Text: fmt.Sprintf(format, args...)})
}

func (d *diagnosis) problem(name, mend, format string, args ...any) {
	d.checks = append(d.checks, Check{Name: name, State: CheckProblem, Text: fmt.Sprintf(format, args...), Mend: mend})
}

func (d *diagnosis) unknown(names ...string) {
	for _, n := range names {
		d.checks = append(d.checks, Check{Name: n, State: CheckUnknown, Text: "not tried: something before it failed"})
	}
}

// r is the report; an empty one if there is none.
func (d *diagnosis) r() *probe.Report {
	if d.p.Report == nil {
		return new(probe.Report)
	}
	return d.p.Report
}

// login is the host as ssh takes it.
func (d *diagnosis) login() string {
	s := d.j.Host
	if d.j.User != "" {
		s = d.j.User + "@" + s
	}
	if d.j.Port != 0 {
		s = fmt.Sprintf("-p %d %s", d.j.Port, s)
	}
	return s
}

// there is a command for the far host.
func (d *diagnosis) there(command string) string {
	return "ssh -t " + d.login() + " '" + command + "'"
}

// The steps up to the agent, in order.
var bootSteps = []string{"settings", "name", "ssh", "host key", "login", "agent"}

// boot tells how far logging in and starting the far end came.
func (d *diagnosis) boot() {
	failed, mend := d.bootFault()
	for i, name := range bootSteps {
		switch {
		case i < failed:
			d.ok(name, "%s", d.bootText(name))
		case i == failed:
			d.problem(name, mend, "%s", d.errLine())
		default:
			d.unknown(name)
		}
	}
}

func (d *diagnosis) bootText(name string) string {
	switch name {
	case "settings":
		return "ssh's configuration can be used"
	case "name":
		if a := d.p.Remote.Addr(); a.IsValid() {
			return fmt.Sprintf("%s is %v", d.j.Host, a.Unmap())
		}
		return "it is known"
	case "ssh":
		if d.p.Remote.IsValid() {
			return fmt.Sprintf("port %d answers", d.p.Remote.Port())
		}
		return "it answers"
	case "host key":
		return "it is the known one"
	case "login":
		return "it works without a question"
	case "agent":
		if d.p.Placed != "" {
			return "the program was brought to " + d.p.Placed
		}
		return "the program is there and runs"
	}
	return ""
}

func (d *diagnosis) errLine() string {
	var s *sshboot.Error
	if errors.As(d.err, &s) {
		return s.Text
	}
	return d.err.Error()
}

// bootFault gives the number of the step that failed, beyond the last if none did,
// and what mends it.
func (d *diagnosis) bootFault() (step int, mend string) {
	if d.err == nil || d.p.Stage >= StagePath {
		return len(bootSteps), ""
	}
	var s *sshboot.Error
	if !errors.As(d.err, &s) {
		return 1 + int(d.p.Stage)*(len(bootSteps)-2), "run it again with -vv to see each step"
	}
	switch s.Kind {
	case sshboot.NoName:
		return 1, fmt.Sprintf("echo 'ADDRESS %s' | sudo tee -a /etc/hosts   (or HostName ADDRESS in ~/.ssh/config)", d.j.Host)
	case sshboot.Unreachable:
		return 2, "there, at its console: sudo systemctl enable --now ssh; sudo iptables -I INPUT -p tcp --dport 22 -j ACCEPT"
	case sshboot.HostKeyUnknown:
		return 3, "ssh " + d.login() + " true   (and compare the key that it shows)"
	case sshboot.HostKeyChanged:
		mend = "ssh-keygen -R " + d.j.Host
		if len(s.Hints) > 0 {
			mend = s.Hints[len(s.Hints)-1] // which knows the file, and the name in it
		}
		return 3, mend
	case sshboot.NoLogin:
		return 4, "ssh-copy-id " + d.login()
	case sshboot.Config:
		return 0, "ssh -G " + d.login() + "   (shows what the settings come to)"
	}
	if len(s.Hints) > 0 {
		return 5, s.Hints[0]
	}
	return 5, d.there("df -h ~/.cache /tmp; mount | grep noexec")
}

// ports tells which connections get through.
func (d *diagnosis) ports() {
	names := []string{"TCP there", "TCP back", "UDP there", "UDP back"}
	if d.p.Report == nil {
		d.unknown(names...)
		return
	}
	r, ports := d.r(), orDefault(d.j.Ports)
	open := func(protocol string) string {
		return fmt.Sprintf("sudo iptables -I INPUT -p %s --dport %d:%d -j ACCEPT", protocol, ports[0], ports[1])
	}
	for i, reach := range []probe.Reach{r.TCPOut, r.TCPIn, r.UDPOut, r.UDPIn} {
		protocol, mend := "tcp", ""
		if i >= 2 {
			protocol = "udp"
		}
		if mend = "here: " + open(protocol); i%2 == 0 {
			mend = d.there(open(protocol))
		}
		switch {
		case reach.OK && reach.At.IsValid():
			d.ok(names[i], "%v was reached", reach.At)
		case reach.OK:
			d.ok(names[i], "it gets through")
		default:
			why := reach.Why
			if i == 1 && r.TCPOut.OK || i == 3 && r.UDPOut.OK {
				why += "; the other direction works and is enough"
			}
			d.problem(names[i], mend, "%s", why)
		}
	}
}

// multicast tells whether packets to a group arrive.
func (d *diagnosis) multicast() {
	const name = "multicast"
	r := d.r()
	g := &r.Group
	const flag = "sudo ip link set dev %s multicast on"
	switch {
	case d.p.Report == nil:
		d.unknown(name)
	case g.OK:
		d.ok(name, "%d of %d packets to a group arrived", g.Heard, g.Sent)
	case !r.UDPOut.OK:
		d.checks = append(d.checks, Check{Name: name, State: CheckUnknown, Text: "not to be expected: UDP does not get through"})
	case r.Here.Network.Name != "" && !r.Here.Network.Groups:
		d.problem(name, here(fmt.Sprintf(flag, r.Here.Network.Name)), "the interface %s here takes none", r.Here.Network.Name)
	case r.Far.Network.Name != "" && !r.Far.Network.Groups && plainDir(r.Far.Network.Name) == r.Far.Network.Name:
		d.problem(name, d.there(fmt.Sprintf(flag, r.Far.Network.Name)), "the interface %s there takes none", r.Far.Network.Name)
	case d.routed():
		d.problem(name, "on each router in between: multicast routing (PIM) for 239.192.0.0/14; without it, to several hosts: gomover --fanout=chain",
			"%s: routers are in between, which mostly pass none on; only copies to several hosts at once could use it", g.Why)
	default:
		d.problem(name, d.there("sudo iptables -I INPUT -p udp -d 224.0.0.0/4 -j ACCEPT"), "%s; only copies to several hosts at once could use it", g.Why)
	}
}

// routed tells that the host is not on a network of this one, as far as that is known.
func (d *diagnosis) routed() bool {
	at := d.r().UDPOut.At.Addr()
	if !at.IsValid() {
		at = d.p.Remote.Addr().Unmap()
	}
	return at.IsValid() && !d.p.Beside(at)
}

// path tells of the MTU and the windows that the path needs.
func (d *diagnosis) path() {
	r := d.r()
	switch {
	case r.MTU == 0:
		d.unknown("MTU")
	case r.MTU < min(r.Link, jumbo) && r.Here.Network.Name != "":
		d.problem("MTU", fmt.Sprintf("here: sudo ip link set dev %s mtu %d   (or sudo sysctl -w net.ipv4.tcp_mtu_probing=1 at both ends)", r.Here.Network.Name, r.MTU),
			"the path takes %d bytes, the first link %d: longer packets may vanish", r.MTU, r.Link)
	default:
		d.ok("MTU", "%d bytes, all the way and back", r.MTU)
	}
	d.windows()
}

// lateral is what one connection needs of both ends in one direction.
type lateral struct {
	name       string // of the direction
	to         probe.Direction
	send, take *host.Buffers
	sender     func(string) string // a command for the sending end
	taker      func(string) string
}

func here(command string) string { return "here: " + command }

// sudoSysctl sets one of the kernel's settings.
func sudoSysctl(name, value string) string { return fmt.Sprintf(`sudo sysctl -w %s="%s"`, name, value) }

// windows compares the kernels' buffers with what fills the path.
func (d *diagnosis) windows() {
	r := d.r()
	if !r.Here.Buffers.Known && !r.Far.Buffers.Known {
		d.unknown("buffers there", "buffers back")
		return
	}
	for _, l := range []lateral{
		{"buffers there", r.There, &r.Here.Buffers, &r.Far.Buffers, here, d.there},
		{"buffers back", r.Back, &r.Far.Buffers, &r.Here.Buffers, d.there, here},
	} {
		d.window(&l)
	}
}

// window checks one direction.
func (d *diagnosis) window(l *lateral) {
	rate := l.to.Rate
	if rate == 0 {
		rate = gigabit
	}
	rtt := cmp.Or(d.r().RTT.Min, d.r().Connect)
	need := estimate.BDP(rate, rtt)
	streams := int64(max(d.p.Start.Streams, 1))
	// Half of a buffer is data at worst; the rest is what the kernel counts besides.
	send, take := l.send.TCPWrite[2]/2, l.take.TCPRead[2]/2
	want := max(2*need*5/4, 1<<20)
	set := func(setting string, old [3]int64) string {
		return sudoSysctl(setting, fmt.Sprintf("%d %d %d", max(old[0], 4096), max(old[1], 16384), want))
	}
	switch {
	case l.take.Known && !l.take.Scaling && need > 64<<10:
		d.problem(l.name, l.taker(sudoSysctl("net.ipv4.tcp_window_scaling", "1")), "windows beyond 64 KiB are off, the path needs %s", units.FormatBytes(need))
	case l.take.Known && !l.take.Adapts:
		d.problem(l.name, l.taker(sudoSysctl("net.ipv4.tcp_moderate_rcvbuf", "1")), "receive buffers do not grow by themselves")
	case take > 0 && take*streams < need:
		d.problem(l.name, l.taker(set("net.ipv4.tcp_rmem", l.take.TCPRead)), "%d connections receive at most %s at once, the path holds %s", streams, units.FormatBytes(take*streams), units.FormatBytes(need))
	case send > 0 && send*streams < need:
		d.problem(l.name, l.sender(set("net.ipv4.tcp_wmem", l.send.TCPWrite)), "%d connections send at most %s at once, the path holds %s", streams, units.FormatBytes(send*streams), units.FormatBytes(need))
	default:
		each := min(take, send)
		if each == 0 {
			each = max(take, send)
		}
		if each == 0 || rtt <= 0 {
			d.unknown(l.name)
			return
		}
		d.ok(l.name, "one connection carries up to %s, the path holds %s", units.FormatRate(units.Rate(float64(each)/rtt.Seconds()), true), units.FormatBytes(need))
	}
}

// jumbo is the longest packet that is missed where it does not pass, in bytes.
const jumbo = 9000

// gigabit is the rate that buffers are made for when the path's is not known.
const gigabit = units.Rate(1e9 / 8)

// Bounds of what is well. Ours.
const (
	// clockOff is a difference of clocks that makes times of files look changed.
	clockOff = 2 * time.Second
	// diskLow and diskShare are free space below which a disk is nearly full, if it
	// is below both.
	diskLow, diskShare = int64(10) << 30, 0.02
	filesLow           = 10000
	busyShare          = 0.9
)

// hosts tells of both ends' clocks, disks and processors.
func (d *diagnosis) hosts() {
	r := d.r()
	switch {
	case r.RTT.N == 0:
		d.unknown("clock")
	case r.Offset.Abs() > clockOff+r.RTT.Min:
		d.problem("clock", "on the one that is wrong: sudo timedatectl set-ntp true", "the far one is %v %s", r.Offset.Abs().Round(time.Second/10), map[bool]string{true: "ahead", false: "behind"}[r.Offset > 0])
	default:
		d.ok("clock", "%v apart", r.Offset.Abs().Round(time.Millisecond/10))
	}
	if d.p.Report == nil {
		d.unknown("disk here", "disk there", "load here", "load there")
		return
	}
	d.disk("disk here", &r.Here.Disk, here)
	d.disk("disk there", &r.Far.Disk, d.there)
	d.load("load here", &r.Here, here)
	d.load("load there", &r.Far, d.there)
}

// plainDir is a directory as it may stand in a command that is typed: what the
// far end calls one must not become another command.
func plainDir(dir string) string {
	for _, c := range dir {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-", c) {
			return "~"
		}
	}
	return dir
}

func (d *diagnosis) disk(name string, k *host.Disk, at func(string) string) {
	dir := plainDir(k.Dir)
	switch {
	case k.Bytes == 0:
		d.unknown(name)
	case k.Shut == host.ReadOnly:
		d.problem(name, at(`sudo mount -o remount,rw "$(findmnt -no TARGET -T `+dir+`)"`), "%s is on a file system that was mounted read-only: nothing can be copied to it", k.Dir)
	case k.Shut == host.Forbidden:
		d.problem(name, at(`sudo chown "$(id -un)" `+dir), "you may not write to %s: nothing can be copied to it", k.Dir)
	case k.Free < diskLow && float64(k.Free) < diskShare*float64(k.Bytes):
		d.problem(name, at("du -xh -d1 "+dir+" | sort -h | tail"), "%s is nearly full: %s free of %s", k.Dir, units.FormatBytes(k.Free), units.FormatBytes(k.Bytes))
	case k.Files >= 0 && k.Files < filesLow:
		d.problem(name, at("du -x --inodes -d1 "+dir+" | sort -n | tail"), "%s has room for %d more files only", k.Dir, k.Files)
	case k.Busy > busyShare:
		d.problem(name, at("iostat -x 1 3; sudo iotop -oba -n 3"), "%s is busy for %.0f%% of the time", k.Dir, 100*k.Busy)
	default:
		d.ok(name, "%s: %s free of %s", k.Dir, units.FormatBytes(k.Free), units.FormatBytes(k.Bytes))
	}
}

func (d *diagnosis) load(name string, f *host.Facts, at func(string) string) {
	p := &f.Processor
	switch {
	case p.Cores == 0:
		d.unknown(name)
	case p.Busy > busyShare:
		d.problem(name, at("top -b -n1 | head -15"), "%d processors are busy for %.0f%% of the time", p.Cores, 100*p.Busy)
	default:
		d.ok(name, "%d processors, %.0f%% busy", p.Cores, 100*p.Busy)
	}
}
