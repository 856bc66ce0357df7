package main

import (
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/events"
)

// Bounds of the terminal view. Source: ours.
const (
	progressInterval     = 250 * time.Millisecond
	progressCloseLimit   = 2 * time.Second // a terminal that takes longer is left as it is
	progressMessageLimit = 1000            // lines that wait for a slow terminal
)

// progressOptions is what the terminal view needs to know.
type progressOptions struct {
	Size     func() (cols, rows int) // of the window, now; 0 for what is not known
	Interval time.Duration           // between two drawings; 0: progressInterval
	Style    viewStyle
	Color    bool   // messages and stalls in colour
	Streams  bool   // show the stream line where there is room
	Files    bool   // show the file line where there is room
	Dests    bool   // show a line for each of several destinations where there is room
	Sources  bool   // show a line for each of several sources where there is room
	Title    string // "run42/ -> dtn2:/scratch"; empty: from job.start
}

// ttyProgress shows a job as a block of lines at the bottom of a terminal, drawn
// over again in place. Messages go above the block and stay.
//
// One goroutine draws, at the interval and at once for messages; events only
// change what it will draw next, so a slow terminal delays nothing.
//
// Concurrency: every method may be called by any goroutine.
type ttyProgress struct {
	w    io.Writer
	o    progressOptions
	kick chan struct{} // capacity 1: a wake-up that is already there is enough
	quit chan struct{} // closed by Close
	done chan struct{} // closed by the drawing goroutine at its end
	once sync.Once

	mu       sync.Mutex // guards all below
	state    progressState
	repeats  viewRepeats
	messages []string
	lost     int             // messages left out because too many waited
	hidden   bool            // Hide was called: draw nothing
	forget   bool            // the block on the screen is no longer ours to move over
	waiting  []chan struct{} // closed at the end of the next drawing
}

var _ events.Recorder = (*ttyProgress)(nil)

// newTTYProgress starts drawing on w, which must be a terminal that knows ANSI
// cursor movements; Close ends it.
func newTTYProgress(w io.Writer, o progressOptions) *ttyProgress {
	if o.Interval <= 0 {
		o.Interval = progressInterval
	}
	p := &ttyProgress{
		w: w, o: o,
		kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		state: progressState{style: o.Style, streams: o.Streams, files: o.Files, dests: o.Dests, sources: o.Sources, title: o.Title, from: -1},
	}
	go p.run()
	return p
}

// Record implements events.Recorder.
func (p *ttyProgress) Record(t time.Time, e events.Event) {
	p.mu.Lock()
	p.state.fold(t, e)
	urgent := true
	switch v := e.(type) {
	case events.Warn:
		lines := p.o.Style.warnLines(v)
		if p.repeats.show(v.Code, v.Host, lines[0]) {
			p.messageLocked(p.color("33", lines)...)
		}
	case events.Error:
		lines := p.o.Style.errorLines(v)
		if v.Fatal || p.repeats.show(v.Code, v.Host, lines[0]) {
			p.messageLocked(p.color("31", lines)...)
		}
	case events.Transport:
		p.messageLocked("gomover: " + p.o.Style.name(viewTransport(v)))
	default:
		urgent = false
	}
	p.mu.Unlock()
	if urgent {
		p.wake()
	}
}

// color makes message lines ready to print: "gomover: " in front of the first,
// and that word in colour where wanted.
func (p *ttyProgress) color(code string, lines []string) []string {
	word := "gomover: "
	if p.o.Color {
		word = "\x1b[" + code + "mgomover:\x1b[0m "
	}
	return append([]string{word + lines[0]}, lines[1:]...)
}

// messageLocked queues lines that are to stay above the block.
func (p *ttyProgress) messageLocked(lines ...string) {
	if len(p.messages)+len(lines) > progressMessageLimit {
		p.lost += len(lines)
		return
	}
	p.messages = append(p.messages, lines...)
}

// Print puts a line above the block, where it stays. The line is made safe to
// print; it needs no newline.
func (p *ttyProgress) Print(line string) {
	p.mu.Lock()
	p.messageLocked(p.o.Style.name(line))
	p.mu.Unlock()
	p.wake()
}

// Resize draws at once for a new window size.
func (p *ttyProgress) Resize() { p.wake() }

// Hide takes the block away and draws nothing until Show, so that somebody else
// may use the terminal, for a password prompt. It returns when the terminal is
// free, or after progressCloseLimit.
func (p *ttyProgress) Hide() { p.change(func() { p.hidden = true }) }

// Show draws again below whatever is on the screen now.
func (p *ttyProgress) Show() { p.change(func() { p.hidden, p.forget = false, true }) }

// Pause shows that the job is paused and returns once that is drawn, so that the
// process may stop; the block stays on the screen.
func (p *ttyProgress) Pause() { p.change(func() { p.state.paused = true }) }

// Continue ends a pause. The block is drawn anew below what the shell has written
// meanwhile.
func (p *ttyProgress) Continue() { p.change(func() { p.state.paused, p.forget = false, true }) }

// change changes what is drawn and waits until it is on the screen, at most
// progressCloseLimit.
func (p *ttyProgress) change(set func()) {
	drawn := make(chan struct{})
	p.mu.Lock()
	set()
	p.waiting = append(p.waiting, drawn)
	p.mu.Unlock()
	p.wake()
	timer := time.NewTimer(progressCloseLimit)
	defer timer.Stop()
	select {
	case <-drawn:
	case <-p.done:
	case <-timer.C:
	}
}

// Close takes the block away, leaving the messages, and ends the drawing. It
// waits for the terminal, at most progressCloseLimit. Closing twice is allowed.
func (p *ttyProgress) Close() {
	p.once.Do(func() { close(p.quit) })
	timer := time.NewTimer(progressCloseLimit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
}

// wake asks for a drawing now.
func (p *ttyProgress) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// run draws until Close, or until the terminal is gone.
func (p *ttyProgress) run() {
	defer close(p.done)
	ticker := time.NewTicker(p.o.Interval)
	defer ticker.Stop()
	var screen progressScreen
	for closing := false; !closing; {
		select {
		case <-p.kick:
		case <-ticker.C:
		case <-p.quit:
			closing = true
		}
		if !p.draw(&screen, closing) {
			return
		}
	}
}

// draw brings the screen up to date; false when the terminal took it no longer.
func (p *ttyProgress) draw(screen *progressScreen, closing bool) bool {
	cols, rows := p.size()
	now := time.Now()

	p.mu.Lock()
	if p.forget {
		screen.lines, p.forget = nil, false
	}
	messages := p.messages
	if closing {
		for _, line := range p.repeats.rest() {
			messages = append(messages, p.color("33", []string{line})...)
		}
	}
	if p.lost > 0 {
		messages = append(messages, "gomover: "+viewPlural(int64(p.lost), "more line")+" not shown")
		p.lost = 0
	}
	p.messages = nil
	waiting := p.waiting
	p.waiting = nil
	var lines []string
	if !closing && !p.hidden {
		// The last column stays free: some terminals wrap when it is written.
		lines = p.state.lines(cols-1, max(1, rows/2), now)
		if p.o.Color {
			progressHighlight(lines)
		}
	}
	if p.hidden && !closing {
		// A prompt has the terminal; messages wait until it is free again.
		p.messages, messages = messages, nil
	}
	p.mu.Unlock()

	text := screen.update(cols, messages, lines)
	ok := true
	if text != "" {
		_, err := io.WriteString(p.w, text)
		ok = err == nil
	}
	for _, c := range waiting {
		close(c)
	}
	return ok
}

// size is the window's size, with what is usual where it is not known.
func (p *ttyProgress) size() (cols, rows int) {
	if p.o.Size != nil {
		cols, rows = p.o.Size()
	}
	if cols <= 1 {
		cols = 80
	}
	if rows <= 0 {
		rows = 24
	}
	return min(cols, 1000), rows
}

// progressHighlight puts a stalled, paused or lost job's line in yellow.
func progressHighlight(lines []string) {
	for i, line := range lines {
		if i > 1 {
			return
		}
		for _, word := range []string{"stalled ", "lost ", "paused"} {
			if at := strings.Index(line, "  "+word); at >= 0 && strings.HasPrefix(line, " ") {
				lines[i] = line[:at+2] + "\x1b[33m" + line[at+2:] + "\x1b[0m"
				break
			}
		}
	}
}

// progressScreen is what the drawing goroutine has put on the screen. The cursor
// stands at the beginning of the line below the block.
type progressScreen struct {
	lines []string
	cols  int
}

// update gives what to send to turn the screen into messages followed by lines,
// and takes that as done. Lines are overwritten before the rest is cleared, so
// that nothing flickers.
func (s *progressScreen) update(cols int, messages, lines []string) string {
	if len(messages)+len(lines)+len(s.lines) == 0 {
		return "" // whatever stands on the cursor's line is not ours
	}
	if len(messages) == 0 && cols == s.cols && len(lines) == len(s.lines) {
		same := true
		for i := range lines {
			same = same && lines[i] == s.lines[i]
		}
		if same {
			return ""
		}
	}
	var b strings.Builder
	up := s.rows(cols)
	b.WriteString(progressUp(up) + "\r")
	if len(messages) > 0 || len(lines) < len(s.lines) || cols != s.cols {
		// Row by row, not "to the end of the screen": from the top left corner
		// some terminals keep what that clears in their history.
		b.WriteString(strings.Repeat("\x1b[2K\x1b[B", up) + "\x1b[2K" + progressUp(up))
	}
	for _, line := range messages {
		b.WriteString(line + "\r\n")
	}
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\r\n")
	}
	// The cursor's row holds what was typed, such as ^C.
	b.WriteString("\x1b[K")
	s.lines, s.cols = lines, cols
	return b.String()
}

// progressUp moves the cursor up n rows.
func progressUp(n int) string {
	if n == 0 {
		return ""
	}
	return "\x1b[" + strconv.Itoa(n) + "A"
}

// rows is how many rows of the screen the block takes. In a window that became
// narrower most terminals have broken long lines into several rows.
func (s *progressScreen) rows(cols int) int {
	n := 0
	for _, line := range s.lines {
		n++
		if cols < s.cols {
			n += max(0, viewWidth(progressUncolor(line))-1) / cols
		}
	}
	return n
}

// progressUncolor takes our own colour sequences out.
func progressUncolor(line string) string {
	for {
		at := strings.Index(line, "\x1b[")
		if at < 0 {
			return line
		}
		end := strings.IndexByte(line[at:], 'm')
		if end < 0 {
			return line
		}
		line = line[:at] + line[at+end+1:]
	}
}

// viewTransport says that a transport was changed, and why.
func viewTransport(e events.Transport) string {
	text := ""
	if e.Dest != "" {
		text = e.Dest + ": "
	}
	text += "data now travels by " + e.To
	if e.From != "" {
		text += " instead of " + e.From
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}
