package main

import (
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/location"
	"github.com/gomover/gomover/mover"
)

func TestFanExit(t *testing.T) {
	for _, c := range []struct {
		complete, least int
		codes           []int
		want            int
	}{
		{3, 0, nil, 0},
		{2, 0, []int{6}, 3},
		{2, 2, []int{6}, 0},
		{2, 3, []int{6}, 3},
		{0, 0, []int{7, 6, 10}, 6},
		{0, 0, []int{2, 2}, 2},
		{1, 0, []int{130, 10}, 130},
		{2, 1, []int{143}, 143},
	} {
		if got := fanExit(c.complete, c.least, c.codes); got != c.want {
			t.Errorf("%d complete, at least %d, %v: %d, want %d", c.complete, c.least, c.codes, got, c.want)
		}
	}
}

// fanView is a view of four destinations in different states.
func fanView() *progressState {
	at := time.Date(2026, 2, 3, 10, 16, 10, 0, time.UTC)
	p := &progressState{dests: true, from: -1}
	total, all := int64(20e9), int64(80e9)
	p.fold(at, events.JobStart{Mode: "fanout", Sources: []string{"image.raw"}, Dests: []string{"n01:", "n02:/scratch", "n03:", "n04:"}})
	for _, d := range []events.ProgressDest{
		{Dest: "n01:", Transport: "tcp", Streams: 4, DoneBytes: 11.6e9, TotalBytes: &total, RateBps: 98e6, State: "running"},
		{Dest: "n02:/scratch", Transport: "tcp", Streams: 4, DoneBytes: 11.6e9, TotalBytes: &total, RateBps: 98e6, RepairedBlocks: 412, State: "running", Via: "n01:"},
		{Dest: "n03:", Transport: "ssh", DoneBytes: 20e9, TotalBytes: &total, State: "done"},
		{Dest: "n04:", State: "failed", Detail: "n04: ssh could not log in"},
	} {
		p.fold(at, d)
	}
	p.fold(at, events.Progress{DoneBytes: 43.2e9, TotalBytes: &all, FilesTotal: 4, FilesDone: 1, RateBps: 196e6, ETAms: 60000, ETALoMs: 60000, ETAHiMs: 60000})
	p.firstAt = at.Add(-time.Minute)
	return p
}

func TestFanLines(t *testing.T) {
	at := time.Date(2026, 2, 3, 10, 16, 10, 0, time.UTC)
	for _, c := range []struct {
		width, most int
		want        string
	}{
		{79, 12, `
image.raw -> 4 destinations    tcp to 2, ssh to 1
 54%  10.8 of 20.0 GB   98.0 MB/s to each   about 1 min left
 n01:           58%  98.0 MB/s   tcp x4
 n02:/scratch   58%  98.0 MB/s   tcp x4 via n01:  412 blocks repaired
 n03:          100%  done
 n04:          ssh could not log in
`}, {39, 12, `
image.raw -> 4 destinations
 54%  98.0 MB/s to each   1 min left
 n01:           58%  98.0 MB/s   tcp x4
 n02:/scratch   58%  98.0 MB/s
 n03:          100%  done
 n04:          ssh could not log in
`}, {79, 4, `
image.raw -> 4 destinations    tcp to 2, ssh to 1
 54%  10.8 of 20.0 GB   98.0 MB/s to each   about 1 min left
 n04:  ssh could not log in
 and 3 more: 2 running, 1 done
`}, {79, 1, `
 54%  10.8 of 20.0 GB   98.0 MB/s to each   about 1 min left
`},
	} {
		got := "\n" + strings.Join(fanView().lines(c.width, c.most, at), "\n") + "\n"
		if got != c.want {
			t.Errorf("in %d columns and %d lines:%swant:%s", c.width, c.most, got, c.want)
		}
	}
}

func TestFanPlain(t *testing.T) {
	v := fanView()
	got := strings.Join(v.fan.plain(v.style), "\n")
	if want := "dests  n01: 58% 98.0MB/s, n02:/scratch 58% 98.0MB/s, n03: 100%, n04: failed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (&fanState{}).plain(viewStyle{}); got != nil {
		t.Errorf("one destination: %q", got)
	}
}

func TestFanSummary(t *testing.T) {
	d := []events.DestEnd{{Dest: "a:", DoneBytes: 2e9}, {Dest: "b:", DoneBytes: 2e9}}
	end := events.JobEnd{DoneBytes: 4e9, TotalBytes: 4e9, SentBytes: 4e9, Ms: 18200, AvgBps: 236e6, FilesOK: 2, Dests: d}
	file := events.File{Path: "f", Action: "new", Verified: "wire"}
	got := strings.Join(summaryOf(summaryOptions{}, end, file), "\n")
	if want := "done  2.00 GB to each of 2 destinations in 18.2 s, 118 MB/s to each, verified"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	end.Exit, end.DoneBytes = 3, 3e9
	end.Dests = []events.DestEnd{d[0], {Dest: "b:", Exit: 6, DoneBytes: 1e9, Reason: "no space"}}
	got = strings.Join(summaryOf(summaryOptions{Kind: "full"}, end, file), "\n")
	for _, want := range []string{"incomplete  1 of 2 destinations complete, 3.00 of 4.00 GB in 18.2 s", "\n  to          b:  1.00 GB  54.9 MB/s  exit 6, no space\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}

// TestFanSummaryMulticast tells how many copies have left, and how each destination got
// its data.
func TestFanSummaryMulticast(t *testing.T) {
	d := []events.DestEnd{{Dest: "a:", DoneBytes: 1e9, GroupBytes: 0.9e9, GroupPackets: 640000, UnicastBytes: 2e6, UnicastPackets: 1500, ResentBytes: 1e6},
		{Dest: "b:", DoneBytes: 1e9, GroupBytes: 1e9, GroupPackets: 700000, UnicastBytes: 80e3, UnicastPackets: 57, RefusedBlocks: 2, RefusedPackets: 300}, {Dest: "c:", DoneBytes: 1e9}}
	m := events.Multicast{Dests: 2, GroupBytes: 1e9, GroupPackets: 710000, CodedBytes: 3e6, UnicastBytes: 2.08e6, UnicastPackets: 9000, ResentBytes: 1e6, WireBytes: 1.06e9, CopyBytes: 1e9, GotBytes: 3e9}
	end := events.JobEnd{DoneBytes: 3e9, TotalBytes: 3e9, SentBytes: 2.00208e9, Ms: 10000, AvgBps: 300e6, FilesOK: 3, Dests: d, Multicast: &m}
	for _, c := range []struct {
		name   string
		change func(m *events.Multicast)
		want   string
	}{
		{"two of three by the group", func(*events.Multicast) {}, "  multicast: 2.06 copies sent for 3 destinations, 0.94 saved"},
		{"one has half of it", func(m *events.Multicast) { m.GotBytes = 2.5e9 }, "  multicast: 2.06 copies sent for 3 destinations, 0.44 saved"},
		{"nothing saved", func(m *events.Multicast) { m.GotBytes = 2e9 }, "  multicast: 2.06 copies sent for 3 destinations"},
		{"nobody heard it", func(m *events.Multicast) { m.Dests = 0 }, ""},
		{"nothing came", func(m *events.Multicast) { m.CopyBytes = 0 }, ""},
	} {
		n := m
		c.change(&n)
		end.Multicast = &n
		got := summaryOf(summaryOptions{}, end, events.File{Path: "f", Action: "new", Verified: "wire"})
		if len(got) == 1 && c.want == "" {
			continue
		}
		if len(got) != 2 || got[1] != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	end.Multicast = &m
	got := strings.Join(summaryOf(summaryOptions{Kind: "full"}, end), "\n")
	for _, want := range []string{
		"\n  to          a:  1.00 GB  100 MB/s\n              900 MB in 640000 packets by multicast, 2.00 MB in 1500 packets by unicast, 1.00 MB of that again\n",
		"\n              1.00 GB in 700000 packets by multicast, 80.0 KB in 57 packets by unicast; refused: 2 forged blocks, 300 packets\n  to          c:  1.00 GB  100 MB/s\n",
		"\n  to groups   1.00 GB, mended by 3.00 MB for all and 1.00 MB for single ones; 1.06 GB in all, with the heads of packets",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}

// TestFanTransports: which transports are named decides on multicast, too.
func TestFanTransports(t *testing.T) {
	for _, c := range []struct{ transport, fanout, want string }{
		{"auto", "auto", mover.MulticastAuto},
		{"auto", "multicast", mover.MulticastAlways},
		{"tcp", "auto", mover.MulticastNever},
		{"tcp", "multicast", mover.MulticastAlways},
		{"xm", "auto", mover.MulticastAlways},
		{"xm", "multicast", mover.MulticastAlways},
		{"xm", "unicast", "refused"},
		{"tcp,xm", "auto", mover.MulticastAuto},
		{"tcp,xm", "unicast", ""},
	} {
		o := Options{}
		if err := storeTransport(&o, c.transport); err != nil {
			t.Fatal(err)
		}
		o.Fan.How = c.fanout
		got, err := fanHow(&o)
		if err != nil {
			got = "refused"
		}
		if got != c.want {
			t.Errorf("--transport %s --fanout %s: %q, want %q", c.transport, c.fanout, got, c.want)
		}
	}
}

// TestFanInterface refuses an interface that is not there before anything begins, where
// it would be used.
func TestFanInterface(t *testing.T) {
	for _, c := range []struct {
		fanout, face string
		refused      bool
	}{
		{"auto", "", false},
		{"auto", "no such one", true},
		{"multicast", "no such one", true},
		{"unicast", "no such one", false},
		{"chain", "no such one", false},
	} {
		o := Options{}
		o.Fan.How, o.Fan.Group.Interface = c.fanout, c.face
		if _, err := newFan(t.Context(), Env{}, &o, location.Plan{}); (err != nil) != c.refused {
			t.Errorf("--fanout %s --mcast-if %q: %v", c.fanout, c.face, err)
		}
	}
}

// TestFanHostile: a destination in a chain tells how it sends to the next one.
func TestFanHostile(t *testing.T) {
	p := &progressState{dests: true}
	p.fold(time.Now(), events.JobStart{Mode: "fanout", Dests: []string{"a:", "b:"}})
	p.fold(time.Now(), events.ProgressDest{Dest: "b:", State: "running", Transport: "tcp\x1b[2J"})
	for _, line := range p.fan.lines(viewStyle{}, 200, 5, 0) {
		if strings.Contains(line, "\x1b") {
			t.Errorf("control characters in %q", line)
		}
	}
}
