//go:build !unix

package main

import "os"

// viewSignals are none on this system.
var viewSignals []os.Signal

func (v *view) viewSignal(os.Signal) {}
