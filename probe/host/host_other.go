//go:build !linux

package host

// buffers is not known on this system.
func buffers() Buffers { return Buffers{} }

// speed is not known on this system.
func speed(string) int64 { return 0 }

// shut is not known on this system.
func shut(string) Shut { return Open }
