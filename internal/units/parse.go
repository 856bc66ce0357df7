package units

import (
	"math/big"
	"strconv"
	"strings"
)

// maxTextLen bounds the text that is looked at, in bytes. The longest sensible
// value (a 64-bit number with a fraction and a unit) has less than 40; ours.
const maxTextLen = 64

// ValueError says why a typed quantity was refused.
//
// Value is the text as typed, Reason is a lower-case phrase without the value,
// and Hint is something that can be typed instead, or empty.
type ValueError struct {
	Value  string
	Reason string
	Hint   string
}

// Error gives "value: reason" in one line: a value that would not print as it is
// stands in quotes, escaped.
func (e *ValueError) Error() string {
	if quoted := strconv.Quote(e.Value); quoted != `"`+e.Value+`"` {
		return quoted + ": " + e.Reason
	}
	return e.Value + ": " + e.Reason
}

// sizeUnits maps lower-case suffixes to bytes. K, M, G, T alone and with "iB"
// are powers of 1024, with "B" powers of 1000.
var sizeUnits = map[string]int64{
	"": 1, "b": 1,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
}

// byteRateUnits maps lower-case suffixes that say bytes to bytes per second.
var byteRateUnits = map[string]int64{
	"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

// bitRateUnits maps lower-case suffixes that say bits to bits per second.
var bitRateUnits = map[string]int64{
	"bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12,
}

// ParseSize reads a size in bytes: an integer or decimal with an optional
// suffix, such as 64K, 1.5G, 4MiB or 500MB.
//
// K M G T and KiB MiB GiB TiB are powers of 1024, KB MB GB TB powers of 1000;
// letters may be of either case except that a lone b is refused, since it reads
// as bits. A fraction of a byte is cut off. The result is in 0..MaxInt64.
// Errors: *ValueError.
func ParseSize(text string) (int64, error) {
	number, suffix, err := split(text, "a size such as 64K, 1.5G or 500MB")
	if err != nil {
		return 0, err
	}
	unit, ok := sizeUnits[strings.ToLower(suffix)]
	if !ok || suffix == "b" {
		return 0, &ValueError{Value: text, Reason: "unknown unit " + strconv.Quote(suffix), Hint: "K, M, G, T (powers of 1024) or KB, MB, GB, TB (powers of 1000)"}
	}
	n, ok := scale(number, unit, 1)
	if !ok {
		return 0, &ValueError{Value: text, Reason: "does not fit in 64 bits"}
	}
	return n, nil
}

// ParseRate reads a rate: a number with a unit that says bits or bytes, with an
// optional "/s", such as 800Mbit, 95MB or 40MiB/s; or "off", which gives 0.
//
// A number without such a unit is refused, because programs disagree about its
// meaning by a factor of eight. So is anything below one byte per second:
// having no limit is written "off". Errors: *ValueError.
func ParseRate(text string) (Rate, error) {
	if text == "off" {
		return 0, nil
	}
	number, suffix, err := split(text, "a rate such as 95MB, 800Mbit or off")
	if err != nil {
		return 0, err
	}
	if len(suffix) > 2 && strings.EqualFold(suffix[len(suffix)-2:], "/s") {
		suffix = suffix[:len(suffix)-2]
	}
	unit, divisor, err := rateUnit(text, number, suffix)
	if err != nil {
		return 0, err
	}
	n, ok := scale(number, unit, divisor)
	if !ok {
		return 0, &ValueError{Value: text, Reason: "does not fit in 64 bits"}
	}
	if n == 0 {
		return 0, &ValueError{Value: text, Reason: "must be at least one byte per second", Hint: "off means no limit"}
	}
	return Rate(n), nil
}

// rateUnit gives the factor and divisor that turn a number with this suffix
// into bytes per second.
func rateUnit(text, number, suffix string) (unit, divisor int64, err error) {
	lower := strings.ToLower(suffix)
	if unit, ok := bitRateUnits[lower]; ok {
		return unit, 8, nil
	}
	// A lower-case b at the end is read as bits by some and as bytes by others.
	if unit, ok := byteRateUnits[lower]; ok && strings.HasSuffix(suffix, "B") {
		return unit, 1, nil
	}
	switch strings.TrimSuffix(strings.TrimSuffix(lower, "b"), "i") {
	case "", "k", "m", "g", "t":
		return 0, 0, &ValueError{Value: text, Reason: "bits or bytes?", Hint: unitHint(number, lower)}
	}
	return 0, 0, &ValueError{Value: text, Reason: "unknown unit " + strconv.Quote(suffix), Hint: "MB, GB, MiB (bytes) or Mbit, Gbit (bits) per second"}
}

// unitHint spells out both readings of a rate without a unit.
func unitHint(number, lower string) string {
	prefix, word := "M", "million "
	if lower != "" {
		switch lower[0] {
		case 'k':
			prefix, word = "K", "thousand "
		case 'g':
			prefix, word = "G", "billion "
		case 't':
			prefix, word = "T", "trillion "
		}
	}
	bits := prefix
	if bits == "K" {
		bits = "k"
	}
	return number + prefix + "B is " + number + " " + word + "bytes per second, " +
		number + bits + "bit is " + number + " " + word + "bits per second"
}

// split cuts text into its decimal number and what follows it. want says what
// was expected, for the message.
func split(text, want string) (number, suffix string, err error) {
	bad := &ValueError{Value: clip(text), Reason: "must be " + want}
	if len(text) > maxTextLen {
		return "", "", bad
	}
	end, dots := 0, 0
	for end < len(text) && (text[end] == '.' || text[end] >= '0' && text[end] <= '9') {
		if text[end] == '.' {
			dots++
		}
		end++
	}
	number = text[:end]
	if dots > 1 || number == "" || number[0] == '.' || number[end-1] == '.' {
		return "", "", bad
	}
	return number, text[end:], nil
}

// scale gives number*unit/divisor cut to an integer, and whether it fits in 64
// bits. number holds digits and at most one point with digits on both sides.
func scale(number string, unit, divisor int64) (int64, bool) {
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, false
	}
	r.Mul(r, big.NewRat(unit, divisor))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if !n.IsInt64() || n.Sign() < 0 {
		return 0, false
	}
	return n.Int64(), true
}

// clip bounds what is repeated of an overlong text.
func clip(text string) string {
	if len(text) > maxTextLen {
		return text[:maxTextLen] + "..."
	}
	return text
}
