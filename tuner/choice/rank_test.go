package choice

import (
	"strings"
	"testing"
	"time"
)

// TestChoose is the table of what to do in common cases, with a job of 10 GiB.
func TestChoose(t *testing.T) {
	all := []string{TCP, UDT, SSH}
	for _, tt := range []struct {
		name  string
		path  Path
		ends  Ends
		among []string
		want  string // transport and congestion control
		n     [2]int // streams
	}{
		{"near", Path{RTT: 500 * time.Microsecond, Free: 10 * gbit}, Ends{Cores: 2}, all, "tcp cubic", [2]int{1, 2}},
		{"far and clean", Path{RTT: 100 * msec, Free: gbit}, Ends{}, all, "tcp cubic", [2]int{1, 4}},
		{"small windows", Path{RTT: 100 * msec, Free: gbit}, Ends{Window: 2 << 20}, all, "tcp cubic", [2]int{6, 8}},
		{"losses, bbr", Path{RTT: 100 * msec, Free: gbit, Loss: 1e-3}, Ends{CCs: []string{"cubic", "bbr"}}, all, "tcp bbr", [2]int{1, 4}},
		{"few losses, no bbr", Path{RTT: 80 * msec, Free: gbit, Loss: 1e-5}, Ends{}, all, "tcp cubic", [2]int{8, 12}},
		{"losses, no bbr", Path{RTT: 100 * msec, Free: gbit, Loss: 1e-3}, Ends{CCs: []string{"reno", "cubic"}}, all, "udt bbr", [2]int{1, 1}},
		{"losses, no bbr, the processor is the limit", Path{RTT: 100 * msec, Free: gbit, Loss: 1e-4}, Ends{Cores: 0.1}, all, "tcp cubic", [2]int{30, 64}},
		{"losses, no bbr, no UDP", Path{RTT: 100 * msec, Free: gbit, Loss: 1e-3, NoUDP: true}, Ends{}, all, "tcp cubic", [2]int{128, 128}},
		{"losses, no bbr, UDT not permitted", Path{RTT: 100 * msec, Free: gbit, Loss: 1e-3}, Ends{}, []string{TCP, SSH}, "tcp cubic", [2]int{128, 128}},
		{"satellite", Path{RTT: 600 * msec, Free: gbit / 20, Loss: 1e-2}, Ends{}, all, "udt bbr", [2]int{1, 1}},
		{"only UDP", Path{RTT: 100 * msec, Free: gbit, NoTCP: true}, Ends{}, all, "udt bbr", [2]int{1, 1}},
		{"only ssh", Path{RTT: 100 * msec, Free: gbit, NoTCP: true, NoUDP: true}, Ends{}, all, "ssh cubic", [2]int{1, 1}},
		{"the disk is the limit", Path{RTT: 100 * msec, Free: 10 * gbit, Loss: 1e-4}, Ends{Disk: 10e6}, all, "tcp cubic", [2]int{4, 8}},
		{"nothing known", Path{}, Ends{}, all, "tcp cubic", [2]int{1, 1}},
	} {
		ranked := Rank(tt.path, tt.ends, 10<<30, tt.among...)
		got, ok := Choose(ranked)
		if name := got.Transport + " " + got.CC; !ok || name != tt.want || got.Streams < tt.n[0] || got.Streams > tt.n[1] {
			t.Errorf("%s: %d streams of %s, want %v of %s\n%+v", tt.name, got.Streams, name, tt.n, tt.want, ranked)
		}
		for _, p := range ranked {
			if p.Why(tt.path) == "" {
				t.Errorf("%s: nothing says why %+v", tt.name, p)
			}
		}
	}
	if _, ok := Choose(Rank(Path{NoTCP: true}, Ends{}, 0, TCP)); ok {
		t.Error("a choice though there is none")
	}
}

// TestSmallJob: what is over before slow start is gets no streams for the long run.
func TestSmallJob(t *testing.T) {
	path := Path{RTT: 100 * msec, Free: gbit, Loss: 1e-3}
	if p, _ := Choose(Rank(path, Ends{}, 100<<10, TCP, UDT)); p.Transport != TCP || p.Streams > 48 {
		t.Errorf("100 KiB go by %+v", p)
	}
}

func TestWhy(t *testing.T) {
	path := Path{RTT: 100 * msec, Free: gbit, Loss: 1e-3}
	for _, tt := range []struct {
		set  Setting
		want string
	}{
		{Setting{TCP, "cubic", 12}, "12 streams of cubic, cubic slows down at each loss, 0.1% of packets"},
		{Setting{UDT, "bbr", 2}, "the path is the limit: bbr keeps its rate under loss"},
		{Setting{TCP, "bbr", 4}, "4 streams of bbr, the path is the limit: bbr keeps its rate under loss"},
	} {
		p := Predict(path, Ends{}, tt.set, 0)
		if got := p.Why(path); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if p := Predict(path, Ends{}, Setting{SSH, "bbr", 1}, 0); !strings.Contains(p.Why(path), "sealed") && p.By == ByChannel {
		t.Errorf("%+v: %q", p, p.Why(path))
	}
}
