package cc

import (
	"fmt"
	"strings"
)

// Choice is a controller that New makes.
type Choice struct {
	Name string
	Text string // what it is for, a few words for help texts
	make func() Controller
}

// Choices gives all controllers that New makes, in the order for help texts. The
// slice is the caller's.
func Choices() []Choice {
	return []Choice{
		{"reno", "additive increase, halving (RFC 5681)", func() Controller { return NewReno() }},
		{"highspeed", "HighSpeed TCP (RFC 3649)", func() Controller { return NewHighSpeed() }},
		{"scalable", "Scalable TCP", func() Controller { return NewScalable() }},
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

// New makes a controller by its name. Errors: an unknown name; the text lists
// those that are known.
func New(name string) (Controller, error) {
	for _, c := range Choices() {
		if c.Name == name {
			return c.make(), nil
		}
	}
	return nil, fmt.Errorf("choosing a congestion control: no such one %q, there are %s", name, Names())
}
