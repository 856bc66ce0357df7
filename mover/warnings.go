package mover

import (
	"sync"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/wire"
)

// heldMost bounds the warnings that wait. Ours: an end that gets ready has a few.
const heldMost = 64

// warnings is the way of an agent's warnings to the user. Until the director has
// heard Ready it listens to nothing else, so what comes up before that waits. The
// methods may be called by any goroutine.
type warnings struct {
	link engine.Link

	mu   sync.Mutex // guards what follows
	open bool       // Ready was sent
	held []wire.Warn
}

// say sends a warning, or keeps it for release.
func (w *warnings) say(code, text, path string) {
	m := wire.Warn{Code: code, Text: text, Path: []byte(path)}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.open:
		_ = sendJSON(w.link, wire.KindWarn, m) // a dead link ends the job by itself
	case len(w.held) < heldMost:
		w.held = append(w.held, m)
	}
}

// release sends what waits, behind Ready.
func (w *warnings) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = true
	for _, m := range w.held {
		_ = sendJSON(w.link, wire.KindWarn, m) // as above
	}
	w.held = nil
}
