package netx

import (
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxTrain is how many datagrams one packet of the kernel may be cut into: 64
	// in kernels before 6.9, 128 since (UDP_MAX_SEGMENTS).
	maxTrain = 64
	// maxPieces is of how many pieces of memory one call may take its data.
	// Ours: four full trains of single datagrams.
	maxPieces = 4 * maxTrain
	// leastSegment goes whole over every path: Linux believes no path MTU below 552
	// bytes (ip-sysctl, min_pmtu). A train of these is not refused for its size.
	leastSegment = 552 - 28
	// singlesTime is how long datagrams go one by one to a peer whose path took no
	// train of them, and singlesPeers how many such peers are remembered. Ours.
	singlesTime  = time.Minute
	singlesPeers = 1024
)

// sender makes batches of datagrams into messages of sendmmsg(2): entries that
// are to be cut become trains that the kernel cuts (udp(7), UDP_SEGMENT), and so
// do entries of one size to one peer that follow each other.
type sender struct {
	mu       sync.Mutex // held while a batch is sent; guards all of it
	messages [batchMax]mmsghdr
	names    [batchMax]unix.RawSockaddrInet6 // or Inet4
	controls [batchMax]segmentControl
	ends     [batchMax]position // where each message ends
	pieces   [maxPieces]unix.Iovec
	used     int // messages
	taken    int // pieces

	write  func(fd uintptr) bool // = call
	n      int                   // how many messages call has sent
	errno  syscall.Errno
	single bool // there is no sendmmsg, as in some sandboxes

	zone  string // the last one that was looked up, and its number
	index uint32

	narrow map[netip.Addr]narrowPath
}

// refusedTrain is datagrams up to end, which the system would not send as a train.
type refusedTrain struct {
	peer    netip.Addr
	segment int
	errno   syscall.Errno
	end     position
}

// narrowPath is a path that does not take trains of segments of a size or more,
// such as one whose MTU is smaller: single datagrams are cut there.
type narrowPath struct {
	size  int
	until time.Time
}

// position is a place in a batch.
type position struct {
	entry, offset int
	datagrams     int64 // before it
}

func (p position) before(q position) bool {
	return p.entry < q.entry || p.entry == q.entry && p.offset < q.offset
}

// segmentControl is the control message that makes a packet a train: cmsg(3).
type segmentControl struct {
	hdr  unix.Cmsghdr
	size uint16
	_    [unsafe.Sizeof(uintptr(0)) - 2]byte
}

func (s *sender) init() {
	s.write = s.call
	for i := range s.controls {
		c := &s.controls[i]
		c.hdr.Level, c.hdr.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.hdr.SetLen(unix.CmsgLen(2))
	}
}

// WriteBatch implements BatchConn. What the system refuses to send as a train is
// sent as single datagrams: see UDPStats.SegmentationRefused, and learn.
func (u *UDPConn) WriteBatch(ds []Datagram) (int, error) {
	s := &u.fast.out
	s.mu.Lock()
	defer s.mu.Unlock()
	end := position{entry: len(ds)}
	var at position
	var refused refusedTrain
	for at.before(end) {
		limit, trains := end, u.fast.refused.Load() == nil
		if at.before(refused.end) {
			limit, trains = refused.end, false
		}
		if err := u.fill(ds, at, limit, trains); err != nil {
			return at.entry, u.fail("write", ds[at.entry].Peer, err)
		}
		err := u.raw.Write(s.write)
		s.forget()
		if err != nil {
			return at.entry, u.fail("write", ds[at.entry].Peer, err)
		}
		if s.errno == 0 {
			u.sent.Add(s.ends[s.n-1].datagrams - at.datagrams)
			at = s.ends[s.n-1]
			if refused.segment > 0 && !at.before(refused.end) { // one by one they went
				u.learn(&refused)
				refused = refusedTrain{}
			}
			continue
		}
		switch train := s.messages[0].hdr.Control != nil; {
		case s.errno == unix.EINTR:
		case s.errno == unix.ENOSYS && !s.single:
			s.single = true
		case s.errno == unix.EIO && train:
			// The device cannot: it has no checksums, or encrypts.
			u.refuseSegmentation("sendmmsg", s.errno)
		case (s.errno == unix.EINVAL || s.errno == unix.EMSGSIZE) && train:
			// Either the datagrams are too long, for any sending or for trains only,
			// or it is some drivers' way of saying that they cannot.
			refused = refusedTrain{u.peer(&ds[at.entry]), ds[at.entry].segment(at.offset), s.errno, s.ends[0]}
		default:
			return at.entry, u.fail("write", ds[at.entry].Peer, os.NewSyscallError("sendmmsg", s.errno))
		}
	}
	return len(ds), nil
}

// learn notes that datagrams went which the system refused as a train: those of
// their size go to that peer one by one for a while, since only its path may be
// narrow; and to nobody ever as trains if they are too small for that to be why.
func (u *UDPConn) learn(r *refusedTrain) {
	if r.errno == unix.EINVAL && r.segment <= leastSegment {
		u.refuseSegmentation("sendmmsg", r.errno)
		return
	}
	s := &u.fast.out
	if s.narrow == nil || len(s.narrow) == singlesPeers {
		s.narrow = make(map[netip.Addr]narrowPath)
	}
	size := r.segment
	if was, ok := s.narrow[r.peer]; ok {
		size = min(size, was.size)
	}
	s.narrow[r.peer] = narrowPath{size, time.Now().Add(singlesTime)}
}

// singly tells that what follows offset does not go as a train.
func (u *UDPConn) singly(d *Datagram, offset int) bool {
	s := &u.fast.out
	if len(s.narrow) == 0 {
		return false
	}
	p, ok := s.narrow[u.peer(d)]
	if ok && time.Now().After(p.until) {
		delete(s.narrow, u.peer(d))
		return false
	}
	return ok && d.segment(offset) >= p.size
}

// peer is whom a datagram goes to.
func (u *UDPConn) peer(d *Datagram) netip.Addr {
	if u.remote.IsValid() {
		return u.remote.Addr()
	}
	return d.Peer.Addr().Unmap()
}

// call sends the messages; false waits until the socket takes more. Raw calls, as for
// receiving.
func (s *sender) call(fd uintptr) bool {
	if s.single {
		_, _, s.errno = syscall.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&s.messages[0].hdr)), 0)
		s.n = 1
	} else {
		n, _, e := syscall.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.messages[0])), uintptr(s.used), 0, 0, 0)
		s.n, s.errno = int(n), e
	}
	return s.errno != unix.EAGAIN
}

// forget lets go of the program's memory.
func (s *sender) forget() {
	for i := range s.pieces[:s.taken] {
		s.pieces[i].Base = nil
	}
}

// fill makes messages of the entries from at to limit, as many as there is room
// for. An error is that of the first message.
func (u *UDPConn) fill(ds []Datagram, at, limit position, trains bool) error {
	s := &u.fast.out
	s.used, s.taken = 0, 0
	for s.used < batchMax && s.taken < maxPieces && at.before(limit) {
		m := &s.messages[s.used].hdr
		*m = unix.Msghdr{}
		if !u.remote.IsValid() {
			size, err := u.encode(&s.names[s.used], ds[at.entry].Peer)
			if err != nil && s.used == 0 {
				return err
			} else if err != nil {
				break
			}
			m.Name, m.Namelen = (*byte)(unsafe.Pointer(&s.names[s.used])), size
		}
		at = s.message(m, ds, at, trains && !u.singly(&ds[at.entry], at.offset))
		s.ends[s.used] = at
		s.used++
	}
	return nil
}

// message makes one message of what begins at at and returns where it ends.
func (s *sender) message(m *unix.Msghdr, ds []Datagram, at position, trains bool) position {
	segment := ds[at.entry].segment(at.offset)
	room := segment // bytes that the message may have
	if trains && segment > 0 && segment <= maxPayload {
		room = min(maxTrain, maxPayload/segment) * segment
	}
	first, total, peer := s.taken, 0, ds[at.entry].Peer
	for at.entry < len(ds) && s.taken < maxPieces {
		d := &ds[at.entry]
		if total > 0 && (d.Peer != peer || !d.fits(at.offset, segment)) {
			break
		}
		part := d.B[at.offset:min(len(d.B), at.offset+room-total)]
		s.piece(part)
		total += len(part)
		at.offset += len(part)
		if at.offset == len(d.B) {
			at.entry, at.offset = at.entry+1, 0
		}
		// A train ends with its first shorter datagram.
		if total >= room || segment == 0 || total%segment != 0 {
			break
		}
	}
	m.Iov = &s.pieces[first]
	m.SetIovlen(s.taken - first)
	at.datagrams++
	if total > segment {
		at.datagrams += int64((total - 1) / segment)
		c := &s.controls[s.used]
		c.size = uint16(segment)
		m.Control = (*byte)(unsafe.Pointer(c))
		m.SetControllen(int(unsafe.Sizeof(*c)))
	}
	return at
}

// segment is the size of the first datagram of what follows offset.
func (d *Datagram) segment(offset int) int {
	rest := len(d.B) - offset
	if d.Segment > 0 {
		return min(d.Segment, rest)
	}
	return rest
}

// fits tells whether what follows offset can go on a train of that segment.
func (d *Datagram) fits(offset, segment int) bool {
	rest := len(d.B) - offset
	return rest > 0 && (d.Segment == segment || d.segment(offset) == rest && rest <= segment)
}

// piece adds memory to the last message.
func (s *sender) piece(b []byte) {
	p := &s.pieces[s.taken]
	p.Base = unsafe.SliceData(b)
	p.SetLen(len(b))
	s.taken++
}

// encode writes an address as the socket's family has it and returns its size.
func (u *UDPConn) encode(name *unix.RawSockaddrInet6, to netip.AddrPort) (uint32, error) {
	ip := to.Addr()
	switch {
	case !to.IsValid():
		return 0, unix.EDESTADDRREQ
	case u.v6:
		*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swap(to.Port()), Addr: ip.As16()}
		if zone := ip.Zone(); zone != "" {
			index, err := u.fast.out.zoneIndex(zone)
			if err != nil {
				return 0, err
			}
			name.Scope_id = index
		}
		return unix.SizeofSockaddrInet6, nil
	case ip.Unmap().Is4():
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		*v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swap(to.Port()), Addr: ip.Unmap().As4()}
		return unix.SizeofSockaddrInet4, nil
	}
	return 0, unix.EAFNOSUPPORT
}

// zoneIndex is the number of an interface; it keeps the last one.
func (s *sender) zoneIndex(zone string) (uint32, error) {
	if zone != s.zone {
		index, err := interfaceIndex(zone)
		if err != nil {
			return 0, err
		}
		s.zone, s.index = zone, index
	}
	return s.index, nil
}
