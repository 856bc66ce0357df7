package units

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a span of time: Go's form with d for days of 24 hours in
// front, such as 30s, 1h30m, 2d or 1d12h, or a plain 0.
//
// Signs are refused: every span that can be set is 0 or longer. Errors:
// *ValueError.
func ParseDuration(text string) (time.Duration, error) {
	bad := &ValueError{Value: clip(text), Reason: "must be a duration such as 30s, 15m, 1h30m or 2d"}
	if len(text) > maxTextLen || text == "" || strings.ContainsAny(text, "+-") {
		return 0, bad
	}
	var days time.Duration
	rest := text
	if number, after, ok := strings.Cut(text, "d"); ok {
		if number == "" || strings.Trim(number, "0123456789.") != "" {
			return 0, bad
		}
		r, ok := new(big.Rat).SetString(number)
		if !ok {
			return 0, bad
		}
		r.Mul(r, new(big.Rat).SetInt64(int64(24*time.Hour)))
		n := new(big.Int).Quo(r.Num(), r.Denom())
		if !n.IsInt64() {
			return 0, &ValueError{Value: text, Reason: "is longer than 292 years"}
		}
		days, rest = time.Duration(n.Int64()), after
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, bad
	}
	if d > math.MaxInt64-days {
		return 0, &ValueError{Value: text, Reason: "is longer than 292 years"}
	}
	return days + d, nil
}

// ParseTime reads an instant: HH:MM, which is the next such time after now in
// now's zone, or a date and time by RFC 3339. Errors: *ValueError.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil && len(text) <= maxTextLen {
		return t, nil
	}
	hm, err := time.Parse("15:04", text)
	if err != nil || len(text) != 5 {
		return time.Time{}, &ValueError{Value: clip(text), Reason: "must be a time such as 06:00 or 2026-03-01T06:00:00Z"}
	}
	y, m, d := now.Date()
	t := time.Date(y, m, d, hm.Hour(), hm.Minute(), 0, 0, now.Location())
	if !t.After(now) {
		t = time.Date(y, m, d+1, hm.Hour(), hm.Minute(), 0, 0, now.Location())
	}
	return t, nil
}

// FormatDuration gives a span for logs and summaries in its two largest units:
// 350ms, 12.3s, 37m44s, 2h05m, 3d04h. Negative spans print as 0s.
func FormatDuration(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < 999500*time.Microsecond:
		return strconv.FormatInt(int64(d.Round(time.Millisecond)/time.Millisecond), 10) + "ms"
	case d < 59950*time.Millisecond:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	}
	// The comparisons allow for rounding, so that 59m59.9s prints as 1h00m.
	const day = 24 * time.Hour
	switch {
	case d.Round(time.Second) < time.Hour:
		return twoUnits(d.Round(time.Second), time.Minute, time.Second, "m", "s")
	case d.Round(time.Minute) < day:
		return twoUnits(d.Round(time.Minute), time.Hour, time.Minute, "h", "m")
	}
	return twoUnits(d.Round(time.Hour), day, time.Hour, "d", "h")
}

// twoUnits prints d as a number of large and a two-digit number of small units.
func twoUnits(d, large, small time.Duration, largeName, smallName string) string {
	rest := strconv.FormatInt(int64(d%large/small), 10)
	if len(rest) < 2 {
		rest = "0" + rest
	}
	return strconv.FormatInt(int64(d/large), 10) + largeName + rest + smallName
}

// FormatLeft gives a span for "about ... left", no finer than such a guess
// deserves: 45 s, 1.5 min, 14 min, 2.5 h, 3.1 days. Negative spans print as 0 s.
func FormatLeft(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return "0 s"
	case d < 59500*time.Millisecond:
		// Anything left is at least one second, so that 0 s means the end.
		return strconv.FormatInt(max(1, int64(d.Round(time.Second)/time.Second)), 10) + " s"
	case d < 59*time.Minute+30*time.Second:
		return oneDecimal(d, time.Minute) + " min"
	case d < 48*time.Hour:
		return oneDecimal(d, time.Hour) + " h"
	}
	return oneDecimal(d, day) + " days"
}

// oneDecimal prints d in units with one decimal below 10 unless that is 0.
func oneDecimal(d, unit time.Duration) string {
	v := float64(d) / float64(unit)
	if v >= 9.95 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}
