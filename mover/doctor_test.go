package mover

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/host"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/tuner"
	"github.com/gomover/gomover/wire"
)

// deaf is what a trial of multicast says when nothing comes.
var deaf = probe.Group{Reach: probe.Reach{Why: "0 of 10 packets arrived"}, Sent: 10}

// healthy is a probe of a path of 1 Gbit/s and 100 ms without a fault.
func healthy() *Probed {
	facts := host.Facts{Processor: host.Processor{Cores: 4, Busy: 0.1}, Network: host.Network{Name: "eth0", MTU: 1500, Groups: true},
		Buffers: host.Buffers{Known: true, Scaling: true, Adapts: true, TCPRead: [3]int64{4096, 131072, 64 << 20}, TCPWrite: [3]int64{4096, 16384, 64 << 20}},
		Disk:    host.Disk{Dir: "/data", Bytes: 1 << 40, Free: 1 << 39, Files: 1 << 20}}
	way := probe.Direction{Capacity: estimate.Capacity{Verdict: estimate.Measured, Rate: units.Rate(1e9 / 8)}}
	works := probe.Reach{OK: true, At: netip.MustParseAddrPort("10.0.0.2:50000")}
	return &Probed{Stage: StageDone, Remote: netip.MustParseAddrPort("10.0.0.2:22"), Start: tuner.Settings{Streams: 12}, Nets: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, Report: &probe.Report{
		RTT: estimate.Delays{N: 20, Min: 100 * time.Millisecond}, TCPOut: works, TCPIn: works, UDPOut: works, UDPIn: works, Group: probe.Group{Reach: works, Sent: 10, Heard: 10},
		MTU: 1500, Link: 1500, There: way, Back: way, Here: facts, Far: facts}}
}

func diagnose(p *Probed, err error) []Check {
	d := &diagnosis{j: &ProbeJob{Host: "far", User: "me"}, p: p, err: err}
	d.boot()
	d.ports()
	d.multicast()
	d.path()
	d.hosts()
	return d.checks
}

func TestDiagnosis(t *testing.T) {
	login := func(k sshboot.Kind) error { return &sshboot.Error{Kind: k, Host: "far", Text: "it is so"} }
	tests := []struct {
		name  string
		fault func(p *Probed) error
		check string // that has the problem; "": none
		mend  string
	}{
		{"nothing", func(*Probed) error { return nil }, "", ""},
		{"name", func(p *Probed) error { *p = Probed{}; return login(sshboot.NoName) }, "name", "/etc/hosts"},
		{"port", func(p *Probed) error { *p = Probed{}; return login(sshboot.Unreachable) }, "ssh", "--dport 22"},
		{"unknown key", func(p *Probed) error { *p = Probed{}; return login(sshboot.HostKeyUnknown) }, "host key", "ssh me@far true"},
		{"changed key", func(p *Probed) error { *p = Probed{}; return login(sshboot.HostKeyChanged) }, "host key", "ssh-keygen -R far"},
		{"login", func(p *Probed) error { *p = Probed{}; return login(sshboot.NoLogin) }, "login", "ssh-copy-id me@far"},
		{"settings", func(p *Probed) error { *p = Probed{}; return login(sshboot.Config) }, "settings", "ssh -G me@far"},
		{"agent", func(p *Probed) error { *p = Probed{Stage: StageAgent}; return login(sshboot.CannotExecute) }, "agent", "noexec"},
		{"something else", func(p *Probed) error { *p = Probed{}; return errors.New("boom") }, "name", "-vv"},
		{"TCP there", func(p *Probed) error { p.Report.TCPOut = probe.Reach{Why: "no"}; return nil }, "TCP there", "ssh -t me@far 'sudo iptables"},
		{"UDP back", func(p *Probed) error { p.Report.UDPIn = probe.Reach{Why: "no"}; return nil }, "UDP back", "here: sudo iptables"},
		{"MTU", func(p *Probed) error { p.Report.MTU = 1400; return nil }, "MTU", "dev eth0 mtu 1400"},
		{"small receive buffers there", func(p *Probed) error { p.Report.Far.Buffers.TCPRead[2] = 1 << 20; return nil }, "buffers there", `ssh -t me@far 'sudo sysctl -w net.ipv4.tcp_rmem="4096 131072 31250000"'`},
		{"small send buffers here", func(p *Probed) error { p.Report.Here.Buffers.TCPWrite[2] = 1 << 20; return nil }, "buffers there", `here: sudo sysctl -w net.ipv4.tcp_wmem="4096 16384 31250000"`},
		{"small receive buffers here", func(p *Probed) error { p.Report.Here.Buffers.TCPRead[2] = 1 << 20; return nil }, "buffers back", "here: sudo sysctl -w net.ipv4.tcp_rmem"},
		{"no scaling", func(p *Probed) error { p.Report.Far.Buffers.Scaling = false; return nil }, "buffers there", "tcp_window_scaling"},
		{"fixed buffers", func(p *Probed) error { p.Report.Here.Buffers.Adapts = false; return nil }, "buffers back", "tcp_moderate_rcvbuf"},
		{"a firewall for groups", func(p *Probed) error { p.Report.Group = deaf; return nil }, "multicast", "ssh -t me@far 'sudo iptables -I INPUT -p udp -d 224.0.0.0/4 -j ACCEPT'"},
		{"routers without multicast", func(p *Probed) error { p.Report.Group, p.Nets = deaf, nil; return nil }, "multicast", "--fanout=chain"},
		{"an interface without multicast", func(p *Probed) error { p.Report.Group, p.Report.Here.Network.Groups = deaf, false; return nil }, "multicast", "here: sudo ip link set dev eth0 multicast on"},
		{"an interface there without multicast", func(p *Probed) error { p.Report.Group, p.Report.Far.Network.Groups = deaf, false; return nil }, "multicast", "ssh -t me@far 'sudo ip link set dev eth0 multicast on'"},
		{"no UDP, so no groups", func(p *Probed) error {
			p.Report.Group, p.Report.UDPOut = deaf, probe.Reach{Why: "no answer"}
			return nil
		}, "UDP there", "-p udp"},
		{"clock", func(p *Probed) error { p.Report.Offset = -3 * time.Minute; return nil }, "clock", "timedatectl"},
		{"disk there", func(p *Probed) error { p.Report.Far.Disk.Free = 1 << 20; return nil }, "disk there", "ssh -t me@far 'du -xh -d1 /data"},
		{"disk of a hostile name", func(p *Probed) error {
			p.Report.Far.Disk.Dir, p.Report.Far.Disk.Free = "/x'; rm -rf $HOME; '", 1<<20
			return nil
		}, "disk there", "ssh -t me@far 'du -xh -d1 ~ | sort -h | tail'"},
		{"files here", func(p *Probed) error { p.Report.Here.Disk.Files = 3; return nil }, "disk here", "--inodes"},
		{"read-only disk", func(p *Probed) error { p.Report.Far.Disk.Shut = host.ReadOnly; return nil }, "disk there", `ssh -t me@far 'sudo mount -o remount,rw "$(findmnt -no TARGET -T /data)"'`},
		{"forbidden directory", func(p *Probed) error { p.Report.Here.Disk.Shut = host.Forbidden; return nil }, "disk here", `here: sudo chown "$(id -un)" /data`},
		{"busy disk", func(p *Probed) error { p.Report.Here.Disk.Busy = 0.99; return nil }, "disk here", "iostat"},
		{"busy processors", func(p *Probed) error { p.Report.Far.Processor.Busy = 0.95; return nil }, "load there", "top"},
		{"lost while measuring", func(p *Probed) error {
			p.Stage, p.Report = StagePath, nil
			return wire.Failf(wire.ClassLost, "far: lost")
		}, "", ""},
	}
	for _, tt := range tests {
		p := healthy()
		checks := diagnose(p, tt.fault(p))
		var problems []string
		for _, c := range checks {
			if c.State == CheckProblem {
				problems = append(problems, c.Name)
				if !strings.Contains(c.Mend, tt.mend) {
					t.Errorf("%s: mended by %q, want %q", tt.name, c.Mend, tt.mend)
				}
			}
			if c.Text == "" || (c.Mend != "") != (c.State == CheckProblem) {
				t.Errorf("%s: got %+v", tt.name, c)
			}
		}
		if got := strings.Join(problems, ", "); got != tt.check {
			t.Errorf("%s: problems %q, want %q", tt.name, got, tt.check)
		}
		if len(checks) != 19 {
			t.Errorf("%s: %d checks, want 19 whatever happens", tt.name, len(checks))
		}
	}
}
