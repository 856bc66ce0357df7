package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/bench/ground"
)

// disk is a file system on a loop device that the kernel holds to a rate.
type disk struct {
	dir, device, image string
	number             string // MAJOR:MINOR
	undo               []func()
}

// newDisk makes one of size bytes below base. Its blocks are in memory, so that the
// rate is what the kernel makes of it.
func newDisk(ctx context.Context, base string, size int64) (d *disk, err error) {
	d = &disk{dir: filepath.Join(base, "disk"), image: filepath.Join(base, "disk.image")}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	f, err := os.Create(d.image)
	if err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	d.undo = append(d.undo, func() { os.Remove(d.image) })
	err = errors.Join(f.Truncate(size), f.Close(), os.MkdirAll(d.dir, 0o700))
	if err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	out, err := exec.CommandContext(ctx, "losetup", "--find", "--show", d.image).Output()
	if err != nil {
		return nil, fmt.Errorf("making a loop device: %w", err)
	}
	d.device = strings.TrimSpace(string(out))
	d.undo = append(d.undo, func() { ground.Quiet(context.Background(), nil, "losetup", "--detach", d.device) })
	number, err := os.ReadFile("/sys/class/block/" + filepath.Base(d.device) + "/dev")
	if err != nil {
		return nil, fmt.Errorf("looking for the number of %s: %w", d.device, err)
	}
	d.number = strings.TrimSpace(string(number))
	if err := ground.Quiet(ctx, nil, "mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.device); err != nil {
		return nil, err
	}
	return d, ground.Quiet(ctx, nil, "mount", d.device, d.dir)
}

// forget takes a file's content out of memory, so that it is read from the disk.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("taking a file out of memory: %w", err)
	}
	defer f.Close()
	// What is not written yet would stay.
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		return fmt.Errorf("taking %s out of memory: %w", path, err)
	}
	return nil
}

// close removes the disk and all on it.
func (d *disk) close() {
	ground.Quiet(context.Background(), nil, "umount", "--lazy", d.dir)
	for i := len(d.undo) - 1; i >= 0; i-- {
		d.undo[i]()
	}
}

// hold bounds what the disk reads and writes, in bytes per second, and what of it may
// wait in memory to be written: a file that fits into that is no test of a disk. 0
// takes the bound away.
func (d *disk) hold(read, write int64) error {
	bdi := filepath.Join("/sys/class/bdi", d.number)
	strict, most := "0", int64(0)
	if write > 0 {
		strict, most = "1", max(write/2, 1<<20)
	}
	err := os.WriteFile(filepath.Join(bdi, "strict_limit"), []byte(strict), 0)
	if err == nil && most > 0 {
		err = os.WriteFile(filepath.Join(bdi, "max_bytes"), []byte(strconv.FormatInt(most, 10)), 0)
	}
	if err != nil {
		return fmt.Errorf("bounding what %s may keep in memory: %w", d.device, err)
	}
	return errors.Join(d.rate("read", read), d.rate("write", write))
}

// rate sets one of the two bounds for all processes of the machine.
func (d *disk) rate(which string, rate int64) error {
	dir, err := controller("blkio")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "blkio.throttle."+which+"_bps_device")
	if err := os.WriteFile(file, []byte(fmt.Sprintf("%s %d", d.number, rate)), 0); err != nil {
		return fmt.Errorf("bounding the rate of %s: %w", d.device, err)
	}
	return nil
}

// controller is where a controller of cgroup version 1 is mounted. Only there have
// the devices of the whole machine bounds, kernel threads that write included.
func controller(name string) (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", fmt.Errorf("looking for cgroups: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[2] == "cgroup" && strings.Contains(","+f[3]+",", ","+name+",") {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("the controller %s of cgroup version 1 is not mounted: the kernel parameter systemd.unified_cgroup_hierarchy=0 brings it, or mount -t cgroup -o %s", name, name)
}

// ration is a cgroup whose processes share a part of one processor.
type ration struct{ dir string }

// period is over what a ration is given out, in microseconds.
const period = 50_000

// newRation makes one of so many thousandths.
func newRation(name string, perMille int) (*ration, error) {
	base, err := controller("cpu")
	if err != nil {
		return nil, err
	}
	r := &ration{filepath.Join(base, name)}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making a cgroup: %w", err)
	}
	err = errors.Join(os.WriteFile(r.dir+"/cpu.cfs_period_us", []byte(strconv.Itoa(period)), 0),
		os.WriteFile(r.dir+"/cpu.cfs_quota_us", []byte(strconv.Itoa(period*perMille/1000)), 0))
	if err != nil {
		r.close()
		return nil, fmt.Errorf("setting a quota of processor time: %w", err)
	}
	return r, nil
}

// adopt puts a process into the ration.
func (r *ration) adopt(pid int) error {
	if err := os.WriteFile(r.dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
		return fmt.Errorf("rationing processor time of process %d: %w", pid, err)
	}
	return nil
}

// close ends the ration; its processes get what they want from then on.
func (r *ration) close() {
	os.WriteFile(r.dir+"/cpu.cfs_quota_us", []byte("-1"), 0)
	os.Remove(r.dir)
}

// sysctl sets a parameter of a host's network namespace and returns what puts it
// back.
func sysctl(ctx context.Context, g *ground.Ground, h *ground.Host, setting string) (func(), error) {
	name, _, _ := strings.Cut(setting, "=")
	old, err := g.Command(ctx, h, "sysctl", "-n", name).Output()
	if err != nil {
		return nil, fmt.Errorf("reading %s at %s: %w", name, h.Name, err)
	}
	set := func(ctx context.Context, setting string) error {
		if out, err := g.Command(ctx, h, "sysctl", "-q", "-w", setting).CombinedOutput(); err != nil {
			return fmt.Errorf("setting %s at %s: %w: %s", setting, h.Name, err, ground.Tail(string(out)))
		}
		return nil
	}
	undo := func() { set(context.Background(), name+"="+strings.TrimSpace(string(old))) }
	return undo, set(ctx, setting)
}
