package peer

import (
	"slices"
	"strings"
	"testing"
)

// example is a transfer to two receivers.
func example() Transfer {
	return Transfer{
		From:   []Host{{"near", "10.77.0.1"}, {"near2", "10.77.0.3"}},
		To:     []Host{{"far", "10.77.0.2"}, {"far2", "10.77.0.4"}},
		Source: "/m/payload", Dirs: []string{"/m/to-far", "/m/to-far2"}, Work: "/m/work",
		Config: "/m/ssh_config", Key: "/m/key", KnownHosts: "/m/known", Interface: "wan0",
		RateBits: 1e9, Size: 1 << 30, Mover: []string{"gomover"}, UDT: "udtbench",
	}
}

func TestEveryProgramIsComplete(t *testing.T) {
	names := map[string]bool{}
	for _, p := range All() {
		if p.Name == "" || names[p.Name] || p.Plan == nil && p.Tree == nil {
			t.Errorf("program %q is incomplete or there twice", p.Name)
		}
		names[p.Name] = true
		if p.Name != "gomover" && (len(p.Packages) == 0 || len(p.Needs) == 0) {
			t.Errorf("%s: it is not said where it comes from", p.Name)
		}
		if found, ok := Named(p.Name); !ok || found.Name != p.Name {
			t.Errorf("%s is not found by its name", p.Name)
		}
		if p.Plan == nil {
			continue
		}
		settings := append([]Settings{{}}, p.Candidates(Grid{Streams: []int{1, 32}, Windows: []int64{0, 25e6}})...)
		for _, s := range settings {
			plan := p.Plan(example(), s)
			if plan.Client.Host == "" || len(plan.Client.Args) == 0 {
				t.Errorf("%s, %s: no client", p.Name, s)
			}
			for _, server := range plan.Servers {
				if server.Host == "" || server.Port == 0 || server.Protocol != "tcp" && server.Protocol != "udp" {
					t.Errorf("%s, %s: server %+v", p.Name, s, server)
				}
			}
			if line := strings.Join(plan.Client.Args, " "); !strings.Contains(line, "10.77.0.") && !strings.Contains(line, "far:") && !strings.Contains(line, "/m/payload") {
				t.Errorf("%s, %s: the command names neither an end nor the file: %s", p.Name, s, line)
			}
		}
	}
}

func TestCandidates(t *testing.T) {
	grid := Grid{Streams: []int{8, 32}, Windows: []int64{0, 100}}
	for _, c := range []struct {
		program Program
		want    []string
	}{
		{Program{}, nil},
		{Program{MaxStreams: 64}, []string{"8 streams", "32 streams"}},
		{Program{MaxStreams: 8}, []string{"8 streams"}},
		{Program{Windows: true}, []string{"window 0.0001 MB"}},
		{Program{Variants: []string{"x"}}, []string{"x"}},
		{Program{MaxStreams: 15, Windows: true}, []string{"8 streams", "8 streams, window 0.0001 MB", "15 streams", "15 streams, window 0.0001 MB"}},
	} {
		var got []string
		for _, s := range c.program.Candidates(grid) {
			got = append(got, s.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("candidates %q, want %q", got, c.want)
		}
	}
	if s := (Settings{}); !s.Default() || s.String() != "default" {
		t.Errorf("the default is %q", s)
	}
}

func TestIperfReceived(t *testing.T) {
	n, err := IperfReceived(`{"start":{},"end":{"sum_sent":{"bytes":200},"sum_received":{"bytes":150,"bits_per_second":1e6}}}`)
	if n != 150 || err != nil {
		t.Errorf("received %d, %v", n, err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut": `{"end":{"sum_rec`, "an error": `{"start":{},"error":"unable to connect"}`, "nothing": `{"end":{"sum_received":{"bytes":0}}}`,
		"negative": `{"end":{"sum_received":{"bytes":-1}}}`,
	} {
		if n, err := IperfReceived(text); err == nil {
			t.Errorf("%s: received %d", name, n)
		}
	}
}

func FuzzIperfReceived(f *testing.F) {
	f.Add(`{"end":{"sum_received":{"bytes":150}}}`)
	f.Add(`{"error":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := IperfReceived(text); err == nil && n <= 0 {
			t.Errorf("%d bytes of %q", n, text)
		}
	})
}

func TestIperfSeconds(t *testing.T) {
	for _, c := range []struct {
		rate, size int64
		want       int
	}{{1e9, 1 << 20, 3}, {1e9, 512 << 20, 8}, {0, 1 << 30, 3}, {1e6, 1 << 30, 20}} {
		if got := iperfSeconds(Transfer{RateBits: c.rate, Size: c.size}); got != c.want {
			t.Errorf("%d bytes at %d bit/s: %d s, want %d", c.size, c.rate, got, c.want)
		}
	}
}

func TestToEach(t *testing.T) {
	command := func(to Host, target string) []string { return []string{"copy", "it's", to.Name + ":" + target} }
	one := example()
	one.To, one.Dirs = one.To[:1], one.Dirs[:1]
	if got := toEach(one, Settings{}, command).Args; !slices.Equal(got, []string{"copy", "it's", "far:/m/to-far/payload"}) {
		t.Errorf("to one: %q", got)
	}
	got := toEach(example(), Settings{}, command).Args
	want := "'copy' 'it'\\''s' 'far:/m/to-far/payload'\n'copy' 'it'\\''s' 'far2:/m/to-far2/payload'"
	if len(got) != 3 || got[2] != want {
		t.Errorf("one after another: %q, want %q", got, want)
	}
	got = toEach(example(), Settings{AtOnce: true}, command).Args
	if len(got) != 3 || !strings.Contains(got[2], "payload' & p0=$!\n") || !strings.HasSuffix(got[2], "wait $p0\nwait $p1") {
		t.Errorf("all at once: %q", got)
	}
}

func TestMulticastWords(t *testing.T) {
	for in, want := range map[string]string{"10.77.0.2": "0x0A4D0002", "10.77.0.11": "0x0A4D000B", "::1": "0x00000000", "x": "0x00000000"} {
		if got := clientID(in); got != want {
			t.Errorf("client %s is %s, want %s", in, got, want)
		}
	}
	for in, want := range map[int64]string{1e9: "950000", 100e6: "95000", 0: "950000"} {
		if got := kilobits(in); got != want {
			t.Errorf("rate %d is %s, want %s", in, got, want)
		}
	}
}

func TestSeveralSenders(t *testing.T) {
	p, _ := Named("aria2")
	plan := p.Plan(example(), Settings{Streams: 4})
	line := strings.Join(plan.Client.Args, " ")
	if len(plan.Servers) != 2 || !strings.Contains(line, "-x 4 -s 8") || !strings.Contains(line, "http://10.77.0.3:8080/payload") {
		t.Errorf("aria2 from two: %d servers, %s", len(plan.Servers), line)
	}
	p, _ = Named("lftp")
	plan = p.Plan(example(), Settings{Streams: 4, Window: 25e6})
	line = strings.Join(plan.Client.Args, " ")
	if len(plan.Servers) != 1 || !strings.Contains(line, "set net:socket-buffer 25000000; pget -n 4 http://10.77.0.1:8080/payload -o /m/to-far/payload") {
		t.Errorf("lftp: %d servers, %s", len(plan.Servers), line)
	}
	p, _ = Named("gomover")
	from := example()
	from.Pull = true
	plan = p.Plan(from, Settings{})
	line = strings.Join(plan.Client.Args, " ")
	if len(plan.Servers) != 2 || !strings.Contains(line, "gomover pull --trust-mirrors http://") || !strings.Contains(line, "http://10.77.0.3:8080/payload") {
		t.Errorf("gomover from two: %d servers, %s", len(plan.Servers), line)
	}
}
