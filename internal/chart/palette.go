package chart

import "image/color"

// The colours tell apart for people with any colour vision.
//
// Source: Okabe and Ito, Color Universal Design (2008); the yellow is left out,
// since thin lines of it vanish on white. Dashes differ, too, so that a print
// without colours can be read.
var palette = [...]color.NRGBA{
	{0x00, 0x72, 0xB2, 0xff}, // blue
	{0xD5, 0x5E, 0x00, 0xff}, // vermillion
	{0x00, 0x9E, 0x73, 0xff}, // bluish green
	{0xCC, 0x79, 0xA7, 0xff}, // reddish purple
	{0xE6, 0x9F, 0x00, 0xff}, // orange
	{0x56, 0xB4, 0xE9, 0xff}, // sky blue
	{0x40, 0x40, 0x40, 0xff}, // near black
}

// dashes are lengths of line and gap in points; the first is solid.
var dashes = [...][]float64{nil, {7, 2.5}, {2, 2}, {9, 2.5, 2, 2.5}}

var (
	ink        = color.NRGBA{0x22, 0x22, 0x22, 0xff}
	softInk    = color.NRGBA{0x5a, 0x5a, 0x5a, 0xff}
	frameInk   = color.NRGBA{0x9a, 0x9a, 0x9a, 0xff}
	gridInk    = color.NRGBA{0xe4, 0xe4, 0xe4, 0xff}
	paper      = color.NRGBA{0xff, 0xff, 0xff, 0xff}
	severities = [...]color.NRGBA{{0x55, 0x55, 0x55, 0xff}, {0xB8, 0x6E, 0x00, 0xff}, {0xC0, 0x1C, 0x28, 0xff}}
)

// look is how one series is drawn.
type look struct {
	color  color.NRGBA
	dash   []float64
	width  float64
	marker int
}

// lookOf gives the look of a series; n is its place in the panel, from 1.
func lookOf(s *Series, n int) look {
	if s.Style > 0 {
		n = s.Style
	}
	i := max(n, 1) - 1
	l := look{color: palette[i%len(palette)], dash: dashes[i%len(dashes)], width: 1.7, marker: i}
	if s.Faint {
		l.color, l.width, l.dash = pale(l.color, 0.6), 0.9, nil
	}
	return l
}

// pale mixes a colour with white; share is what is left of it. Mixed rather than
// transparent, so that both file formats show the same.
func pale(c color.NRGBA, share float64) color.NRGBA {
	mix := func(v uint8) uint8 { return uint8(255 - share*float64(255-v) + 0.5) }
	return color.NRGBA{mix(c.R), mix(c.G), mix(c.B), 0xff}
}

// dark reports whether white text reads better on a colour than black.
// Source: luma of ITU-R BT.601.
func dark(c color.NRGBA) bool {
	return 299*int(c.R)+587*int(c.G)+114*int(c.B) < 140_000
}
