package netx

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiver takes datagrams with recvmmsg(2).
type receiver struct {
	mu       sync.Mutex // held while a batch is awaited; guards all of it
	messages [batchMax]mmsghdr
	names    [batchMax]unix.RawSockaddrInet6 // or Inet4
	controls [batchMax][controlWords]uint64
	pieces   [batchMax]unix.Iovec
	want     int // messages

	read   func(fd uintptr) bool // = call
	n      int                   // how many messages call has received
	errno  syscall.Errno
	single bool // there is no recvmmsg, as in some sandboxes

	drops uint32 // the kernel's last count, which wraps
	zone  string // the last one that was looked up, and its number
	index uint32
}

// controlWords is the room for control messages: a train's segment, a count of
// drops, a time, each with its header. Unit: 8 bytes.
const controlWords = 16

func (r *receiver) init() {
	r.read = r.call
	for i := range r.messages {
		m := &r.messages[i].hdr
		m.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		m.Control = (*byte)(unsafe.Pointer(&r.controls[i]))
		m.Iov = &r.pieces[i]
		m.SetIovlen(1)
	}
}

// ReadBatch implements BatchConn. It takes at most 64 entries, or trains, at
// once.
func (u *UDPConn) ReadBatch(ds []Datagram) (int, error) {
	if len(ds) == 0 {
		return 0, nil
	}
	r := &u.fast.in
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prepare(ds)
	for {
		if err := u.raw.Read(r.read); err != nil {
			r.forget()
			return 0, u.fail("read", netip.AddrPort{}, err)
		}
		if r.errno == unix.ENOSYS && !r.single {
			r.single = true
		} else if r.errno != unix.EINTR {
			break
		}
	}
	r.forget()
	if r.errno != 0 {
		return 0, u.fail("read", netip.AddrPort{}, os.NewSyscallError("recvmmsg", r.errno))
	}
	datagrams := 0
	for i := range ds[:r.n] {
		datagrams += u.finish(i, &ds[i])
	}
	u.received.Add(int64(datagrams))
	return r.n, nil
}

// prepare makes messages of the entries' room.
func (r *receiver) prepare(ds []Datagram) {
	r.want = min(len(ds), batchMax)
	for i := range ds[:r.want] {
		r.pieces[i].Base = unsafe.SliceData(ds[i].B)
		r.pieces[i].SetLen(len(ds[i].B))
		m := &r.messages[i].hdr
		m.Namelen = unix.SizeofSockaddrInet6
		m.SetControllen(8 * controlWords)
	}
}

// call receives; false waits until there is something. The calls are raw: they do not
// block. Told of each, the Go runtime would wake its monitor thread whenever all else had
// been idle, and that looks fifty times in a row, 20 us apart, whether this one has come
// to its end: in a program that a packet wakes now and then it was more than half of all
// that ran.
func (r *receiver) call(fd uintptr) bool {
	if r.single {
		n, _, e := syscall.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&r.messages[0].hdr)), 0)
		r.messages[0].n, r.n, r.errno = uint32(n), 1, e
	} else {
		n, _, e := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.messages[0])), uintptr(r.want), 0, 0, 0)
		r.n, r.errno = int(n), e
	}
	return r.errno != unix.EAGAIN
}

// forget lets go of the program's memory.
func (r *receiver) forget() {
	for i := range r.pieces[:r.want] {
		r.pieces[i].Base = nil
	}
}

// finish tells about message i in its entry and returns how many datagrams it
// is.
func (u *UDPConn) finish(i int, d *Datagram) int {
	r := &u.fast.in
	d.N, d.Peer, d.Segment, d.At = int(r.messages[i].n), r.peer(&r.names[i]), 0, time.Time{}
	left := unsafe.Slice((*byte)(unsafe.Pointer(&r.controls[i])), int(r.messages[i].hdr.Controllen))
	for len(left) >= unix.SizeofCmsghdr {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(left)
		if err != nil {
			break
		}
		u.note(d, hdr, data)
		left = rest
	}
	if d.Segment <= 0 || d.Segment >= d.N {
		d.Segment = 0
		return 1
	}
	return (d.N + d.Segment - 1) / d.Segment
}

// note takes what one control message says.
func (u *UDPConn) note(d *Datagram, hdr unix.Cmsghdr, data []byte) {
	switch {
	case hdr.Level == unix.IPPROTO_UDP && hdr.Type == unix.UDP_GRO && len(data) >= 4:
		d.Segment = int(*(*int32)(unsafe.Pointer(&data[0])))
	case hdr.Level != unix.SOL_SOCKET:
	case hdr.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
		r, count := &u.fast.in, *(*uint32)(unsafe.Pointer(&data[0]))
		u.fast.dropped.Add(int64(count - r.drops))
		r.drops = count
	case hdr.Type == unix.SCM_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
		d.At = time.Unix((*unix.Timespec)(unsafe.Pointer(&data[0])).Unix())
	}
}

// peer reads an address; IPv4 comes as such.
func (r *receiver) peer(name *unix.RawSockaddrInet6) netip.AddrPort {
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), swap(v4.Port))
	}
	ip := netip.AddrFrom16(name.Addr).Unmap()
	if name.Scope_id != 0 {
		ip = ip.WithZone(r.zoneName(name.Scope_id))
	}
	return netip.AddrPortFrom(ip, swap(name.Port))
}

// zoneName is the name of an interface; it keeps the last one.
func (r *receiver) zoneName(index uint32) string {
	if index != r.index {
		r.index, r.zone = index, strconv.Itoa(int(index))
		if face, err := net.InterfaceByIndex(int(index)); err == nil {
			r.zone = face.Name
		}
	}
	return r.zone
}

// interfaceIndex is the number of an interface that is named, or given as a
// number.
func interfaceIndex(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	face, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return uint32(face.Index), nil
}

// swap is a port in network byte order, read by this machine, or back.
func swap(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}
