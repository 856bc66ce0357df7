package ground

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Disk is a file system on a loop device that the kernel holds to a rate.
type Disk struct {
	Dir           string // where it is mounted
	device, image string
	number        string // MAJOR:MINOR
	undo          []func()
}

// NewDisk makes one of size bytes below base. Its blocks are in memory, so that the
// rate is what the kernel makes of it. It needs root, losetup, mkfs.ext4 and mount.
func NewDisk(ctx context.Context, base string, size int64) (d *Disk, err error) {
	d = &Disk{Dir: filepath.Join(base, "disk"), image: filepath.Join(base, "disk.image")}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	f, err := os.Create(d.image)
	if err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	d.undo = append(d.undo, func() { os.Remove(d.image) })
	err = errors.Join(f.Truncate(size), f.Close(), os.MkdirAll(d.Dir, 0o700))
	if err != nil {
		return nil, fmt.Errorf("making a disk: %w", err)
	}
	out, err := exec.CommandContext(ctx, "losetup", "--find", "--show", d.image).Output()
	if err != nil {
		return nil, fmt.Errorf("making a loop device: %w", err)
	}
	d.device = strings.TrimSpace(string(out))
	d.undo = append(d.undo, func() { Quiet(context.Background(), nil, "losetup", "--detach", d.device) })
	number, err := os.ReadFile("/sys/class/block/" + filepath.Base(d.device) + "/dev")
	if err != nil {
		return nil, fmt.Errorf("looking for the number of %s: %w", d.device, err)
	}
	d.number = strings.TrimSpace(string(number))
	if err := Quiet(ctx, nil, "mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.device); err != nil {
		return nil, err
	}
	return d, Quiet(ctx, nil, "mount", d.device, d.Dir)
}

// Close removes the disk and all on it.
func (d *Disk) Close() {
	Quiet(context.Background(), nil, "umount", "--lazy", d.Dir)
	for i := len(d.undo) - 1; i >= 0; i-- {
		d.undo[i]()
	}
}

// Hold bounds what the disk reads and writes, in bytes per second, and what of it may
// wait in memory to be written: a file that fits into that is no test of a disk. 0
// takes the bound away. Errors: without the controller blkio of cgroup version 1.
func (d *Disk) Hold(read, write int64) error {
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
func (d *Disk) rate(which string, rate int64) error {
	dir, err := Controller("blkio")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "blkio.throttle."+which+"_bps_device")
	if err := os.WriteFile(file, []byte(fmt.Sprintf("%s %d", d.number, rate)), 0); err != nil {
		return fmt.Errorf("bounding the rate of %s: %w", d.device, err)
	}
	return nil
}

// Controller is where a controller of cgroup version 1 is mounted. Only there have
// the devices of the whole machine bounds, kernel threads that write included.
func Controller(name string) (string, error) {
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
