package tuner

import (
	"testing"
	"time"
)

func TestInitial(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    Facts
		want int
		cc   string
	}{
		{"within a process", Facts{Local: true, Cores: 3}, 3, ""},
		{"near, few processors", Facts{RTT: time.Millisecond, Cores: 1}, 2, ""},
		{"near, many processors", Facts{RTT: time.Millisecond, Cores: 64}, 4, ""},
		{"far", Facts{RTT: 50 * time.Millisecond, Cores: 2}, farStreams, ""},
		{"far, of bbr", Facts{RTT: 50 * time.Millisecond, Own: "bbr"}, bbrStreams, ""},
		{"far, of bbr as asked", Facts{RTT: 50 * time.Millisecond, Own: "cubic", CC: "bbr"}, bbrStreams, "bbr"},
		{"far, of another one as asked", Facts{RTT: 50 * time.Millisecond, Own: "bbr", CC: "cubic"}, farStreams, "cubic"},
		{"far, of bbr, bold", Facts{RTT: 50 * time.Millisecond, Own: "bbr", Bold: true}, 2 * bbrStreams, ""},
		{"near, of bbr", Facts{RTT: time.Millisecond, Cores: 2, Own: "bbr"}, 2, ""},
		{"far, known", Facts{RTT: 50 * time.Millisecond, Cores: 2, Last: Last{40, "bbr", 45 * time.Millisecond, 0}}, 40, "bbr"},
		{"far, another path", Facts{RTT: 50 * time.Millisecond, Cores: 2, Last: Last{40, "bbr", 30 * time.Millisecond, 0}}, farStreams, ""},
		{"far, known, at most", Facts{RTT: 50 * time.Millisecond, Last: Last{40, "", 50 * time.Millisecond, 0}, Streams: [2]int{0, 7}}, 7, ""},
		{"near, known", Facts{RTT: time.Millisecond, Cores: 2, Last: Last{40, "bbr", time.Millisecond, 0}}, 2, ""},
		{"UDT, near", Facts{UDT: true, RTT: time.Millisecond, Cores: 64}, udtNear, ""},
		{"UDT, far", Facts{UDT: true, RTT: 500 * time.Millisecond, Cores: 2, CC: "ledbat"}, udtFar, "ledbat"},
		{"UDT at a fixed rate, which is of each stream", Facts{UDT: true, Cores: 2, CC: "blast=1Gbit/s"}, 1, "blast=1Gbit/s"},
		{"at least", Facts{UDT: true, Cores: 2, Streams: [2]int{5, 9}}, 5, ""},
		{"at most", Facts{RTT: time.Second, Cores: 2, Streams: [2]int{0, 7}}, 7, ""},
	} {
		got := Initial(tt.f)
		if got.Streams != tt.want || got.CC != tt.cc || got.Reason == "" {
			t.Errorf("%s: %+v, want %d streams, %q", tt.name, got, tt.want, tt.cc)
		}
	}
}

func TestInitialRate(t *testing.T) {
	last := Last{RTT: 100 * time.Millisecond, Rate: 1e8}
	for _, tt := range []struct {
		name string
		f    Facts
		want float64
	}{
		{"the same path", Facts{UDT: true, RTT: 110 * time.Millisecond, Last: last}, 1e8},
		{"of several streams", Facts{UDT: true, RTT: 110 * time.Millisecond, Last: last, Streams: [2]int{4, 9}}, 25e6},
		{"another path", Facts{UDT: true, RTT: 50 * time.Millisecond, Last: last}, 0},
		{"over TCP, whose kernels begin as they like", Facts{RTT: 100 * time.Millisecond, Last: last}, 0},
		{"not known", Facts{UDT: true, RTT: 100 * time.Millisecond}, 0},
	} {
		if got := Initial(tt.f).Rate; got != tt.want {
			t.Errorf("%s: %g, want %g", tt.name, got, tt.want)
		}
	}
}
