package netsim

// SetControl gives the flow another congestion control, as a program may do with
// an open connection: the new one starts with the window that the old one had,
// knows nothing else of the path, and is not in slow start.
func (f *FluidFlow) SetControl(c Control) {
	if c == f.config.Control {
		return
	}
	window := f.control.window()
	f.config.Control = c
	f.control = newControl(c, f.x.w.flowSeed(f.config.Name))
	switch k := f.control.(type) {
	case *reno:
		k.cwnd, k.ssthresh = window, window
	case *cubic:
		k.cwnd, k.ssthresh = window, window
	case *bbr:
		k.cwnd = window
	}
}
