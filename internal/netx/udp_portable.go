package netx

// readOne is ReadBatch with what every system has: one datagram at a time.
func (u *UDPConn) readOne(ds []Datagram) (int, error) {
	d := &ds[0]
	n, from, err := u.conn.ReadFromUDPAddrPort(d.B)
	if err != nil && n == 0 {
		return 0, err
	}
	// Windows reports a datagram that was cut as an error beside its beginning.
	d.N, d.Peer, d.Segment = n, unmap(from), 0
	u.received.Add(1)
	return 1, nil
}

// writeEach is WriteBatch with what every system has: one datagram at a time.
func (u *UDPConn) writeEach(ds []Datagram) (int, error) {
	for i := range ds {
		if err := u.writeEntry(&ds[i]); err != nil {
			return i, err
		}
	}
	return len(ds), nil
}

func (u *UDPConn) writeEntry(d *Datagram) error {
	for b := d.B; ; {
		part := b
		if d.Segment > 0 {
			part = b[:min(d.Segment, len(b))]
		}
		var err error
		if u.remote.IsValid() {
			_, err = u.Write(part)
		} else {
			_, err = u.WriteToUDPAddrPort(part, unmap(d.Peer))
		}
		if err != nil {
			return err
		}
		if b = b[len(part):]; len(b) == 0 {
			return nil
		}
	}
}
