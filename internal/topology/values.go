package topology

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/gomover/gomover/internal/units"
)

// maxValue bounds the text of one value, in bytes; the longest sensible one, a
// burst, has some 30.
const maxValue = 100

// errUnknownSetting is the answer to a key that links do not have.
var errUnknownSetting = errors.New("no such setting of a link")

// parseRate reads bits per second, with a unit (50mbit) or without (50000000).
func parseRate(text string) (units.Rate, error) {
	withUnit := text
	if text != "" && strings.Trim(text, "0123456789.") == "" {
		withUnit += "bit"
	}
	if strings.Trim(text, "0.") == "" && text != "" {
		return 0, nil
	}
	r, err := units.ParseRate(withUnit)
	if err != nil {
		return 0, err
	}
	if r > maxRate {
		return 0, fmt.Errorf("%s is more than 8tbit", spell(text))
	}
	return r, nil
}

// parseQueue reads a time (100ms) or a size (12.5MB, or a number of bytes). Of 0,
// nothing waits.
func parseQueue(text string) (Limit, error) {
	if d, err := units.ParseDuration(text); err == nil {
		if d == 0 {
			return Limit{Bytes: 1}, nil
		}
		if d > maxDelay {
			return Limit{}, fmt.Errorf("%s is more than %v", spell(text), maxDelay)
		}
		return Limit{Time: d}, nil
	}
	n, err := units.ParseSize(text)
	if err != nil {
		return Limit{}, fmt.Errorf("%q is neither a time such as 100ms nor a size such as 12.5MB", clip(text))
	}
	if n > maxQueueBytes {
		return Limit{}, fmt.Errorf("%s is more than %d bytes", spell(text), maxQueueBytes)
	}
	return Limit{Bytes: max(n, 1)}, nil
}

func parseDelay(text string) (time.Duration, error) {
	d, err := units.ParseDuration(text)
	if err != nil {
		return 0, err
	}
	if d > maxDelay {
		return 0, fmt.Errorf("%s is more than %v", spell(text), maxDelay)
	}
	return d, nil
}

// parseShare reads a probability, 0.01 or 1%.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	p, err := strconv.ParseFloat(number, 64)
	if percent {
		p /= 100
	}
	if err != nil || len(text) > maxValue || !(p >= 0 && p <= 1) {
		return 0, fmt.Errorf("%q is not a probability such as 0.01 or 1%%", clip(text))
	}
	return p, nil
}

// parseBurst reads enter[,exit[,loss]]; what is left out is 1.
func parseBurst(text string) (GilbertElliott, error) {
	b := GilbertElliott{Exit: 1, Loss: 1}
	fields := []*float64{&b.Enter, &b.Exit, &b.Loss}
	parts := strings.SplitN(text, ",", len(fields)+1)
	if len(parts) > len(fields) {
		return GilbertElliott{}, fmt.Errorf("%q has more than three parts", clip(text))
	}
	for i, part := range parts {
		p, err := parseShare(part)
		if err != nil {
			return GilbertElliott{}, err
		}
		*fields[i] = p
	}
	return b, nil
}

// formatRate writes a rate as bits per second, in the largest unit that needs no
// fraction.
func formatRate(r units.Rate) string {
	n, unit := int64(r)*8, "bit"
	for _, next := range []string{"kbit", "mbit", "gbit"} {
		if n == 0 || n%1000 != 0 {
			break
		}
		n, unit = n/1000, next
	}
	return strconv.FormatInt(n, 10) + unit
}

func formatShare(p float64) string { return strconv.FormatFloat(p, 'g', -1, 64) }

// clip bounds what an error repeats of a text.
func clip(text string) string {
	if len(text) > maxValue {
		return text[:maxValue] + "..."
	}
	return text
}

// spell is clip for a text that an error repeats without quotes: one with a line
// break or another character that does not print stands in quotes all the same.
func spell(text string) string {
	if text = clip(text); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
