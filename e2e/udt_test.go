package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUDT copies over UDT, through firewalls on either side, and falls back where
// nothing gets through over UDP.
func TestUDT(t *testing.T) {
	const blocked = "nothing gets through over UDP; sending over TCP instead"
	for _, tt := range []struct {
		name      string
		near, far string // rule for what comes in
		last      string // the transport in the end
		most      time.Duration
	}{
		{"open", "", "", "udt", 5 * time.Second},
		{"far lets nothing new in", "", "meta l4proto udp ct state new drop", "udt", 6 * time.Second},
		{"near lets nothing new in", "meta l4proto udp ct state new drop", "", "udt", 6 * time.Second},
		{"neither lets anything new in", "meta l4proto udp ct state new drop", "meta l4proto udp ct state new drop", "udt", 8 * time.Second},
		{"no UDP", "", "meta l4proto udp drop", "tcp", 12 * time.Second},
	} {
		for _, pull := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/pull=%t", tt.name, pull), func(t *testing.T) {
				t.Parallel()
				w, near, far := newCable(t)
				args, dst := []string{"f", "far:g"}, filepath.Join(w.far, "g")
				if pull {
					put(t, filepath.Join(w.far, "f"), content(80, 6<<20))
					args, dst = []string{"far:f", "./g"}, filepath.Join(w.near, "g")
				}
				if tt.near != "" {
					near.filter(tt.near)
				}
				if tt.far != "" {
					far.filter(tt.far)
				}
				// Data must not be through inside ssh before the way is found.
				r := w.ok(append([]string{"--json", "--transport=udt", "--bwlimit=2MB"}, args...)...)
				holds(t, dst, content(80, 6<<20))
				if r.took > tt.most {
					t.Errorf("it took %v", r.took)
				}
				if l := plans(t, r); len(l) == 0 || l[len(l)-1] != tt.last {
					t.Errorf("the transports were %v, want %s in the end", l, tt.last)
				}
				if told := strings.Contains(r.err, blocked); told != (tt.last == "tcp") {
					t.Errorf("the warning that UDP is blocked: %t\n%v", told, r)
				}
				w.clean(w.near, w.far)
			})
		}
	}
}
