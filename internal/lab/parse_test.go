package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

const igmpText = `Idx	Device    : Count Querier	Group    Users Timer	Reporter
1	lo        :     1      V3
				010000E0     1 0:00000000		0
2	wan0      :     2      V3
				030201EF     1 0:00000000		0
				010000E0     1 0:00000000		0
`

const igmp6Text = `1    lo              ff020000000000000000000000000001     1 0000000C 0
2    wan0            ff0e0000000000000000000000000123     1 00000004 0
2    wan0            ff020000000000000000000000000001     1 0000000C 0
`

const devText = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    1    0     0       0          0
  wan0:     100       2    3    4    5     6          7         8        9      10   11  4711   13    14      15         16
`

func TestParseGroups(t *testing.T) {
	want := []netip.Addr{netip.MustParseAddr("239.1.2.3"), netip.MustParseAddr("224.0.0.1")}
	if got := parseIGMP(igmpText, "wan0"); !slices.Equal(got, want) {
		t.Errorf("IPv4: got %v, want %v", got, want)
	}
	want = []netip.Addr{netip.MustParseAddr("ff0e::123"), netip.MustParseAddr("ff02::1")}
	if got := parseIGMP6(igmp6Text, "wan0"); !slices.Equal(got, want) {
		t.Errorf("IPv6: got %v, want %v", got, want)
	}
	if got := append(parseIGMP(igmpText, "wan1"), parseIGMP6(igmp6Text, "wan1")...); len(got) > 0 {
		t.Errorf("an interface that is not there has %v", got)
	}
}

func TestParseTransmitDrops(t *testing.T) {
	for ifname, want := range map[string]int64{"wan0": 4711, "lo": 1, "wan": 0, "face |bytes    packets errs drop fifo frame compressed multicast|bytes": 0} {
		if got := parseTransmitDrops(devText, ifname); got != want {
			t.Errorf("%s: got %d, want %d", ifname, got, want)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add(igmpText)
	f.Add(igmp6Text)
	f.Add(devText)
	f.Fuzz(func(t *testing.T, text string) {
		for _, g := range append(parseIGMP(text, "wan0"), parseIGMP6(text, "wan0")...) {
			if !g.IsValid() {
				t.Errorf("invalid address from %q", text)
			}
		}
		if n := parseTransmitDrops(text, "wan0"); n < 0 {
			t.Errorf("%d drops from %q", n, text)
		}
	})
}

func TestParseSchedule(t *testing.T) {
	steps, err := ParseSchedule(strings.NewReader("# nothing yet\n0s partition h1 # now\n\n1500ms set h0.up h1.down loss=1% delay=2ms\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{{0, []string{"partition", "h1"}}, {1500 * time.Millisecond, []string{"set", "h0.up", "h1.down", "loss=1%", "delay=2ms"}}}
	equal := func(a, b Step) bool { return a.At == b.At && slices.Equal(a.Words, b.Words) }
	if !slices.EqualFunc(steps, want, equal) {
		t.Errorf("got %v, want %v", steps, want)
	}
	for _, bad := range []string{"1s\n", "later set h1 loss=1\n", "2s heal h1\n1s partition h1\n", "-1s heal h1\n", "1s frobnicate h1\n", "1s up x\n", strings.Repeat("0s stats\n", maxSteps+1), "\xff\x1b[2J\n"} {
		if steps, err := ParseSchedule(strings.NewReader(bad)); err == nil {
			t.Errorf("%.100q passes as %d steps", bad, len(steps))
		} else if strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%.100q: %q would reach a terminal", bad, err)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add("1s set h1 loss=1%\n# x\n2m heal all\n")
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := ParseSchedule(strings.NewReader(text))
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is not one line", err)
		}
		for i, s := range steps {
			if err != nil || s.At < 0 || len(s.Words) == 0 || i > 0 && s.At < steps[i-1].At {
				t.Errorf("step %v of %q, error %v", s, text, err)
			}
		}
	})
}
