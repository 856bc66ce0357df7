package main

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/location"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/mover"
	"github.com/gomover/gomover/tuner/pace"
)

// Bounds of values, ours unless said.
const (
	maxStreams   = 256
	maxPort      = 65535    // RFC 9293 section 3.1
	maxJobs      = 4096     // files in flight; more only cost descriptors
	maxVerbose   = 2        //
	minWindow    = 4 << 10  // below this no kernel goes
	maxWindow    = 1 << 30  // the largest TCP window (RFC 7323 section 2.2)
	minBlock     = 64 << 10 // smaller blocks cost more in records than they save in resends
	maxBlock     = 64 << 20 // what an interrupted run may have to send again
	minMemory    = 8 << 20  // two blocks on their way at the least
	maxMemory    = 1 << 40  //
	expectLen    = 32       // BLAKE3's default output in bytes
	maxDSCP      = 63       // RFC 2474 section 3
	maxInterface = 64       // longest interface name taken, in bytes
)

// number reads a decimal number within bounds.
func number(text string, low, high int) (int, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= low && n <= high
}

// numberAt stores a number within bounds. auto, if not empty, stands for 0.
func numberAt(at func(o *Options) *int, auto string, low, high int) func(*Options, string) error {
	return func(o *Options, value string) error {
		if auto != "" && value == auto {
			*at(o) = 0
			return nil
		}
		n, ok := number(value, low, high)
		if !ok {
			return badValue(value, "must be "+orAuto(auto)+"a number from "+strconv.Itoa(low)+" to "+strconv.Itoa(high))
		}
		*at(o) = n
		return nil
	}
}

// storeStreams reads auto, N or MIN-MAX.
func storeStreams(o *Options, value string) error {
	if value == "auto" {
		o.Net.Streams = Streams{Auto: true, Min: 1, Max: maxStreams}
		return nil
	}
	first, second, span := strings.Cut(value, "-")
	if !span {
		second = first
	}
	low, ok1 := number(first, 1, maxStreams)
	high, ok2 := number(second, 1, maxStreams)
	if !ok1 || !ok2 || low > high {
		return badValue(value, "must be auto, a number from 1 to 256, or a range such as 2-16")
	}
	o.Net.Streams = Streams{Min: low, Max: high}
	return nil
}

// storePorts reads auto, A-B or A:B.
func storePorts(o *Options, value string) error {
	if value == "auto" {
		o.Net.Ports = PortRange{Auto: true}
		return nil
	}
	first, second, span := strings.Cut(value, "-")
	if !span {
		first, second, span = strings.Cut(value, ":")
	}
	if !span {
		second = first
	}
	a, ok1 := number(first, 1, maxPort)
	b, ok2 := number(second, 1, maxPort)
	switch {
	case !ok1 || !ok2:
		return badValue(value, "must be auto or a range of ports from 1 to 65535 such as 50000-50010")
	case a > b:
		return badValue(value, "the first port is above the second")
	}
	o.Net.Ports = PortRange{First: a, Last: b}
	return nil
}

// storeTransport reads auto or a list of transports.
func storeTransport(o *Options, value string) error {
	o.Net.Transports, o.Net.Multicast = nil, false
	if value == "auto" {
		return nil
	}
	var list []string
	for _, name := range strings.Split(value, ",") {
		switch name {
		case "tcp", "udt", "ssh":
			list = append(list, name)
		case "xm":
			o.Net.Multicast = true
		default:
			return badValue(value, "must be auto or a list of tcp, udt, ssh and xm")
		}
	}
	o.Net.Transports = list
	return nil
}

// storeLimit reads a rate or a timetable.
func storeLimit(o *Options, value string) error {
	t, err := pace.Parse(value)
	if _, zero := number(value, 0, 0); zero { // with a unit it would be refused as well
		return &units.ValueError{Value: value, Reason: "must be at least 8kbit", Hint: "off means no limit"}
	}
	if err != nil {
		return err
	}
	o.Net.Limit = t
	return nil
}

// storeFinishBy reads a time or a duration.
func storeFinishBy(o *Options, value string) error {
	t, err := mover.ParseFinishBy(value, time.Now())
	if err != nil {
		return err
	}
	o.Net.FinishBy = t
	return nil
}

// storeInterval reads how often the tuner looks at most.
func storeInterval(o *Options, value string) error {
	var d time.Duration
	if err := durationAt(func(*Options) *time.Duration { return &d }, "auto")(o, value); err != nil {
		return err
	}
	if d != 0 && d < time.Second {
		return badValue(value, "must be auto or at least 1s")
	}
	o.Net.Interval = d
	return nil
}

// dscpNames are the names of traffic classes. Source: RFC 2474, RFC 2597,
// RFC 3246, RFC 8622.
var dscpNames = map[string]int{
	"cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56,
	"af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22,
	"af31": 26, "af32": 28, "af33": 30, "af41": 34, "af42": 36, "af43": 38,
	"ef": 46, "le": 1,
}

// storeDSCP reads a number or a name.
func storeDSCP(o *Options, value string) error {
	n, ok := number(value, 0, maxDSCP)
	if !ok {
		n, ok = dscpNames[strings.ToLower(value)]
	}
	if !ok {
		return badValue(value, "must be a number from 0 to 63 or a name such as cs1, af11, ef or le")
	}
	o.Net.DSCP = n
	return nil
}

// storeDataAddr reads [HOST=]ADDR.
func storeDataAddr(o *Options, value string) error {
	host, addr, named := strings.Cut(value, "=")
	if !named {
		host, addr = "", value
	}
	addr = strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")
	if !location.ValidHost(addr) || named && !location.ValidHost(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")) {
		return badValue(value, "must be an address or HOST=ADDRESS")
	}
	o.Net.DataAddrs = append(o.Net.DataAddrs, DataAddr{Host: host, Addr: addr})
	return nil
}

// localAddr reports whether text is an IP address.
func localAddr(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

// storeBind reads an address or the name of an interface.
func storeBind(o *Options, value string) error {
	if !localAddr(value) && (value == "" || len(value) > maxInterface || strings.ContainsAny(value, " /\t\n\x00")) {
		return badValue(value, "must be a local address or the name of an interface")
	}
	o.Net.Bind = value
	return nil
}

// storeFamily gives a flag that permits one address family only.
func storeFamily(family int) func(*Options, string) error {
	return func(o *Options, value string) error {
		on := false
		if err := flagAt(func(*Options) *bool { return &on })(o, value); err != nil {
			return err
		}
		if on {
			o.Net.Family = family
		}
		return nil
	}
}

// storeHash reads the name of the block hash.
func storeHash(o *Options, value string) error {
	switch value {
	case "auto", "blake3":
		o.Safety.Hash = value
		return nil
	case "sha256", "sha512", "xxh3", "xxh128", "blake2b", "md5":
		return &laterError{"use --hash=blake3, which is also what auto means"}
	}
	return badValue(value, "must be auto or blake3")
}

// storeExpect reads blake3:HEX.
func storeExpect(o *Options, value string) error {
	name, digits, ok := strings.Cut(value, ":")
	if !ok {
		return badValue(value, "must be NAME:HEX, such as blake3:af13...")
	}
	if name != "blake3" {
		return &laterError{"give the hash as blake3:HEX, which b3sum prints"}
	}
	sum, err := hex.DecodeString(digits)
	if err != nil || len(sum) != expectLen {
		return badValue(value, "must hold 64 hexadecimal digits after blake3:")
	}
	o.Safety.Expect = sum
	return nil
}

// storeShow reads a list of detail lines.
func storeShow(o *Options, value string) error {
	o.Output.Show = nil
	if value == "auto" {
		return nil
	}
	var list []string
	for _, name := range strings.Split(value, ",") {
		switch name {
		case "streams", "dests", "files", "sources":
			list = append(list, name)
		default:
			return badValue(value, "must be a list of streams, dests, files and sources")
		}
	}
	o.Output.Show = list
	return nil
}

// storeJSON reads where events go.
func storeJSON(o *Options, value string) error {
	if value == "" {
		return badValue(value, "must be a file, fd: and a number, or off")
	}
	if digits, ok := strings.CutPrefix(value, "fd:"); ok {
		if _, ok := number(digits, 0, 1<<20); !ok {
			return badValue(value, "must be a file, or fd: and the number of an open descriptor")
		}
	}
	if value == "off" {
		value = ""
	}
	o.Output.JSON = value
	return nil
}

// storeVerbose adds one for "yes" and takes a number otherwise.
func storeVerbose(o *Options, value string) error {
	if value == "yes" {
		o.Output.Verbose = min(o.Output.Verbose+1, maxVerbose)
		return nil
	}
	n, ok := number(value, 0, maxVerbose)
	if !ok {
		return badValue(value, "must be a number from 0 to 2")
	}
	o.Output.Verbose = n
	return nil
}

// storeUnits reads what rates are shown in.
func storeUnits(o *Options, value string) error {
	switch value {
	case "bytes", "bits":
		o.Output.Bits = value == "bits"
		return nil
	}
	return badValue(value, "must be bytes or bits")
}

// maxCongestionLen is the longest name of a congestion control, in bytes.
// Source: Linux include/net/tcp.h, TCP_CA_NAME_MAX, less its final zero.
const maxCongestionLen = 15

// storeCongestion reads the name of a congestion control.
func storeCongestion(o *Options, value string) error {
	if value == "system" {
		o.Net.Congestion = ""
		return nil
	}
	name, rate, fixed := strings.Cut(value, "=") // UDT's blast=RATE, which only it can read
	ok := name != "" && len(name) <= maxCongestionLen && (!fixed || name == "blast" && rate != "")
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}
	if !ok {
		return badValue(value, "must be a name such as cubic or bbr")
	}
	o.Net.Congestion = value
	return nil
}

// storeProgram stores a command that must not be empty.
func storeProgram(at func(o *Options) *string) func(*Options, string) error {
	return func(o *Options, value string) error {
		if strings.TrimSpace(value) == "" {
			return badValue(value, "must not be empty")
		}
		return textAt(at)(o, value)
	}
}

// autoTextAt stores any text; auto stands for the empty one.
func autoTextAt(at func(o *Options) *string, auto string) func(*Options, string) error {
	return func(o *Options, value string) error {
		if value == auto {
			*at(o) = ""
			return nil
		}
		return nameAt(at)(o, value)
	}
}

// durationAbove stores a span longer than 0.
func durationAbove(at func(o *Options) *time.Duration) func(*Options, string) error {
	return func(o *Options, value string) error {
		d, err := units.ParseDuration(value)
		if err != nil {
			return err
		}
		if d == 0 {
			return badValue(value, "must be longer than 0")
		}
		*at(o) = d
		return nil
	}
}
