package mover

import (
	"testing"
	"time"

	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/replica/pull"
)

func TestPullLimit(t *testing.T) {
	p := pull.New(pull.Job{})
	rates := []pull.PlaceState{{Rate: 100e6}, {Rate: 50e6}}
	names := []string{"h1:/f", "h2:/f"}
	for _, test := range []struct {
		spent  pull.Spent
		held   []string
		shared bool
		by     string
		detail string
	}{
		{pull.Spent{}, []string{"", ""}, false, "unknown", ""},
		{pull.Spent{Read: 9, Check: 1}, []string{"network", ""}, false, "network", ""},
		{pull.Spent{Read: 4, Write: 5}, []string{"", ""}, false, "target disk", ""},
		{pull.Spent{Read: 4, Check: 5}, []string{"", ""}, false, "target cpu", ""},
		{pull.Spent{Read: 4, Limit: 5}, []string{"", ""}, false, "bwlimit", ""},
		{pull.Spent{Read: 9}, []string{"source disk", "network"}, false, "source disk", "h1:/f"},
		{pull.Spent{Read: 9}, []string{"network", "source disk"}, false, "network", ""},
		{pull.Spent{Read: 9}, []string{"", ""}, true, "network", "a bottleneck that h2:/f shares with others"},
	} {
		var l pullLimit
		s := pull.State{Places: rates, Plan: replica.Plan{Shares: []replica.Share{{Name: names[0]}, {Name: names[1], Shared: test.shared}}}}
		now := time.Now()
		l.look(now, p, &s, test.held, names)
		s.Spent = test.spent
		l.look(now.Add(lookEvery/2), p, &s, test.held, names)
		if l.by != "unknown" {
			t.Errorf("after half a second: %q", l.by)
		}
		l.look(now.Add(lookEvery), p, &s, test.held, names)
		if l.by != test.by || l.detail != test.detail {
			t.Errorf("%+v %v: %q (%q)", test.spent, test.held, l.by, l.detail)
		}
		l.look(now.Add(2*lookEvery), pull.New(pull.Job{}), &s, test.held, names)
		if l.by != "unknown" {
			t.Errorf("of the next file: %q", l.by)
		}
	}
}
