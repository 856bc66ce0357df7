package cc

import (
	"fmt"
	"strings"

	"github.com/gomover/gomover/internal/units"
)

// Choice is a controller that New makes.
type Choice struct {
	Name string
	Text string // what it is for, a few words for help texts
	make func() Controller
}

// blast is the name of the controller that needs a rate: blast=RATE.
const blast = "blast"

// Choices gives all controllers that New makes, in the order for help texts. The
// slice is the caller's.
func Choices() []Choice {
	return []Choice{
		{"bbr", "by a model of rate and RTT; keeps its rate under random loss", func() Controller { return NewBBR() }},
		{"native", "UDT's own: rate by intervals of time, fair to any RTT", func() Controller { return NewNative() }},
		{"native-stock", "UDT's own as in its library, with its defects", func() Controller { return NewStockNative() }},
		{"cubic", "as most kernels do (RFC 9438)", func() Controller { return NewCUBIC() }},
		{"reno", "additive increase, halving (RFC 5681)", func() Controller { return NewReno() }},
		{"highspeed", "HighSpeed TCP (RFC 3649), for large windows", func() Controller { return NewHighSpeed() }},
		{"scalable", "Scalable TCP, for large windows; not fair", func() Controller { return NewScalable() }},
		{"fast", "FAST TCP, by delay; keeps queues short", func() Controller { return NewFAST() }},
		{"ledbat", "a scavenger (LEDBAT++): takes what others leave", func() Controller { return NewLEDBAT() }},
		{blast + "=RATE", "a fixed rate whatever happens, for dedicated circuits", nil},
	}
}

// Names gives the names that New knows, separated by commas.
func Names() string {
	var names []string
	for _, c := range Choices() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

// New makes a controller by its name, which is one of Choices, or blast= and a
// rate in the forms of units.ParseRate, such as blast=900Mbit/s.
//
// Errors: an unknown name, in whose text those that are known are listed; a rate
// that cannot be read, or is not positive.
func New(name string) (Controller, error) {
	if text, ok := strings.CutPrefix(name, blast+"="); ok {
		r, err := units.ParseRate(text)
		if err != nil {
			return nil, fmt.Errorf("choosing a congestion control: reading the rate of %s: %w", blast, err)
		}
		if r <= 0 {
			return nil, fmt.Errorf("choosing a congestion control: the rate of %s must be positive, not %q", blast, text)
		}
		return NewBlast(r), nil
	}
	for _, c := range Choices() {
		if c.Name == name && c.make != nil {
			return c.make(), nil
		}
	}
	return nil, fmt.Errorf("choosing a congestion control: no such one %q, there are %s", name, Names())
}
