package chart

import (
	"cmp"
	"fmt"
	"image/color"
	"slices"
)

// Rows of labels above a panel. Source: ours.
const (
	maxMarkRows   = 4
	markRowHeight = 12.0
	markLabelMost = 230.0 // points
	maxLabels     = 200
)

// placedMark is a mark whose label found room.
type placedMark struct {
	Mark
	row   int
	label string
	left  float64 // where the label begins
}

// placeMarks gives labels their places. Those that matter most choose first; then
// all that found room are placed anew from the right, so that no line of one
// crosses the label of another.
func (b *box) placeMarks(p *pen) {
	var all []Mark
	for _, m := range b.Marks {
		if m.Label != "" && b.x.drawable(m.X) {
			all = append(all, m)
		}
	}
	byX := func(m, o Mark) int { return cmp.Compare(o.X, m.X) }
	slices.SortStableFunc(all, func(m, o Mark) int { return cmp.Or(cmp.Compare(o.Severity, m.Severity), byX(m, o)) })
	found := b.fitMarks(p, all)
	again := make([]Mark, 0, len(found))
	for _, m := range found {
		again = append(again, m.Mark)
	}
	slices.SortStableFunc(again, byX)
	b.marks = b.fitMarks(p, again)
	b.hiddenMarks = len(all) - len(b.marks)
	for _, m := range b.marks {
		b.markRows = max(b.markRows, m.row+1)
	}
}

// fitMarks puts each label into the lowest row where it is free, and leaves out
// those for which there is none.
func (b *box) fitMarks(p *pen, list []Mark) (placed []placedMark) {
	type stretch struct{ from, to float64 }
	var taken [maxMarkRows][]stretch
	l := letters{size: markSize}
	for _, m := range list[:min(len(list), maxLabels)] {
		label := p.fit(m.Label, markLabelMost, l)
		width := p.width(label, l) + 8
		left := b.x.at(m.X)
		if left+width > b.right {
			left -= width
		}
		row := slices.IndexFunc(taken[:], func(row []stretch) bool {
			return !slices.ContainsFunc(row, func(s stretch) bool { return left < s.to && left+width > s.from })
		})
		if row >= 0 {
			taken[row] = append(taken[row], stretch{left, left + width + 4})
			placed = append(placed, placedMark{m, row, label, left})
		}
	}
	return placed
}

func severityColor(s Severity) color.NRGBA {
	return severities[min(max(s, Info), Bad)]
}

// drawMarkLines draws the lines of all marks; at most one for each half point.
func (b *box) drawMarkLines(p *pen) {
	seen := make(map[[2]int]bool)
	for _, m := range b.Marks {
		if !b.x.drawable(m.X) {
			continue
		}
		x := b.x.at(m.X)
		key := [2]int{int(2 * x), int(m.Severity)}
		if seen[key] {
			continue
		}
		seen[key] = true
		p.line([]point{{x, b.top}, {x, b.bottom}}, severityColor(m.Severity), 0.9, []float64{3, 2})
	}
}

// drawMarkLabels writes the labels that found room, each with a line down to the
// panel.
func (b *box) drawMarkLabels(p *pen) {
	for _, m := range b.marks {
		c := severityColor(m.Severity)
		x, base := b.x.at(m.X), b.top-3-markRowHeight*float64(m.row)
		p.line([]point{{x, b.top}, {x, base - markSize}}, c, 0.9, nil)
		left := m.left + 3
		if m.left < x {
			left = m.left + 5
		}
		p.text(point{left, base}, m.label, letters{size: markSize, color: c})
	}
	if b.hiddenMarks > 0 {
		l := letters{size: markSize, color: softInk, align: 1}
		p.text(point{b.right, b.head + 19}, fmt.Sprintf("%d more marks without a label", b.hiddenMarks), l)
	}
}

// bandColor gives the colour of the label with this place in the panel.
func (b *box) bandColor(i int) color.NRGBA {
	c := palette[i%len(palette)]
	if round := i / len(palette); round > 0 {
		c = pale(c, 0.55)
	}
	if !b.isLanes() {
		c = pale(c, 0.22)
	}
	return c
}

// bandPlaces gives where a band begins and ends.
func (b *box) bandPlaces(band Band) (from, to float64, ok bool) {
	lo, hi := min(band.From, band.To), max(band.From, band.To)
	if !b.x.drawable(lo) || !b.x.drawable(hi) {
		return 0, 0, false
	}
	return b.x.at(lo), b.x.at(hi), true
}

// drawBackground draws bands behind series.
func (b *box) drawBackground(p *pen) {
	for _, band := range b.Bands {
		if from, to, ok := b.bandPlaces(band); ok {
			p.rect(from, b.top, max(to, from+0.5), b.bottom, b.bandColor(max(0, slices.Index(b.colors, band.Label))))
		}
	}
}

// drawLanes draws bands in rows, each with its label where that fits.
func (b *box) drawLanes(p *pen) {
	name := letters{size: tickSize, color: ink, align: 1}
	for i, lane := range b.lanes {
		y := b.top + laneHeight*float64(i)
		p.rect(b.left, y+2, b.right, y+laneHeight-2, pale(gridInk, 0.5))
		p.text(point{b.left - 6, y + laneHeight*0.67}, p.fit(lane, leftMargin-10, name), name)
	}
	for _, band := range b.Bands {
		lane := slices.Index(b.lanes, band.Lane)
		from, to, ok := b.bandPlaces(band)
		if lane < 0 || !ok {
			continue
		}
		c := b.bandColor(max(0, slices.Index(b.colors, band.Label)))
		y := b.top + laneHeight*float64(lane)
		p.rect(from, y+2, max(to, from+0.5), y+laneHeight-2, c)
		l := letters{size: markSize, color: ink, align: 0.5}
		if dark(c) {
			l.color = paper
		}
		if label := clean(band.Label); p.width(label, l)+6 <= to-from {
			p.text(point{(from + to) / 2, y + laneHeight*0.66}, label, l)
		}
	}
}
