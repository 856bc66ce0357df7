// Package tuner decides with how many streams, which buffers and which
// congestion control data travels. It is pure: facts in, settings out.
package tuner

import (
	"fmt"
	"strings"
	"time"
)

// Facts is what is known of a path and its ends before data flows.
type Facts struct {
	RTT      time.Duration // least seen; 0: not known
	Cores    int           // processors of this end
	Local    bool          // both ends in one process
	UDT      bool          // streams are UDT's
	SendBuf  int64         // bytes, the most that the kernel lets a socket keep; 0: not known
	Streams  [2]int        // least and most as asked; 0: free
	Bold     bool          // to take what others leave room for
	CC       string        // as asked; "": free
	Own      string        // of streams over TCP if nothing is asked; "": not known
	BlockLen int64         // bytes
	Last     Last
}

// Last is what the last job on a path ended with. The zero value: not known.
type Last struct {
	Streams int
	CC      string        // of TCP
	RTT     time.Duration // least
	Rate    float64       // of UDT, bytes per second
}

// sameRTT is by how much round trips of one path differ at most, as a share.
const sameRTT = 0.25

// fits tells whether it was on the path that is there now.
func (l Last) fits(rtt time.Duration) bool { return l.Streams > 0 && l.near(rtt) }

// near tells whether a round trip is that of the path then.
func (l Last) near(rtt time.Duration) bool {
	d := (rtt - l.RTT).Abs()
	return l.RTT > 0 && float64(d) <= sameRTT*float64(l.RTT)
}

// Settings is what to start with.
type Settings struct {
	Streams int
	CC      string  // "": the system's default
	Rate    float64 // bytes per second that each stream may have, as far as is known; 0: it is not
	Reason  string  // for people
}

// farRTT parts a path on which one stream fills the link whatever happens from
// one on which a loss or a small buffer costs many round trips. Ours: at 2 ms
// a 4 MiB buffer still carries 16 Gbit/s.
const farRTT = 2 * time.Millisecond

// farStreams is how many streams a far path gets. Ours: twelve kernel buffers of
// the usual 4 MiB hold 4 Gbit/s at 100 ms, and starting together they find the
// rate three to four round trips sooner than one does. At 1 Gbit/s and 100 ms 8 to
// 32 were alike (docs/performance.md).
const farStreams = 12

// udtNear and udtFar are how many streams UDT gets on near and on far paths. Ours:
// neither small kernel buffers nor losses make more of them faster, and all share one
// port and its goroutines. Where processors are the limit two let one be read and sealed
// while the other is sent. On a far path two controls that each know their own rate
// only come to more than the path has together, fill its queue, and lose: of 1 Gbit/s,
// 100 ms and 0.1% of loss in the lab two had 75% and lost 18% of their packets
// (docs/performance.md).
const udtNear, udtFar = 2, 1

// Initial decides the settings to start with.
func Initial(f Facts) Settings {
	var s Settings
	switch {
	case f.Local:
		s.Streams, s.Reason = max(1, f.Cores), "one for each processor"
	case f.UDT && strings.HasPrefix(f.CC, "blast="):
		s.Streams, s.Reason = 1, "at the rate that was asked for"
	case f.UDT && f.RTT >= farRTT:
		s.Streams, s.Reason = udtFar, fmt.Sprintf("rtt %.3g ms: far, over UDT, whose control finds the rate with one", ms(f.RTT))
		if f.Last.Rate > 0 && f.Last.near(f.RTT) {
			s.Rate = f.Last.Rate
		}
	case f.UDT:
		s.Streams, s.Reason = udtNear, "over UDT, whose control finds the rate with few: the second one uses another processor"
	case f.RTT < farRTT:
		// More than the processors would only take turns on them.
		s.Streams, s.Reason = min(max(2, f.Cores), 4), fmt.Sprintf("rtt %.2g ms: near, as many as processors", ms(f.RTT))
	case f.Last.fits(f.RTT):
		s.Streams, s.CC, s.Reason = f.Last.Streams, f.Last.CC, fmt.Sprintf("rtt %.3g ms: what the last copy on this path ended with", ms(f.RTT))
	case f.CC == "bbr" || f.CC == "" && f.Own == "bbr":
		s.Streams, s.Reason = f.bold(bbrStreams), fmt.Sprintf("rtt %.3g ms: far, and many streams of bbr push each other into losses", ms(f.RTT))
	default:
		s.Streams, s.Reason = f.bold(farStreams), fmt.Sprintf("rtt %.3g ms: far, several streams find the rate sooner and lose less at a loss", ms(f.RTT))
	}
	if lo := f.Streams[0]; lo > 0 && s.Streams < lo {
		s.Streams, s.Reason = lo, "as asked"
	}
	if hi := f.Streams[1]; hi > 0 && s.Streams > hi {
		s.Streams, s.Reason = hi, "as asked"
	}
	if f.CC != "" {
		s.CC = f.CC
	}
	s.Rate /= float64(max(1, s.Streams))
	return s
}

// bold is how many streams a job begins with where others have n.
func (f *Facts) bold(n int) int {
	if f.Bold {
		return 2 * n
	}
	return n
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
