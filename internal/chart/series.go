package chart

import (
	"image/color"
	"math"
)

// markerLimit is the number of points up to which a line shows them.
// Source: ours; more would be a row of dots.
const markerLimit = 32

// drawBars draws all series of bars, side by side at each x.
func (b *box) drawBars(p *pen) {
	var list []int
	bars := 0
	for i := range b.Series {
		if b.Series[i].Kind == Bars {
			list = append(list, i)
			bars += len(b.Series[i].Y)
		}
	}
	if len(list) == 0 {
		return
	}
	slot := b.barSlot(list)
	width := slot * 0.8 / float64(len(list))
	for place, i := range list {
		s := &b.Series[i]
		k := lookOf(s, i+1)
		for j := range min(len(s.X), len(s.Y)) {
			if !b.x.drawable(s.X[j]) || !b.y.drawable(s.Y[j]) {
				continue
			}
			x0 := b.x.at(s.X[j]) - slot*0.4 + width*float64(place)
			x1 := x0 + width*0.94
			x0, x1 = max(b.left, x0), min(b.right, x1)
			if x1 <= x0 {
				continue
			}
			base := b.bottom
			if !b.y.log {
				base = b.y.at(0)
			}
			y := b.y.at(s.Y[j])
			p.rect(x0, min(y, base), x1, max(y, base), k.color)
			top := y
			if low, high, ok := b.whiskerOf(s, j); ok {
				b.drawWhisker(p, (x0+x1)/2, low, high, ink)
				top = min(top, b.y.at(high))
			}
			b.barLabel(p, s.Y[j], (x0+x1)/2, top, width, bars)
		}
	}
}

// barLabel writes a bar's value above it where there is room.
func (b *box) barLabel(p *pen, v, x, top, width float64, bars int) {
	l := letters{size: markSize, color: ink, align: 0.5}
	label := FormatValue(v, b.YUnit)
	if !b.y.log {
		label = digits(v / b.y.scale.factor)
	}
	if bars > 60 || p.width(label, l) > max(width, 14) || top-b.top < markSize {
		return
	}
	p.text(point{x, top - 3}, label, l)
}

// barSlot is the room of one x value: the least distance of two of them.
func (b *box) barSlot(list []int) float64 {
	slot := (b.right - b.left) / 2
	if n := len(b.Categories); n > 0 {
		return (b.right - b.left) / float64(n)
	}
	for _, i := range list {
		s := &b.Series[i]
		for j := 1; j < len(s.X); j++ {
			if b.x.drawable(s.X[j]) && b.x.drawable(s.X[j-1]) {
				if d := math.Abs(b.x.at(s.X[j]) - b.x.at(s.X[j-1])); d > 0.5 {
					slot = min(slot, d)
				}
			}
		}
	}
	return slot
}

// drawSeries draws a series that is not bars.
func (b *box) drawSeries(p *pen, i int, t thinning) {
	s := &b.Series[i]
	if s.Kind == Bars {
		return
	}
	k := lookOf(s, i+1)
	for _, run := range b.runs(s) {
		places := t.thin(run)
		if s.Kind != Points {
			if len(places) == 1 {
				p.disc(places[0], k.width, k.color)
			}
			p.line(places, k.color, k.width, k.dash)
		} else {
			for _, q := range places {
				drawMarker(p, q, k)
			}
		}
	}
	n := min(len(s.X), len(s.Y))
	for j := range n {
		if !b.x.drawable(s.X[j]) || !b.y.drawable(s.Y[j]) {
			continue
		}
		if low, high, ok := b.whiskerOf(s, j); ok && n <= 20*markerLimit {
			b.drawWhisker(p, b.x.at(s.X[j]), low, high, k.color)
		}
		if s.Kind != Points && s.marked() {
			drawMarker(p, point{b.x.at(s.X[j]), b.y.at(s.Y[j])}, k)
		}
	}
}

// marked reports whether the points of a line are shown.
func (s *Series) marked() bool {
	return s.Kind == Line && !s.Faint && min(len(s.X), len(s.Y)) <= markerLimit
}

// runs gives the places of a series, cut where a point cannot be drawn; steps have
// their corners already.
func (b *box) runs(s *Series) (all [][]point) {
	var run []point
	for j := range min(len(s.X), len(s.Y)) {
		if !b.x.drawable(s.X[j]) || !b.y.drawable(s.Y[j]) {
			if s.Kind != Points && len(run) > 0 {
				all, run = append(all, run), nil
			}
			continue
		}
		q := point{b.x.at(s.X[j]), b.y.at(s.Y[j])}
		if n := len(run); s.Kind == Steps && n > 0 && run[n-1].y != q.y {
			run = append(run, point{q.x, run[n-1].y})
		}
		run = append(run, q)
	}
	if len(run) > 0 {
		all = append(all, run)
	}
	return all
}

// whiskerOf gives the ends of a whisker if they have a place.
func (b *box) whiskerOf(s *Series, j int) (low, high float64, ok bool) {
	low, high, ok = s.whisker(j)
	return low, high, ok && b.y.drawable(low) && b.y.drawable(high)
}

func (b *box) drawWhisker(p *pen, x, low, high float64, c color.NRGBA) {
	y0, y1 := b.y.at(low), b.y.at(high)
	p.line([]point{{x, y0}, {x, y1}}, c, 1, nil)
	p.line([]point{{x - 3, y0}, {x + 3, y0}}, c, 1, nil)
	p.line([]point{{x - 3, y1}, {x + 3, y1}}, c, 1, nil)
}

// drawMarker draws one of four shapes.
func drawMarker(p *pen, q point, k look) {
	const r = 3.2
	switch k.marker % 4 {
	case 0:
		p.disc(q, r, k.color)
	case 1:
		p.rect(q.x-r*0.9, q.y-r*0.9, q.x+r*0.9, q.y+r*0.9, k.color)
	case 2:
		p.fill([]point{{q.x, q.y - r*1.2}, {q.x + r*1.15, q.y + r}, {q.x - r*1.15, q.y + r}}, k.color)
	default:
		p.fill([]point{{q.x, q.y - r*1.3}, {q.x + r*1.3, q.y}, {q.x, q.y + r*1.3}, {q.x - r*1.3, q.y}}, k.color)
	}
}
