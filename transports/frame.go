package transports

// Room which every frame keeps free around its body, so that a transport can
// put its prefix and its authentication tag there without copying the body.
const (
	Headroom = 64 // bytes before the body
	Tailroom = 64 // bytes behind the body
)

// frameStep is what a frame's room is a multiple of, in bytes, unless its maximum is
// less. Ours: frames of about the same length need memory once.
const frameStep = 64 << 10

// A Frame is a reusable buffer for one frame. It belongs to one goroutine.
//
//	| Headroom | body ............ | free | Tailroom |
//	           lo                  hi     lo+room
type Frame struct {
	mem    []byte
	lo, hi int
	max    int
}

// NewFrame returns an empty frame for bodies of up to max bytes. It takes memory as
// bodies need it: many streams have a frame each, and few of them one of the longest.
func NewFrame(max int) *Frame {
	return &Frame{mem: make([]byte, Headroom+Tailroom), lo: Headroom, hi: Headroom, max: max}
}

// Max is the longest body in bytes that fits.
func (f *Frame) Max() int { return f.max }

// Body returns the body; it is valid until the frame is changed, sent or
// received into.
func (f *Frame) Body() []byte { return f.mem[f.lo:f.hi] }

// Reset makes the body empty.
func (f *Frame) Reset() { f.lo, f.hi = Headroom, Headroom }

// Resize makes the body n bytes long, n in 0..Max, keeping the bytes that are
// there, and returns it.
func (f *Frame) Resize(n int) []byte {
	if n < 0 || n > f.max {
		panic("transports: frame resized beyond its maximum")
	}
	if Headroom+n+Tailroom > len(f.mem) {
		room := min((n+frameStep-1)/frameStep*frameStep, f.max)
		mem := make([]byte, Headroom+room+Tailroom)
		copy(mem, f.mem[:f.hi])
		f.mem = mem
	}
	f.lo, f.hi = Headroom, Headroom+n
	return f.mem[f.lo:f.hi]
}

// Wire returns the memory from pre bytes before the body to post bytes behind
// it; pre in 0..Headroom, post in 0..Tailroom. For transports.
func (f *Frame) Wire(pre, post int) []byte { return f.mem[f.lo-pre : f.hi+post] }
