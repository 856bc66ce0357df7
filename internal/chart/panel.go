package chart

import (
	"fmt"
	"image/color"
)

// draw draws one panel: what lies behind first.
func (b *box) draw(p *pen, t thinning) {
	if b.Title != "" {
		l := letters{size: panelSize, bold: true, color: ink}
		p.text(point{b.left, b.head + 19}, p.fit(b.Title, b.right-b.left, l), l)
	}
	if b.isLanes() {
		b.drawLanes(p)
	} else {
		b.drawBackground(p)
		b.drawGrid(p)
	}
	b.drawMarkLines(p)
	b.drawBars(p)
	for i := range b.Series {
		b.drawSeries(p, i, t)
	}
	b.drawFrame(p)
	b.drawMarkLabels(p)
	b.drawLegend(p)
	if len(b.Series) == 0 && len(b.Bands) == 0 || len(b.Series) > 0 && !b.hasPoints() {
		p.text(point{(b.left + b.right) / 2, (b.top + b.bottom) / 2}, "no data", letters{size: panelSize, color: softInk, align: 0.5})
	}
}

// hasPoints reports whether any series has a point that can be drawn.
func (b *box) hasPoints() bool {
	for i := range b.Series {
		s := &b.Series[i]
		for j := range min(len(s.X), len(s.Y)) {
			if b.x.drawable(s.X[j]) && b.y.drawable(s.Y[j]) {
				return true
			}
		}
	}
	return false
}

// drawGrid draws the lines at the ticks, and the labels beside them.
func (b *box) drawGrid(p *pen) {
	small := letters{size: tickSize, color: softInk, align: 1}
	for _, t := range b.y.ticks {
		y := b.y.at(t.v)
		p.line([]point{{b.left, y}, {b.right, y}}, t.ink(), 0.7, nil)
		p.text(point{b.left - 6, y + tickSize*0.35}, p.fit(t.label, leftMargin-26, small), small)
	}
	if len(b.Categories) == 0 {
		for _, t := range b.x.ticks {
			x := b.x.at(t.v)
			p.line([]point{{x, b.top}, {x, b.bottom}}, t.ink(), 0.7, nil)
		}
	}
	turned := letters{size: tickSize, color: ink, align: 0.5, angle: quarter}
	room := b.bottom - b.top + 16
	p.text(point{edge + 8, (b.top + b.bottom) / 2}, p.fit(b.y.title(), room, turned), turned)
}

// ink is the colour of the line at a tick: those without label are fainter.
func (t tick) ink() color.NRGBA {
	if t.label == "" {
		return pale(gridInk, 0.55)
	}
	return gridInk
}

// quarter is a right angle in radians.
const quarter = 1.5707963267948966

// drawFrame draws the edges of the plotting area and the labels along x.
func (b *box) drawFrame(p *pen) {
	p.line([]point{{b.left, b.top}, {b.left, b.bottom}, {b.right, b.bottom}}, frameInk, 0.9, nil)
	if !b.numbers {
		return
	}
	l := letters{size: tickSize, color: softInk, align: 0.5}
	room := 76.0
	if len(b.Categories) > 0 {
		room = (b.right - b.left) / float64(len(b.Categories))
	}
	if b.slanted {
		l.align, l.angle, room = 1, slant, 96
	}
	end := -1.0
	for _, t := range b.x.ticks {
		x := b.x.at(t.v)
		label := p.fit(t.label, room, l)
		if !b.slanted && label != "" {
			half := p.width(label, l) / 2
			if x-half < end {
				continue
			}
			end = x + half + 3
		}
		p.line([]point{{x, b.bottom}, {x, b.bottom + 3}}, frameInk, 0.9, nil)
		p.text(point{x, b.bottom + 4 + tickSize}, label, l)
	}
	if b.X != "" {
		l := letters{size: tickSize, color: ink, align: 0.5}
		p.text(point{(b.left + b.right) / 2, b.foot - 2}, p.fit(b.x.title(), b.right-b.left, l), l)
	}
}

// needsLegend reports whether names have to be explained beside the panels.
func needsLegend(p *Panel) bool {
	return len(p.Series) > 1 || len(p.Bands) > 0 || len(p.Series) == 1 && p.Series[0].Name != ""
}

// drawLegend explains series and bands to the right of the plotting area.
func (b *box) drawLegend(p *pen) {
	type entry struct {
		name string
		show func(x, y float64)
	}
	var entries []entry
	for i := range b.Series {
		s := &b.Series[i]
		if s.Name == "" {
			continue
		}
		k := lookOf(s, i+1)
		entries = append(entries, entry{s.Name, func(x, y float64) { b.drawSample(p, s, k, x, y) }})
	}
	for i, label := range b.colors {
		if label == "" {
			continue
		}
		c := b.bandColor(i)
		entries = append(entries, entry{label, func(x, y float64) { p.rect(x, y-5, x+20, y+5, c) }})
	}
	l := letters{size: tickSize, color: ink}
	x, y, step := b.right+10, b.top+5, 13.0
	rows := int(max(1, (b.foot-b.top-4)/step))
	for i, e := range entries {
		if i == rows-1 && len(entries) > rows {
			p.text(point{x, y + 3.3}, fmt.Sprintf("and %d more", len(entries)-i), letters{size: tickSize, color: softInk})
			return
		}
		e.show(x, y)
		p.text(point{x + 25, y + 3.3}, p.fit(e.name, legendWidth-34, l), l)
		y += step
	}
}

// drawSample draws what a series looks like.
func (b *box) drawSample(p *pen, s *Series, k look, x, y float64) {
	switch s.Kind {
	case Bars:
		p.rect(x, y-4, x+20, y+4, k.color)
	case Points:
		drawMarker(p, point{x + 10, y}, k)
	default:
		p.line([]point{{x, y}, {x + 20, y}}, k.color, k.width, k.dash)
		if s.marked() {
			drawMarker(p, point{x + 10, y}, k)
		}
	}
}
