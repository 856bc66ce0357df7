package host

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
)

func TestGather(t *testing.T) {
	f := Gather(t.Context(), Ask{Peer: netip.MustParseAddr("127.0.0.1"), Dir: t.TempDir(), For: 50 * time.Millisecond})
	if f.OS != runtime.GOOS || f.Processor.Cores < 1 {
		t.Errorf("got %+v", f)
	}
	if f.Processor.Busy < 0 || f.Processor.Hottest > 1 || f.Processor.Busy > f.Processor.Hottest {
		t.Errorf("processors: got %+v", f.Processor)
	}
	if f.Memory.Bytes <= 0 || f.Memory.Free <= 0 || f.Memory.Free > f.Memory.Bytes {
		t.Errorf("memory: got %+v", f.Memory)
	}
	if f.Network.Name == "" || f.Network.MTU < 1280 || f.Network.Speed != 0 {
		t.Errorf("network of loopback: got %+v", f.Network)
	}
	if f.Disk.Bytes <= 0 || f.Disk.Free < 0 || f.Disk.Free > f.Disk.Bytes {
		t.Errorf("disk: got %+v", f.Disk)
	}
	if runtime.GOOS == "linux" && (!f.Buffers.Known || f.Buffers.Control == "" || f.Buffers.TCPWrite[2] <= 0) {
		t.Errorf("buffers: got %+v", f.Buffers)
	}
}

func TestGatherEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	f := Gather(ctx, Ask{For: time.Minute})
	if time.Since(began) > 30*time.Second {
		t.Error("it went on")
	}
	if f.Network.Name != "" || f.Disk.Bytes != 0 {
		t.Errorf("got %+v, which was not asked for", f)
	}
}

func TestLoad(t *testing.T) {
	before := []cpu.TimesStat{{User: 10, Idle: 90}, {User: 10, Idle: 90}}
	tests := []struct {
		name          string
		after         []cpu.TimesStat
		busy, hottest float64
	}{
		{"one of two", []cpu.TimesStat{{User: 11, System: 0, Idle: 90}, {User: 10, Idle: 91}}, 0.5, 1},
		{"waiting for a disk", []cpu.TimesStat{{User: 10, Idle: 90, Iowait: 1}, {User: 10.5, Idle: 90.5}}, 0.25, 0.5},
		{"nothing passed", before, 0, 0},
		{"a processor more", append(before, cpu.TimesStat{}), 0, 0},
	}
	for _, tt := range tests {
		var p Processor
		p.load(before, tt.after)
		if p.Busy != tt.busy || p.Hottest != tt.hottest {
			t.Errorf("%s: got %+v, want %v and %v", tt.name, p, tt.busy, tt.hottest)
		}
	}
}

func TestWithin(t *testing.T) {
	tests := []struct {
		dir, mount string
		want       int
	}{
		{"/data/x", "/", 1}, {"/data/x", "/data", 5}, {"/data/x", "/data/x", 7},
		{"/database", "/data", 0}, {"/data", "", 0}, {"/", "/", 1},
	}
	for _, tt := range tests {
		if got := within(tt.dir, tt.mount); got != tt.want {
			t.Errorf("%s in %q: got %d, want %d", tt.dir, tt.mount, got, tt.want)
		}
	}
}
