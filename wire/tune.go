package wire

import "fmt"

// The kinds of messages by which a reader sees to it that a server's streams suit
// their path. Their bodies are JSON.
const (
	KindTune   Kind = 56 // reader: how streams are to be from now on
	KindTuned  Kind = 57 // server: that was done, or why not
	KindGauges Kind = 58 // server: how the streams are, as often as was asked for
)

// Tune is the body of KindTune. What is empty stays as it is.
type Tune struct {
	Every int64  `json:"every,omitempty"` // nanoseconds from one KindGauges to the next
	CC    string `json:"cc,omitempty"`    // congestion control of all streams over TCP
	Way   string `json:"way,omitempty"`   // word of --transport: streams are made and taken this way
	Rate  int64  `json:"rate,omitempty"`  // bytes per second that all streams over TCP may have together; less than 0: any
}

// Tuned is the body of KindTuned, the answer to each KindTune.
type Tuned struct {
	Error string `json:"error,omitempty"` // "": it was done
}

// Gauges is the body of KindGauges.
type Gauges struct {
	At      int64    `json:"at"`            // nanoseconds since the server's start
	CCs     []string `json:"ccs,omitempty"` // congestion controls that streams may be given there
	Streams []Gauge  `json:"streams"`
}

// Gauge is what a server knows of one stream. Counters only grow; times are in
// nanoseconds.
type Gauge struct {
	Stream    uint32 `json:"stream"` // its ID, the same at both ends
	Transport string `json:"transport"`
	CC        string `json:"cc,omitempty"`
	Sent      int64  `json:"sent"`    // bytes
	Retrans   int64  `json:"retrans"` // segments
	Cwnd      int64  `json:"cwnd"`    // bytes
	RTT       int64  `json:"rtt"`     // smoothed
	MinRTT    int64  `json:"min_rtt"`
	Rwnd      int64  `json:"rwnd"`           // time limited by the receiver's window
	Buf       int64  `json:"buf"`            // time limited by the send buffer
	Blocked   int64  `json:"blocked"`        // time that sending waited for the network
	Idle      bool   `json:"idle,omitempty"` // nothing is asked for on it
}

// Bounds of what Gauges hold. A kernel's names of congestion controls are shorter.
const (
	maxControls    = 64
	maxControlName = 32
)

// ParseGauges parses the body of a KindGauges message about at most so many streams. Its
// names are bounded: they are remembered.
func ParseGauges(body []byte, streams int) (Gauges, error) {
	var m Gauges
	if err := ParseJSON(body, &m); err != nil {
		return Gauges{}, err
	}
	bad := len(m.Streams) > streams || len(m.CCs) > maxControls
	for _, name := range m.CCs {
		bad = bad || len(name) > maxControlName
	}
	for _, g := range m.Streams {
		bad = bad || len(g.CC) > maxControlName || len(g.Transport) > maxControlName
	}
	if bad {
		return Gauges{}, fmt.Errorf("gauges: %w", ErrMalformed)
	}
	return m, nil
}
