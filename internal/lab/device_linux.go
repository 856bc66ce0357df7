package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// ifname is the interface of every host.
const ifname = "wan0"

// Sizes of batches; see device.
const (
	// readBatch is how many packets one bundle from the kernel can be split into:
	// 64 KiB of the smallest segments that Linux sends, 48 bytes (tcp_min_snd_mss).
	readBatch = 1400
	// writeBatch is how many packets are offered at once to be joined. Ours: at
	// 10 Gbit/s it is what comes in a quantum.
	writeBatch = 128
)

// bundleSize is the most that the kernel takes at once: a packet whose length
// field is full.
const bundleSize = 1 << 16

// device is the interface of one host, as the emulator holds it. The kernel hands
// out and takes bundles of segments; the library behind it splits and joins them.
type device struct {
	tun tun.Device
	fd  int // for polling, and for trains; owned by tun

	single bool // the kernel takes no trains of datagrams
	head   [virtioHeader + ipv6Header + udpHeader]byte
	pieces [1 + trainMost]unix.Iovec
}

// openDevice makes the interface in the network namespace of the calling thread.
func openDevice(mtu int) (*device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening /dev/net/tun: %w", err)
	}
	// A blocking descriptor is left alone by Go's network poller, which would
	// otherwise wake up at every packet, too. It is made non-blocking behind the
	// poller's back, lest a read that finds nothing stops the emulator.
	file := os.NewFile(uintptr(fd), "/dev/net/tun")
	req, err := unix.NewIfreq(ifname)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("naming the interface %s: %w", ifname, err)
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		file.Close()
		return nil, fmt.Errorf("making the interface %s: %w", ifname, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		file.Close()
		return nil, fmt.Errorf("making the interface %s: %w", ifname, err)
	}
	t, err := tun.CreateTUNFromFile(file, mtu)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("setting up the interface %s: %w", ifname, err)
	}
	go func() { // ends when the device is closed
		for range t.Events() {
		}
	}()
	return &device{tun: t, fd: fd}, nil
}

// errUnreadable says that the kernel gave what cannot be made packets of.
var errUnreadable = errors.New("a bundle of packets that cannot be split")

// read takes one bundle from the host, split into packets. Each goes to one of
// bufs, behind headroom; sizes receives their lengths.
//
// Errors: unix.EAGAIN if there is nothing to read; errUnreadable for one bundle
// that is lost; else the device cannot be used any more.
func (d *device) read(bufs [][]byte, sizes []int) (int, error) {
	n, err := d.tun.Read(bufs, sizes, headroom)
	var sys *fs.PathError
	if err != nil && !errors.As(err, &sys) && !errors.Is(err, os.ErrClosed) {
		return 0, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return n, err
}

// write gives packets to the host, in order. A packet that others shall be joined
// to needs a buffer with room for all of them, up to headroom+bundleSize. The
// slice and the buffers are changed.
func (d *device) write(bufs [][]byte) error {
	_, err := d.tun.Write(bufs, headroom)
	return err
}

// writeTrain gives packets to the host that are a train; false if that is not possible.
// They are gathered from where they are: the library copies each, and looks at its
// checksum again, which for multicast to 24 hosts was a seventh of the emulator's work.
func (d *device) writeTrain(items []item) bool {
	if d.single {
		return false
	}
	first := items[0].p.bytes()
	at, _ := wholeDatagram(first)
	total := 0
	for i, it := range items {
		b := it.p.bytes()[at:]
		d.piece(1+i, b)
		total += len(b)
	}
	d.piece(0, d.head[:trainHead(d.head[:], first, total)])
	// A raw call, as in wait: it does not block.
	_, _, err := unix.RawSyscall(unix.SYS_WRITEV, uintptr(d.fd), uintptr(unsafe.Pointer(&d.pieces[0])), uintptr(1+len(items)))
	d.single = err == unix.EINVAL // of kernels before 6.2
	return err == 0
}

func (d *device) piece(i int, b []byte) {
	d.pieces[i].Base = unsafe.SliceData(b)
	d.pieces[i].SetLen(len(b))
}

// close removes the interface.
func (d *device) close() error { return d.tun.Close() }
